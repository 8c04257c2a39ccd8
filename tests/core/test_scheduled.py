"""Surrogates that look at the training progress or at the upstream gradient, against their papers."""

import math

import numpy as np
import pytest
import torch

from coarsegrad.core.quantizers import Uniform
from coarsegrad.core.scheduled import EDE, EWGS, ReSTE
from coarsegrad.core.surrogate import Stretched

X = np.linspace(-4, 4, 1601) + 1e-4
PROGRESS = (0.0, 0.25, 0.5, 1.0)


def ede(x, progress, t_min, t_max):
    """IR-Net, eqs. 8-10: t = T_min 10^(i/N log10 T_max/T_min), k = max(1/t, 1); k t (1 - tanh^2(t x))."""
    t = t_min * 10 ** (progress * math.log10(t_max / t_min))
    return max(1 / t, 1) * t * (1 - np.tanh(t * x) ** 2)


def reste(x, progress, o_end, t, m):
    """ReSTE, equation 10: (1/o)|x|^((1-o)/o) for m < |x| <= t, m^(1/o)/m below, 0 above; o: 1 to o_end."""
    o = 1 + (1 - math.cos(math.pi / 2 * progress)) * (o_end - 1)
    size = np.abs(x)
    slope = np.where(size <= m, m ** (1 / o) / m, size ** ((1 - o) / o) / o)
    return np.where(size > t, 0.0, slope)


@pytest.mark.parametrize("progress", PROGRESS)
@pytest.mark.parametrize(("t_min", "t_max"), [(0.1, 10.0), (1e-3, 10.0)])
def test_ede_is_the_formula_of_ir_net(progress, t_min, t_max):
    slope = EDE(t_min, t_max).at(progress).slope(torch.tensor(X))
    assert np.allclose(slope, ede(X, progress, t_min, t_max), rtol=1e-10)


@pytest.mark.parametrize("progress", PROGRESS)
@pytest.mark.parametrize("o_end", [3.0, 10.0])
def test_reste_is_the_formula_of_its_paper(progress, o_end):
    slope = ReSTE(o_end).at(progress).slope(torch.tensor(X))
    assert np.allclose(slope, reste(X, progress, o_end, 1.5, 0.1), rtol=1e-10)


def test_reste_starts_as_the_clipped_identity():
    assert torch.equal(ReSTE().slope(torch.tensor(X)), torch.tensor((np.abs(X) <= 1.5) * 1.0))


def test_ede_ends_close_to_a_sign():
    assert EDE(t_max=100.0).at(1.0).curve(torch.tensor([-1.0, 1.0])).tolist() == [-1, 1]


@pytest.mark.parametrize("kind", [EDE, ReSTE])
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_progress_may_be_a_tensor(kind, progress):
    x = torch.tensor(X, dtype=torch.float32)
    by_tensor, by_number = kind().at(torch.tensor(progress)), kind().at(progress)
    assert torch.allclose(by_tensor.slope(x), by_number.slope(x), rtol=1e-5, atol=1e-7)
    assert torch.allclose(by_tensor.curve(x), by_number.curve(x), rtol=1e-5, atol=1e-7)
    assert (
        by_tensor.slope(x.half()).dtype == torch.float16
        and by_tensor.slope(x.double()).dtype == torch.float64
    )


@pytest.mark.parametrize("kind", [EDE, ReSTE])
def test_progress_reaches_through_a_stretch(kind):
    over = kind().over((0.0, 3.0))
    assert isinstance(over, Stretched) and over.at(0.5) == kind().at(0.5).over((0.0, 3.0))


@pytest.mark.parametrize("kind", [EDE, ReSTE])
@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_outside_of_0_to_1_is_refused(kind, progress):
    with pytest.raises(
        ValueError, match=rf"{kind.__name__}\(progress=...\) must lie in \[0, 1\], got {progress}"
    ):
        kind().at(progress)


def test_a_progress_tensor_is_not_compiled_anew():
    runs = []

    def count(graph, inputs):
        runs.append(graph)
        return graph.forward

    @torch.compile(backend=count, fullgraph=True)
    def slope(x, progress):
        return EDE().at(progress).slope(x)

    for progress in (0.0, 0.3, 0.9):
        slope(torch.ones(3), torch.tensor(progress))
    assert len(runs) == 1


def ewgs(g, x, levels, delta):
    """EWGS, equation 5: g (1 + delta sign(g)(x_n - x_q)), x_n in [0, 1] as in the authors' discretizer."""
    span = levels[-1] - levels[0]
    x_n = np.clip((x - levels[0]) / span, 0, 1)
    x_q = np.round(x_n * (len(levels) - 1)) / (len(levels) - 1)
    inside = (x > levels[0]) & (x < levels[-1])
    return g * (1 + delta * np.sign(g) * (x_n - x_q)) * inside


@pytest.mark.parametrize("levels", [(-1.0, 1.0), (0.0, 1.0, 2.0, 3.0), tuple(range(-8, 8))], ids=len)
def test_ewgs_is_the_formula_of_its_paper(levels):
    g = torch.randn(len(X), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.tensor(X * 3)
    ours = EWGS(delta=0.2).over(levels).pullback(g, x)
    # ours measures x - x_q in units of a step, the paper in units of the whole range
    assert np.allclose(
        ours, ewgs(g.numpy(), x.numpy(), levels, 0.2 * (len(levels) - 1)), rtol=1e-10, atol=1e-12
    )


def test_ewgs_pulls_harder_back_to_the_level_than_away_from_it():
    x, g = torch.tensor([0.4]), torch.tensor([-1.0])  # the step -g moves x up, away from its level 0
    surrogate = EWGS(delta=0.5).over((0.0, 1.0, 2.0, 3.0))
    assert surrogate.pullback(g, x).item() == pytest.approx(-0.8)
    assert surrogate.pullback(-g, x).item() == pytest.approx(1.2)


def test_ewgs_without_delta_is_a_window():
    x = torch.tensor(X)
    assert torch.equal(EWGS(delta=0.0).pullback(torch.ones_like(x), x), (x.abs() < 1).double())


def test_ewgs_has_no_slope():
    with pytest.raises(TypeError, match="EWGS has no slope"):
        EWGS().slope(torch.zeros(1))
    with pytest.raises(ValueError, match=r"EWGS\(delta=...\) must not be negative, got -1"):
        EWGS(delta=-1)


def test_ewgs_takes_its_levels_from_the_quantizer():
    q, x = Uniform(bits=2, signed=False), torch.tensor([0.4, 2.2, 5.0], requires_grad=True)
    q(x, EWGS(delta=0.5).over(q.levels), scale=torch.tensor(2.0)).sum().backward()
    assert x.grad is not None and x.grad.tolist() == pytest.approx(
        [1 + 0.5 * 0.2, 1 + 0.5 * 0.1, 1 + 0.5 * 0.5]
    )


@pytest.mark.parametrize(("o_end", "clip", "small"), [(0.5, 1.5, 0.1), (3.0, 0.1, 0.2)])
def test_reste_refuses_what_makes_no_power(o_end, clip, small):
    with pytest.raises(ValueError, match="ReSTE needs o_end >= 1 and small < clip"):
        ReSTE(o_end, clip, small)
