"""The fast path gives the numbers of the slow obvious one."""

import math

import pytest
import torch

from coarsegrad import spec
from coarsegrad.core import fused
from coarsegrad.core.learned import LSQ
from coarsegrad.core.quantizers import Binary, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.windows import ClippedReLU, HardTanh, Identity, LeakyReLU, ReLU

pytest.importorskip("numba", reason='the fast path needs Numba: pip install "coarsegrad[fast]"')

CHANNEL = Scale("mse", axis=0)
QUANTIZERS = (
    Binary(scale=Scale("mean_abs")),
    Binary(scale=Scale("mean_abs", axis=0)),
    Uniform(bits=1),
    Uniform(bits=2),
    Uniform(bits=4, scale=CHANNEL),
    Uniform(bits=8, signed=False),
    Uniform(bits=3, narrow=True, scale=Scale("mse", group=25)),
    LSQ(bits=1),
    LSQ(bits=2, signed=False),
    LSQ(bits=4, scale=Scale("mean_abs", axis=0, learned=True)),
    LSQ(bits=2, scale=Scale("mean_abs", group=25, learned=True)),
)
SHAPES = ((20, 2, 5, 5), (50, 25), (33, 25, 7), (64, 5, 5, 25))
WINDOWS = (Identity(), ReLU(), ClippedReLU(), HardTanh(), HardTanh(low=-0.3, high=2.0))


def pulled(quantizer, surrogate, x, values, upstream):
    x = x.clone().requires_grad_()
    values = {k: v.clone().requires_grad_(k in quantizer.learned) for k, v in values.items()}
    y = quantizer(x, surrogate.over(quantizer.window), **values)
    y.backward(upstream)
    return y.detach(), x.grad, values["scale"].grad


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("surrogate", WINDOWS, ids=spec.write)
@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=spec.write)
def test_value_and_gradients_equal_the_torch_path(quantizer, surrogate, shape):
    generator = torch.Generator().manual_seed(math.prod(shape))
    x = torch.randn(shape, generator=generator)
    x.flatten()[::7] = 0.0
    x.flatten()[3::11] = -0.0
    upstream = torch.randn(shape, generator=generator)
    values = quantizer.fit(x)
    assert fused.ready(quantizer.scale.view(x), values["scale"]) or quantizer.scale.group
    fast = pulled(quantizer, surrogate, x, values, upstream)
    with fused.off():
        slow = pulled(quantizer, surrogate, x, values, upstream)
    assert torch.equal(fast[0], slow[0])
    assert torch.equal(fast[1], slow[1])
    assert (fast[2] is None) == (slow[2] is None)
    if fast[2] is not None:
        torch.testing.assert_close(fast[2], slow[2], rtol=1e-4, atol=1e-4 * float(slow[2].abs().max()))


@pytest.mark.parametrize(
    "quantizer", [LSQ(bits=b, signed=s) for b in (1, 2, 4, 8) for s in (True, False)], ids=spec.write
)
@pytest.mark.parametrize("size", [1000, 1024, 40_000])
def test_kept_bytes_give_the_gradient_of_x_exactly_and_of_the_scale_within_their_rounding(quantizer, size):
    generator = torch.Generator().manual_seed(size)
    base, upstream = (torch.randn(size, generator=generator) for _ in range(2))
    values = quantizer.fit(base)
    results = []
    for path in (fused._on.get, None):
        x, scale = base.clone().requires_grad_(), values["scale"].clone().requires_grad_()
        if path is None:
            with fused.off():
                y = quantizer(x * 1.0, scale=scale)
        else:
            y = quantizer(x * 1.0, scale=scale)
        y.backward(upstream)
        results.append((y.detach(), x.grad, scale.grad))
    (fast, slow) = results
    assert torch.equal(fast[0], slow[0])
    assert torch.equal(fast[1], slow[1])
    factor = quantizer.gradient_factor(size)
    assert abs(float(fast[2] - slow[2])) <= factor * float(upstream.abs().sum()) / 504 + 1e-6
    typical = factor * float(upstream.norm()) / 504  # the roundings are as good as independent
    assert abs(float(fast[2] - slow[2])) <= 5 * typical + 1e-6


def test_window_edges_are_outside():
    x = torch.tensor([0.0, 3.0, 1e-30, 2.9999998]).repeat(256).requires_grad_()
    Uniform(bits=2, signed=False)(x, ClippedReLU(3.0), scale=torch.tensor(1.0)).sum().backward()
    assert torch.equal(x.grad[:4], torch.tensor([0.0, 0.0, 1.0, 1.0]))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_values_that_are_not_finite_come_out_as_on_the_torch_path(value):
    x = torch.full((600,), value)
    q = Uniform(bits=2)
    fast = q(x, scale=torch.tensor(1.0))
    with fused.off():
        slow = q(x, scale=torch.tensor(1.0))
    torch.testing.assert_close(fast, slow, equal_nan=True)


def test_one_bit_per_element_is_kept_for_the_backward():
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    x = torch.randn(64, 1024, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Uniform(bits=2)(x, scale=torch.tensor(1.0))
    assert sum(t.numel() * t.element_size() for t in kept) == x.numel() // 8


def test_identity_keeps_nothing():
    kept = []
    x = torch.randn(64, 1024, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        y = Uniform(bits=2)(x, Identity(), scale=torch.tensor(1.0))
    assert not kept
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_double_backward_is_refused():
    x = torch.randn(1024, requires_grad=True)
    y = Uniform(bits=2)(x, scale=torch.tensor(1.0)).square().sum()
    (gradient,) = torch.autograd.grad(y, x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(100),
        torch.randn(1024).double(),
        torch.randn(1024).bfloat16(),
        torch.randn(64, 64).t(),
        torch.randn(1024, device="meta"),
    ],
    ids=["small", "double", "bfloat16", "transposed", "meta"],
)
def test_what_it_cannot_take_goes_the_torch_way(x):
    assert not fused.ready(x, torch.tensor(1.0))


def test_under_vmap_the_torch_path_is_taken():
    x = torch.randn(8, 1024)
    got = torch.func.vmap(
        torch.func.grad(lambda a: Uniform(bits=2)(a, scale=torch.tensor(1.0)).square().sum())
    )(x)
    leaf = x.clone().requires_grad_()
    Uniform(bits=2)(leaf, scale=torch.tensor(1.0)).square().sum().backward()
    assert torch.equal(got, leaf.grad)


def test_surrogates_with_a_slope_between_do_not_claim_a_window():
    assert LeakyReLU().passes is None
