"""The state of one quantizer: where it starts, what of it is trained, saved and refused."""

import math
import warnings

import pytest
import torch
from torch import nn

from coarsegrad.core.learned import LSQ, PACT, QUANTIZERS, LSQPlus
from coarsegrad.core.quantizers import Binary, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES, ClippedReLU, HardTanh, Identity
from coarsegrad.nn import FakeQuantize

ACTIVATIONS = {
    name: cls(scale=Scale("max_abs", learned=True)) if name == "stretched_elastic" else cls()
    for name, cls in QUANTIZERS.items()
}
every_quantizer = pytest.mark.parametrize("quantizer", ACTIVATIONS.values(), ids=ACTIVATIONS)


@every_quantizer
def test_what_comes_out_lies_on_the_levels(quantizer):
    x = torch.randn(64, 5)
    q = FakeQuantize(quantizer)
    q(x)
    y = q.eval()(x)
    torch.testing.assert_close(y.detach(), q.quantize(x))
    torch.testing.assert_close(q.dequantize(q.codes(x)), y.detach())
    assert y.shape == x.shape and y.unique().numel() <= 2**q.quantizer.bits + 1


@every_quantizer
def test_trained_values_are_parameters_and_fitted_ones_buffers(quantizer):
    q = FakeQuantize(quantizer)
    assert {n.removeprefix("raw_") for n, _ in q.named_parameters()} == set(quantizer.learned)
    q(torch.randn(64, 5).requires_grad_()).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in q.parameters())


@every_quantizer
def test_the_state_loads_strictly_into_a_fresh_one(quantizer):
    x, q = torch.randn(64, 5) + 1, FakeQuantize(quantizer)
    q(x)
    fresh = FakeQuantize(quantizer)
    fresh.load_state_dict(q.state_dict(), strict=True)
    assert torch.equal(fresh.eval()(x), q.eval()(x))


def test_a_weight_is_fitted_when_it_is_made_and_an_activation_is_not():
    w = torch.randn(4, 3)
    assert FakeQuantize(LSQ(bits=2), weight=w).eval()(w).unique().numel() <= 4
    with pytest.raises(RuntimeError, match=r"run calibrate\(model, batches\) or one training batch"):
        FakeQuantize(LSQ(bits=2)).eval()(w)


def test_a_live_quantizer_needs_no_start():
    q, x = FakeQuantize(Binary(scale=Scale("mean_abs", live=True))).eval(), torch.randn(8, 3)
    torch.testing.assert_close(q(x).abs(), x.abs().mean().expand(8, 3))
    q.quantize(2 * x)
    torch.testing.assert_close(q.scale, 2 * x.abs().mean())


@pytest.mark.parametrize(("shift", "signed"), [(0.0, True), (10.0, False)])
def test_the_first_training_batch_decides_the_sign_and_the_state_keeps_it(shift, signed):
    q, x = FakeQuantize(LSQ(bits=4, signed=None)), torch.randn(100) + shift
    q(x)
    assert q.quantizer.signed is signed and bool(q.state_dict()["signed"]) is signed
    fresh = FakeQuantize(LSQ(bits=4, signed=None))
    fresh.load_state_dict(q.state_dict())
    assert fresh.quantizer == q.quantizer and torch.equal(fresh(x), q(x))


def test_a_second_calibration_may_decide_otherwise():
    q = FakeQuantize(Uniform(bits=4, signed=None))
    q(torch.rand(50))
    q.start_from(torch.randn(50))
    assert q.quantizer.signed is True


@pytest.mark.parametrize("surrogate", [cls() for cls in SURROGATES.values()], ids=SURROGATES)
def test_the_gradient_is_the_surrogates_over_the_window_in_units_of_the_scale(surrogate):
    quantizer, upstream = Uniform(bits=3, scale=Scale("max_abs")), torch.randn(200)
    q, x = FakeQuantize(quantizer, surrogate), torch.randn(200, requires_grad=True)
    q(x).backward(upstream)
    expected = surrogate.at(torch.tensor(0.0)).over(quantizer.window).pullback(upstream, x.detach() / q.scale)
    torch.testing.assert_close(x.grad, expected)


def test_the_gradient_of_a_step_counts_features_and_not_examples():
    """LSQ's N is the number of features of one example: repeating the examples changes no mean."""
    grads = []
    for copies in (1, 4):
        q, x = FakeQuantize(LSQ(bits=2, signed=True)), torch.linspace(-2, 3, 12).reshape(1, 12)
        q.start_from(x)
        q(x.repeat(copies, 1)).sum().div(copies).backward()
        grads.append(q.raw_scale.grad)
    assert torch.allclose(*grads)
    plain = LSQ(bits=2, signed=True)
    v = x.clone()
    scale = q.raw_scale.detach().clone().requires_grad_()
    plain(v, count=12.0, scale=scale).sum().backward()
    assert torch.allclose(scale.grad, grads[0]) and plain.gradient_factor(12.0) == 1 / math.sqrt(12)


@pytest.mark.parametrize("surrogate", [ClippedReLU(), HardTanh(), Identity(), HardTanh(0.2, 0.8)], ids=str)
@pytest.mark.parametrize(
    "quantizer",
    [Uniform(bits=2, signed=False), LSQ(bits=2, signed=None), PACT(bits=2), LSQPlus(bits=2)],
    ids=lambda q: q.name,
)
def test_behind_a_relu_in_one_step_is_the_same_as_in_two(quantizer, surrogate):
    x = torch.randn(50, 4)
    one, two = FakeQuantize(quantizer, surrogate), FakeQuantize(quantizer, surrogate)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    for _ in range(2):  # the first batch starts it, the second is the one that counts
        a.grad = b.grad = None
        one.zero_grad()
        two.zero_grad()
        y, z = one.behind_relu(a), two(torch.relu(b))
        y.square().sum().backward()
        z.square().sum().backward()
    assert torch.equal(y, z)
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close([p.grad for p in one.parameters()], [p.grad for p in two.parameters()])


def test_stochastic_rounding_draws_in_training_and_settles_in_eval_mode():
    q, x = FakeQuantize(Uniform(bits=4, rounding="stochastic")), torch.randn(200)
    q(x)
    assert not torch.equal(q(x), q(x))
    settled = q.eval()(x)
    assert (
        torch.equal(settled, q(x))
        and torch.equal(settled, q.dequantize(q.codes(x)))
        and torch.equal(settled, q.quantize(x))
    )


def test_a_relaxed_value_is_what_the_network_sees_with_the_gradient_of_the_identity():
    q, x = FakeQuantize(Binary(), weight=torch.ones(3)), torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    q.relax = lambda latent, quantized: (latent + quantized) / 2
    y = q(x)
    y.backward(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(y.detach(), (x.detach() + q.quantize(x)) / 2)
    assert torch.equal(x.grad, torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_do_not_start_it(bad):
    q = FakeQuantize(Uniform(bits=2))
    with pytest.raises(ValueError, match="cannot be calibrated: its input is not finite"):
        q(torch.tensor([1.0, bad]))
    assert not q.state_dict()["ready"]


def test_it_says_what_it_is():
    class Own(Surrogate):
        def slope(self, x):
            return x

    assert "activation, lsq(bits=2), hardtanh" in repr(FakeQuantize(LSQ(bits=2)))
    assert "weight, binary, own" in repr(FakeQuantize(Binary(), Own(), weight=torch.ones(2)))


def test_the_scale_and_the_flag_move_with_the_module():
    q = nn.Sequential(FakeQuantize(Uniform(bits=2))).to(torch.float64)[0]
    assert (
        q.raw_scale.dtype == torch.float64 and q(torch.randn(5, dtype=torch.float64)).dtype == torch.float64
    )


@pytest.mark.parametrize(
    ("surrogate", "low", "needed", "warns"),
    [
        (ClippedReLU(), -1.0, True, 1),
        (SURROGATES["log_tailed_relu"](), -1.0, True, 1),
        (ClippedReLU(), 0.0, True, 0),
        (ClippedReLU(), -1.0, False, 0),
        (HardTanh(), -1.0, True, 0),
    ],
)
def test_a_one_sided_surrogate_on_an_input_with_two_sides_is_warned_of(surrogate, low, needed, warns):
    q = FakeQuantize(LSQ(bits=2), surrogate)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        q(torch.linspace(low, 1, 100).requires_grad_(needed))
    assert ["stops the gradient of negative values" in str(w.message) for w in caught] == [True] * warns
