"""What every surrogate promises, over the whole catalogue."""

from dataclasses import dataclass

import pytest
import torch

from coarsegrad.core.surrogate import Stretched, Surrogate
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.spec import write
from core.grid import data, surrogates

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
every = pytest.mark.parametrize("surrogate", list(surrogates(slope=False)), ids=write)
sloped = pytest.mark.parametrize("surrogate", list(surrogates()), ids=write)
MEASURES_ITS_INPUT = ("magnitude_aware_sign",)
"""Their slope at one element depends on the others."""


def extremes(dtype):
    info = torch.finfo(dtype)
    sizes = [
        0.0,
        info.tiny * info.eps,
        info.tiny,
        info.eps,
        0.1,
        1.0,
        1.5,
        300.0,
        6e4,
        info.max / 2,
        info.max,
    ]
    return torch.tensor([s for size in sizes for s in (size, -size)], dtype=torch.float64).to(dtype)


def away_from(breaks, x, distance=1e-3):
    for b in breaks or ():
        x = x[(x - b).abs() > distance]
    return x


@sloped
def test_slope_is_the_derivative_of_curve(surrogate):
    x = away_from(surrogate.breaks, torch.linspace(-4, 4, 801, dtype=torch.float64) + 1e-4).requires_grad_()
    (derived,) = torch.autograd.grad(surrogate.curve(x).sum(), x)
    assert torch.allclose(surrogate.slope(x.detach()), derived, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "surrogate", [s for s in surrogates() if s.name not in MEASURES_ITS_INPUT], ids=write
)
def test_slope_is_the_quotient_of_differences_of_curve(surrogate):
    x, h = away_from(surrogate.breaks, torch.linspace(-4, 4, 801, dtype=torch.float64) + 1e-4), 1e-5
    quotient = (surrogate.curve(x + h) - surrogate.curve(x - h)) / (2 * h)
    assert torch.allclose(surrogate.slope(x), quotient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@sloped
def test_slope_is_bounded_at_any_finite_input_and_keeps_the_dtype(surrogate, dtype):
    x = extremes(dtype)
    slope = surrogate.slope(x)
    assert slope.dtype == dtype and slope.shape == x.shape
    assert torch.isfinite(slope).all()
    if surrogate.name not in MEASURES_ITS_INPUT:
        assert slope.abs().max() <= 100


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every
def test_curve_keeps_dtype_and_shape(surrogate, dtype):
    x = data(2, 3, dtype=torch.float64).to(dtype)
    assert surrogate.curve(x).dtype == dtype and surrogate.curve(x).shape == x.shape


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@sloped
def test_pullback_is_upstream_times_slope_exactly(surrogate, dtype):
    x = torch.cat([extremes(dtype), data(500, dtype=torch.float64).to(dtype)])
    x = torch.cat([x, torch.tensor(surrogate.breaks or (0.0,), dtype=torch.float64).to(dtype)])
    upstream = data(len(x), seed=1, dtype=torch.float64).to(dtype)
    assert torch.equal(surrogate.pullback(upstream, x), upstream * surrogate.slope(x))


@every
def test_pullback_is_finite_at_any_finite_input(surrogate):
    x = extremes(torch.float32)
    if surrogate.name in MEASURES_ITS_INPUT:
        x = x.clamp(-1e30, 1e30)
    assert torch.isfinite(surrogate.pullback(torch.ones_like(x), x)).all()


@pytest.mark.parametrize(
    "surrogate",
    [s.at(0.5) for s in surrogates() if s.breaks is not None and s.name not in MEASURES_ITS_INPUT],
    ids=write,
)
def test_breaks_are_where_the_slope_jumps_or_bends(surrogate):
    h = 1e-7
    grid = torch.arange(-400, 401, dtype=torch.float64) / 100 + 0.0049
    points = torch.cat([grid, torch.tensor(surrogate.breaks, dtype=torch.float64)])
    bend = (surrogate.slope(points + h) - 2 * surrogate.slope(points) + surrogate.slope(points - h)).abs() / h
    assert (bend[: len(grid)] < 0.05).all()
    assert (bend[len(grid) :] > 0.2).all()


@every
def test_the_input_is_not_changed(surrogate):
    x = data(50)
    before, upstream = x.clone(), torch.ones(50)
    surrogate.curve(x), surrogate.pullback(upstream, x)
    assert torch.equal(x, before) and torch.equal(upstream, torch.ones(50))


@pytest.mark.parametrize(
    "levels", [(-1.0, 1.0), (0.0, 1.0, 2.0, 3.0), (-8.0, 0.0, 7.0), (-1.5, -0.5, 0.5, 1.5)], ids=str
)
@pytest.mark.parametrize(
    "surrogate", [s for s in surrogates() if s.name not in MEASURES_ITS_INPUT], ids=write
)
def test_over_puts_the_natural_range_onto_the_levels(surrogate, levels):
    center, half = (levels[0] + levels[-1]) / 2, (levels[-1] - levels[0]) / 2
    if surrogate.one_sided:
        center, half = 0.0, levels[-1]
    t = away_from(surrogate.breaks, torch.linspace(-3, 3, 301, dtype=torch.float64))
    if surrogate.name == "log_tailed_relu":
        t = t[t < surrogate.top]  # its tail falls over one step, however many there are
    over = surrogate.over(levels)
    assert torch.allclose(over.slope(center + half * t), surrogate.slope(t), rtol=1e-9, atol=1e-12)
    assert torch.allclose(
        over.curve(center + half * t), center + half * surrogate.curve(t), rtol=1e-9, atol=1e-12
    )
    if over.breaks is not None:
        assert over.breaks == pytest.approx([center + half * b for b in surrogate.breaks])


def test_a_measuring_surrogate_stays_itself_over_levels():
    surrogate = SURROGATES["magnitude_aware_sign"]()
    assert surrogate.over((0.0, 3.0)) is surrogate


@every
def test_only_a_scheduled_surrogate_changes_with_progress(surrogate):
    scheduled = hasattr(surrogate, "progress")
    assert (surrogate.at(1.0) != surrogate) == scheduled
    over = surrogate.over((-8.0, 7.0))
    assert (over.at(1.0) != over) == scheduled


@every
def test_a_catalogue_entry_says_its_formula_and_source(surrogate):
    assert SURROGATES[surrogate.name] is type(surrogate)
    assert surrogate.formula and surrogate.source


def test_a_surrogate_of_ones_own_needs_two_methods():
    class Cubic(Surrogate):
        def curve(self, x):
            return x**3 / 3

        def slope(self, x):
            return x * x

    cubic = Cubic()
    assert cubic.pullback(torch.tensor(2.0), torch.tensor(3.0)) == 18
    assert cubic.at(0.3) is cubic
    over = cubic.over((0.0, 4.0))
    assert over == Stretched(cubic, 2.0, 2.0) and over.slope(torch.tensor(6.0)) == 4


def test_a_surrogate_without_a_slope_says_what_is_missing():
    class Half(Surrogate):
        pass

    with pytest.raises(NotImplementedError, match=r"Half must define slope\(x\)"):
        Half().slope(torch.zeros(1))
    with pytest.raises(NotImplementedError, match=r"Half must define curve\(x\)"):
        Half().curve(torch.zeros(1))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("clipped_relu", "top"), ("log_tailed_relu", "top"), ("reverse_exponential", "top"), ("sigmoid", "k"),
        ("tanh", "k"), ("triangular", "width"), ("triangular", "height"), ("arctan", "a"), ("gaussian", "sigma"),  # noqa: E501
        ("swish_sign", "beta"), ("magnitude_aware_sign", "clip"), ("ede", "t_min"), ("ede", "t_max"), ("reste", "clip"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_width_that_is_not_positive_is_refused_by_name(name, field, bad):
    with pytest.raises(ValueError, match=rf"\({field}=...\) must be positive and finite, got {bad}"):
        SURROGATES[name](**{field: bad})


def test_stretched_keeps_the_pullback_of_its_inner_surrogate():
    @dataclass(frozen=True)
    class Doubling(Surrogate):
        def curve(self, x):
            return x

        def slope(self, x):
            return torch.ones_like(x)

        def pullback(self, upstream, x):
            return 2 * upstream

    assert Doubling().over((0.0, 3.0)).pullback(torch.tensor(1.0), torch.tensor(0.5)) == 2


@pytest.mark.parametrize("ends", [(0.0, 2.0), (-1.5, 0.7), (0.3, 40.0), (-3.0, 0.0), (-torch.inf, torch.inf)])
@sloped
def test_declared_bounds_are_the_least_and_the_most_of_the_slope(surrogate, ends):
    low, high = ends
    for one in (surrogate, surrogate.over((0.0, 1.0, 2.0, 3.0))):
        found = one.bounds(low, high)
        if found is not None:
            x = torch.linspace(max(low, -1e4), min(high, 1e4), 40_003, dtype=torch.float64)[1:-1]
            slope = one.slope(x)
            assert (slope.min().item(), slope.max().item()) == pytest.approx(found, abs=2e-3)
            assert found[0] <= slope.min() * (1 + 1e-12) and slope.max() <= found[1] * (1 + 1e-12)


def test_bounds_are_declared_by_windows_and_falling_tails():
    declared = {name for name, cls in SURROGATES.items() if cls().bounds(0.0, 1.0) is not None}
    tails = {"log_tailed_relu", "reverse_exponential"}
    assert declared == {"identity", "relu", "clipped_relu", "hardtanh"} | tails
