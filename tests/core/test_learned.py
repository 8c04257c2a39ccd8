"""Trained scales, clips, offsets and thresholds: their gradients against the papers, written out."""

import inspect
import math

import numpy as np
import pytest
import torch

from coarsegrad.core import learned, quantizers
from coarsegrad.core.learned import LSQ, N2UQ, PACT, QUANTIZERS, LSQPlus, StretchedElastic
from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.quantizers import Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogates import HardTanh, Sigmoid
from coarsegrad.spec import write
from core.grid import data

BITS = (2, 3, 4, 8)
PER_TENSOR = Scale("max_abs", learned=True)
TRAINED = [LSQ(bits=2), LSQPlus(bits=2), PACT(bits=2), StretchedElastic(scale=PER_TENSOR), N2UQ()]


def trained(**values):
    return {name: torch.as_tensor(value).clone().requires_grad_() for name, value in values.items()}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("n", [100, 500])
def test_the_gradient_of_the_step_is_that_of_lsq(bits, signed, n):
    # Esser et al. 2020, equation 3 and section 2.2
    v, upstream, s = 2 * data(n), data(n, seed=1), 0.37
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    u = v.double().numpy() / np.float64(np.float32(s))
    inside = np.where(u <= low, low, np.where(u >= high, high, np.round(u) - u))
    expected = (upstream.double().numpy() * inside).sum() / math.sqrt(n * high)
    values = trained(scale=s)
    LSQ(bits=bits, signed=signed)(v, **values).backward(upstream)
    assert values["scale"].grad.item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("bits", BITS)
def test_the_gradients_of_lsq_are_those_of_torch(bits):
    q, values = LSQ(bits=bits), trained(scale=0.31)
    v, u = data(800), data(800) / 0.31
    inside, clipped = (u > q.ends[0]) & (u < q.ends[1]), (u < q.ends[0] - 0.5) | (u > q.ends[1] + 0.5)
    v = v[inside | clipped][:400]  # torch's window is half a step wider on each side than the paper's
    upstream = data(400, seed=1)
    ours = v.clone().requires_grad_()
    q(ours, **values).backward(upstream)
    theirs, scale = v.clone().requires_grad_(), torch.tensor([0.31], requires_grad=True)
    low, high = q.ends
    torch._fake_quantize_learnable_per_tensor_affine(
        theirs, scale, torch.zeros(1), low, high, 1 / math.sqrt(400 * high)
    ).backward(upstream)
    assert torch.allclose(ours.grad, theirs.grad)
    assert values["scale"].grad.item() == pytest.approx(scale.grad.item(), rel=1e-3, abs=1e-5)


def test_each_channel_of_lsq_has_its_own_gradient():
    v, upstream = data(3, 40), data(3, 40, seed=1)
    together, q = (
        trained(scale=[[0.2], [0.4], [0.8]]),
        LSQ(bits=3, scale=Scale("mean_abs", axis=0, learned=True)),
    )
    q(v, **together).backward(upstream)
    for row in range(3):
        alone = trained(scale=together["scale"][row].detach())
        LSQ(bits=3)(v[row], **alone).backward(upstream[row])
        assert torch.allclose(together["scale"].grad[row], alone["scale"].grad, rtol=1e-4)


def test_lsq_starts_at_the_step_of_its_paper():
    x = data(500)
    assert LSQ(bits=4).fit(x)["scale"].item() == pytest.approx(
        2 * x.abs().mean().item() / math.sqrt(7), rel=1e-6
    )


@pytest.mark.parametrize("quantizer", TRAINED, ids=write)
@pytest.mark.parametrize("rate", [1e3, -1e3])
def test_the_step_stays_positive_whatever_the_optimizer_does(quantizer, rate):
    x, upstream = data(64), data(64, seed=1)
    values = {k: v.requires_grad_(k in quantizer.learned) for k, v in quantizer.fit(x).items()}
    parameters = [values[name] for name in quantizer.learned]
    for _ in range(20):
        y = quantizer(x, **values)
        (y * upstream).sum().backward()
        with torch.no_grad():
            for p in parameters:
                p -= rate * p.grad
                p.grad = None
        assert (quantizer.spacing(values) > 0).all()
        assert torch.isfinite(quantizer(x, **values)).all()
    with torch.no_grad():
        for p in parameters:
            p.zero_()
    assert (quantizer.spacing(values) > 0).all() and torch.isfinite(quantizer(x, **values)).all()


def test_a_trained_step_of_either_sign_is_the_same_step():
    x = data(50)
    values, mirrored = trained(scale=0.3), trained(scale=-0.3)
    for each in (values, mirrored):
        LSQ(bits=3)(x, **each).sum().backward()
    assert torch.equal(LSQ(bits=3)(x, **values), LSQ(bits=3)(x, **mirrored))
    assert values["scale"].grad == -mirrored["scale"].grad


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_the_gradients_of_lsq_plus_are_those_of_its_paper(bits, signed):
    # Bhalgat et al. 2020, equations 4 and 5
    x, upstream, s, beta = 2 * data(300), data(300, seed=1), 0.21, -0.43
    q = LSQPlus(bits=bits, signed=signed)
    low, high = q.ends
    t = (x.double().numpy() - np.float64(np.float32(beta))) / np.float64(np.float32(s))
    inside = (t > low) & (t < high)
    at_scale = np.where(inside, np.round(t) - t, np.clip(t, low, high))
    values = trained(scale=s, offset=beta)
    leaf = x.clone().requires_grad_()
    y = q(leaf, **values)
    y.backward(upstream)
    g = upstream.double().numpy()
    assert np.allclose(y.detach(), np.clip(np.round(t), low, high) * s + beta, atol=1e-6)
    assert values["offset"].grad.item() == pytest.approx(
        (g * ~inside).sum() / math.sqrt(300 * high), rel=1e-4, abs=1e-4
    )
    assert values["scale"].grad.item() == pytest.approx(
        (g * at_scale).sum() / math.sqrt(300 * high), rel=1e-3, abs=1e-4
    )
    assert np.allclose(leaf.grad, g * inside)


def test_lsq_plus_starts_close_to_the_best_range():
    x = torch.nn.functional.silu(3 * data(2000))  # an activation that is neither symmetric nor positive
    q, plain = LSQPlus(bits=3), Uniform(bits=3, signed=True)
    assert (q(x) - x).square().mean() < 0.7 * (plain(x) - x).square().mean()


@pytest.mark.parametrize("bits", range(1, 9))
def test_pact_is_the_formula_of_its_paper(bits):
    # Choi et al. 2018, equations 1-3: y = (|x| - |x - a| + a)/2, quantized; dy/da = 1{x >= a}
    x, upstream, a = data(400), data(400, seed=1), 0.9
    y = 0.5 * (np.abs(x.numpy()) - np.abs(x.numpy() - a) + a)
    top = 2**bits - 1
    values, leaf = trained(clip=a), x.clone().requires_grad_()
    out = PACT(bits)(leaf, **values)
    out.backward(upstream)
    assert np.allclose(out.detach(), np.round(y * top / a) * a / top, atol=1e-6)
    assert values["clip"].grad.item() == pytest.approx(upstream[x >= a].sum().item(), rel=1e-4)
    assert torch.equal(leaf.grad, upstream * ((x > 0) & (x < a)))


def test_the_clip_of_pact_keeps_its_gradient_under_another_surrogate():
    x, upstream = data(100), data(100, seed=1)
    values = trained(clip=0.9)
    PACT(2)(x, Sigmoid(), **values).backward(upstream)
    assert values["clip"].grad.item() == pytest.approx(upstream[x >= 0.9].sum().item(), rel=1e-4)


def test_pact_starts_where_it_is_told():
    assert PACT(start=6.0).fit(data(10))["clip"] == 6
    assert 0.3 < PACT(4).fit(torch.rand(1000))["clip"] <= 1.2


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_stretched_elastic_is_the_code_of_paretoq(bits):
    # facebookresearch/ParetoQ, utils_quant.py, StretchedElasticQuant:
    # (round(clamp(w/alpha, -1 + 1e-2, 1 - 1e-2) * n - .5) + .5) / n * alpha, n = 2^(bits-1)
    w, alpha, n = data(2000), 1.3, 2 ** (bits - 1)
    expected = (np.round(np.clip(w.numpy() / alpha, -0.99, 0.99) * n - 0.5) + 0.5) / n * alpha
    y = StretchedElastic(bits)(w, scale=torch.tensor([alpha / n])).numpy()
    u = np.abs(w.numpy()) / alpha * n
    certain = (np.abs(u - np.round(u)) > 1e-4) & (
        (u < 0.99 * n - 1) | (u > n)
    )  # off ties; the clip of 1 % has width
    if bits == 2:
        certain |= u > n
    assert np.allclose(y[certain], expected[certain], rtol=1e-5) or bits == 8
    assert set(np.round(y / alpha * n * 2).astype(int)) <= set(range(-2 * n + 1, 2 * n, 2))


def test_ternary_stretched_elastic_is_the_code_of_paretoq():
    # the same file: n_levels = 1.5, shift = 0
    w, alpha = data(2000), 1.3
    expected = np.round(np.clip(w.numpy() / alpha, -0.99, 0.99) * 1.5) / 1.5 * alpha
    y = StretchedElastic(ternary=True)(w, scale=torch.tensor([alpha / 1.5]))
    assert np.allclose(y, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "quantizer", [StretchedElastic(2), StretchedElastic(4), StretchedElastic(ternary=True)], ids=write
)
def test_stretched_elastic_starts_with_the_largest_weight_on_its_clip(quantizer):
    w = data(5, 30)
    scale = quantizer.fit(w)["scale"]
    assert torch.allclose(scale * quantizer.window[-1], w.abs().amax(1, keepdim=True))


def n2uq(x, widths, step=1.0):
    """Liu et al. 2022, section 3.1: level i from the middle of interval i on; start at zero."""
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    middles = (edges[:-1] + edges[1:]) / 2
    return step * (x[:, None] > middles).sum(1)


def piecewise_linear(x, widths):
    """The backward map of the generalized STE: it rises by 1 on each interval."""
    edges = torch.cat([widths.new_zeros(1), widths.cumsum(0)])
    return sum(((x - edges[i]) / widths[i]).clamp(0, 1) for i in range(len(widths)))


WIDTHS = (0.5, 1.7, 0.8)


def test_n2uq_is_the_formula_of_its_paper():
    x = torch.linspace(-1, 4, 997)
    y = N2UQ(bits=2)(x, scale=torch.tensor(0.7), widths=torch.tensor(WIDTHS))
    assert np.allclose(y, n2uq(x.numpy() / 0.7, WIDTHS, 0.7), rtol=1e-6)


def test_the_gradients_of_n2uq_are_those_of_the_piecewise_linear_map():
    x, upstream = 1.5 + data(200, dtype=torch.float64), data(200, seed=1, dtype=torch.float64)
    values = trained(
        scale=torch.tensor(0.7, dtype=torch.float64), widths=torch.tensor(WIDTHS, dtype=torch.float64)
    )
    leaf = x.clone().requires_grad_()
    q = N2UQ(bits=2)
    q(leaf, **values).backward(upstream)
    u, h = x / 0.7, 1e-6
    widths = values["widths"].detach()
    quotient = (piecewise_linear(u + h, widths) - piecewise_linear(u - h, widths)) / (2 * h)
    assert torch.allclose(leaf.grad, upstream * quotient, rtol=1e-5, atol=1e-6)
    for i in range(3):
        up, down = widths.clone(), widths.clone()
        up[i] += h
        down[i] -= h
        quotient = ((piecewise_linear(u, up) - piecewise_linear(u, down)) / (2 * h) * 0.7 * upstream).sum()
        assert values["widths"].grad[i].item() == pytest.approx(quotient.item(), rel=1e-4, abs=1e-4)
    # the scale: value held, map moved (as LSQ's)
    slope = leaf.grad / upstream
    expected = (upstream * (torch.as_tensor(n2uq(u.numpy(), WIDTHS)) - u * slope)).sum()
    assert values["scale"].grad.item() == pytest.approx(expected.item(), rel=1e-6)


def test_n2uq_starts_as_a_uniform_quantizer_and_takes_no_surrogate():
    x = data(300).abs()
    even, uniform = N2UQ(bits=3), Uniform(bits=3, signed=False)
    assert torch.equal(even(x), uniform(x))
    with pytest.raises(ValueError, match="N2UQ brings its own estimator"):
        even(x, HardTanh())


def test_widths_that_turn_negative_count_as_next_to_nothing():
    y = N2UQ(bits=2)(
        torch.linspace(-1, 3, 50), scale=torch.tensor(1.0), widths=torch.tensor([-1.0, 1.0, 0.0])
    )
    assert (y.diff() >= 0).all() and set(y.tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSQ(scale=Scale("mse")), r"LSQ trains its step: LSQ\(scale=Scale\(..., learned=True\)\)"),
        (
            lambda: LSQPlus(scale=Scale(axis=0, learned=True)),
            "one step and one offset per tensor; leave axis and group out",
        ),
        (lambda: LSQPlus().fit(torch.tensor([math.nan])), "not finite"),
        (lambda: PACT(start=0.0), r"PACT\(start=...\) must be positive and finite, got 0.0"),
        (lambda: PACT(start=math.inf), r"PACT\(start=...\) must be positive and finite, got inf"),
        (
            lambda: StretchedElastic(bits=1),
            r"StretchedElastic\(bits=...\) must be a whole number from 2 to 8, got 1",
        ),
        (
            lambda: StretchedElastic(bits=3, ternary=True),
            r"StretchedElastic\(ternary=True\) takes 2 bits, got bits=3",
        ),
        (lambda: N2UQ(bits=6), r"N2UQ\(bits=...\) must be a whole number from 1 to 5, got 6"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_quantizer_of_the_library_is_in_the_catalogue_under_its_name():
    here = {
        thing
        for module in (learned, quantizers)
        for thing in vars(module).values()
        if inspect.isclass(thing) and issubclass(thing, Quantizer)
    }
    assert here - {Quantizer} == set(QUANTIZERS.values())
    assert all(cls.name == name and cls().name == name for name, cls in QUANTIZERS.items())
