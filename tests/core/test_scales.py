"""Scales against their formulas, numerical integration and brute force."""

import math
from itertools import pairwise

import pytest
import torch

from coarsegrad.core import fused
from coarsegrad.core.quantizers import Binary, DoReFaActivation, Nonuniform, Ternary, Uniform
from coarsegrad.core.scales import STATISTICS, Scale, half_gaussian_step, narrowed
from coarsegrad.spec import write
from core.grid import data


def heavy(*shape):
    """Laplace numbers: heavier tails than a Gaussian's."""
    return torch.distributions.Laplace(0.0, 1.0).icdf(
        torch.rand(*shape, generator=torch.Generator().manual_seed(3))
    )


def shape_of(scale, x):
    return tuple(scale.fit(x, Uniform()).shape)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_scale_has_one_number_per_tensor_channel_or_group(statistic):
    x = data(4, 6, 8)
    assert shape_of(Scale(statistic), x) == ()
    assert shape_of(Scale(statistic, axis=0), x) == (4, 1, 1)
    assert shape_of(Scale(statistic, axis=-2), x) == (1, 6, 1)
    assert shape_of(Scale(statistic, group=16), x) == (4, 3, 1)
    assert shape_of(Scale(statistic, axis=0), x[0, 0]) == (8,)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("quantizer", [Binary(), Ternary(), Uniform(3), Uniform(3, signed=False)], ids=write)
def test_a_channel_has_the_scale_it_would_have_alone(statistic, quantizer):
    x = data(4, 6, 8)
    by_channel = Scale(statistic, axis=0).fit(x, quantizer).flatten()
    alone = torch.stack([Scale(statistic).fit(row, quantizer) for row in x])
    assert torch.allclose(by_channel, alone, rtol=1e-5)
    by_group = Scale(statistic, group=12).fit(x, quantizer).flatten()
    alone = torch.stack([Scale(statistic).fit(part, quantizer) for part in x.reshape(16, 12)])
    assert torch.allclose(by_group, alone, rtol=1e-5)


def test_each_statistic_is_its_formula():
    x, q = data(1000), Uniform(bits=4)
    size = x.abs()
    assert Scale("one").fit(x, q) == 1
    assert torch.allclose(Scale("mean_abs").fit(x, Binary()), size.mean())
    assert torch.allclose(Scale("mean_abs").fit(x, q), 2 * size.mean() / math.sqrt(7))  # LSQ, section 2.1
    assert torch.allclose(Scale("max_abs").fit(x, q), size.max() / 8)
    assert torch.allclose(Scale("percentile", percentile=90).fit(x, q), torch.quantile(size, 0.9) / 8)
    assert Scale("half_gaussian").fit(x, Uniform(2, signed=False)).item() == pytest.approx(0.6508, abs=5e-5)


def error(quantizer, scale, x):
    return (quantizer.step(x / scale) * scale - x).square().mean().item()


@pytest.mark.parametrize("sample", [data, heavy], ids=["gaussian", "laplace"])
@pytest.mark.parametrize(
    "quantizer",
    [
        Binary(), Ternary(), Nonuniform(), Nonuniform((-1.0, -0.3, 0.0, 0.1, 2.0)),
        *(Uniform(bits) for bits in (1, 2, 3, 4, 6, 8)), *(Uniform(bits, signed=False) for bits in (1, 2, 4)),
    ],
    ids=write,
)  # fmt: skip
def test_least_squares_finds_the_best_of_a_fine_grid(quantizer, sample):
    x = sample(2000)
    found = error(quantizer, Scale("mse").fit(x, quantizer), x)
    top = max(map(abs, quantizer.levels))
    fine = torch.logspace(-2.5, 0.3, 4000) * x.abs().max() / top
    assert found <= min(error(quantizer, scale, x) for scale in fine) * (1 + 1e-3)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"group": 5}], ids=["tensor", "axis", "group"])
def test_compiled_least_squares_loses_no_more_than_the_search_it_repeats(bits, signed, where):
    quantizer, rule = Uniform(bits, signed=signed), Scale("mse", **where)
    x = torch.cat([heavy(3000), torch.zeros(20), data(2000), torch.tensor([1e-3, 1e3] * 40)]).view(60, 85)
    found = rule.fit(x, quantizer)
    with fused.off():
        wanted = rule.fit(x, quantizer)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    v, dims = rule.view(x).double(), rule.reduced(rule.view(x))
    lost, least = (
        (quantizer.step(v / s) * s - v).square().sum(dims, keepdim=True).flatten()
        for s in (found.double(), wanted.double())
    )
    assert (lost <= least * (1 + 1e-3) + 1e-12).all() and lost.sum() <= least.sum() * (1 + 1e-5)


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_what_is_not_finite_is_refused_by_compiled_least_squares_too(worst):
    x = data(1000).view(10, 100)
    x[3, 7] = worst
    with pytest.raises(ValueError, match="not finite"):
        Scale("mse", axis=0).fit(x, Uniform(4))


def test_the_least_squares_scale_of_a_sign_is_the_mean_size():
    x = heavy(999)
    assert Scale("mse").fit(x, Binary()).item() == pytest.approx(x.abs().mean().item(), rel=1e-6)


def test_least_squares_is_exact_on_data_that_lie_on_levels():
    q = Uniform(bits=3)
    x = 0.37 * torch.arange(-4.0, 4.0)
    assert Scale("mse").fit(x, q).item() == pytest.approx(0.37, rel=1e-6)


@pytest.mark.parametrize("top", [1, 3, 7, 15, 255])
def test_the_half_gaussian_step_is_the_minimum_of_the_integral(top):
    integrate = pytest.importorskip("scipy.integrate", reason="the oracle is SciPy: pip install scipy")

    def density(x):
        return math.sqrt(2 / math.pi) * math.exp(-x * x / 2)

    def mean_square(step):
        cuts = [0.0, *((k + 0.5) * step for k in range(top)), 40.0]
        cells = enumerate(pairwise(cuts))
        return sum(
            integrate.quad(lambda x, k=k: (x - k * step) ** 2 * density(x), a, b, epsabs=1e-14)[0]
            for k, (a, b) in cells
        )

    step = half_gaussian_step(top)
    best = mean_square(step)
    assert best < mean_square(step * 1.002) and best < mean_square(step * 0.998)
    slope = (mean_square(step * 1.0005) - mean_square(step * 0.9995)) / (0.001 * step)
    assert abs(slope) < 1e-3 * best / step


@pytest.mark.parametrize(
    ("bits", "step", "paper"),
    [(1, 1.2240, 1.2221), (2, 0.6508, 0.6511), (3, 0.3534, None), (4, 0.1932, 0.1946)],
)
def test_the_half_gaussian_step_is_the_known_number(bits, step, paper):
    assert half_gaussian_step(2**bits - 1) == pytest.approx(step, abs=5e-5)
    if paper:  # the authors simulated theirs
        assert half_gaussian_step(2**bits - 1) == pytest.approx(paper, rel=0.01)


@pytest.mark.parametrize("statistic", ["mean_abs", "max_abs", "mse", "percentile"])
def test_zeros_get_a_scale_that_does_no_harm(statistic):
    zeros = torch.zeros(2, 8)
    assert Scale(statistic).fit(zeros, Uniform()) == 1
    assert Scale(statistic, learned=True).fit(zeros, Binary()) == 1
    assert 0 < Scale(statistic).fit(zeros, Binary()) < 1e-30  # a sign has no level zero


def test_a_percentile_of_mostly_zeros_is_not_zero():
    x = torch.zeros(10_000)
    x[0] = 3.0
    assert Scale("percentile").fit(x, Uniform(bits=2)) == 1.5


def test_a_large_tensor_is_thinned_per_tensor():
    x = data(2**19 + 3)
    assert Scale("mse").fit(x, Uniform(2)).item() == pytest.approx(
        Scale("mse").fit(x[: 2**18], Uniform(2)).item(), rel=0.01
    )
    assert Scale("percentile").fit(x, Uniform(2)) > 0


def test_a_scale_has_the_dtype_of_x_or_float32():
    for dtype, expected in {
        torch.float16: torch.float32,
        torch.bfloat16: torch.float32,
        torch.float64: torch.float64,
    }.items():
        assert Scale("mse").fit(data(20).to(dtype), Uniform()).dtype == expected


def test_float16_gets_no_scale_of_zero():
    assert narrowed(torch.tensor(1e-9), torch.float16) > 0
    assert narrowed(torch.tensor(1e-9), torch.bfloat16) > 0
    assert narrowed(torch.tensor(0.5), torch.float16) == 0.5


def test_the_scale_is_fitted_to_the_settled_quantizer():
    q = Uniform(bits=3, rounding="stochastic")
    assert torch.equal(q.fit(data(50))["scale"], Uniform(bits=3).fit(data(50))["scale"])


def test_a_fit_carries_no_gradient():
    assert not Scale("mse").fit(data(10).requires_grad_(), DoReFaActivation()).requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"statistic": "median"},
            r"Scale\(statistic='median'\) is unknown; known: one, mean_abs, max_abs, mse",
        ),
        ({"learned": True, "live": True}, "trained or taken anew at every call, not both"),
        ({"group": 0}, "a group is at least 1 and lies behind axis 0"),
        ({"group": 4, "axis": 1}, "a group is at least 1 and lies behind axis 0"),
        ({"percentile": 0}, r"Scale\(percentile=...\) must lie in \(0, 100\], got 0"),
        ({"percentile": 101}, r"Scale\(percentile=...\) must lie in \(0, 100\], got 101"),
    ],
)
def test_an_impossible_scale_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Scale(**options)


def test_a_scale_that_does_not_fit_the_tensor_says_so():
    with pytest.raises(ValueError, match=r"Scale\(axis=3\) does not exist in a tensor of shape \(2, 5\)"):
        Scale(axis=3).fit(data(2, 5), Uniform())
    with pytest.raises(
        ValueError, match=r"Scale\(group=4\) does not divide the rows of a tensor of shape \(2, 5\)"
    ):
        Scale(group=4).fit(data(2, 5), Uniform())
    with pytest.raises(ValueError, match="cannot fit a scale to an empty tensor"):
        Scale().fit(torch.zeros(0), Uniform())
    with pytest.raises(ValueError, match="cannot fit a scale to an empty tensor"):
        Scale(group=4).fit(torch.zeros(0, 4), Uniform())
    with pytest.raises(ValueError, match="at least one level above zero, got top=0"):
        half_gaussian_step(0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_what_is_not_finite_is_refused_unless_the_scale_is_live(statistic, bad):
    x = data(3, 4)
    x[1, 1] = bad
    for axis in (None, 0):
        with pytest.raises(
            ValueError,
            match=rf"cannot fit a scale \({statistic}\): the tensor holds values that are not finite",
        ):
            Scale(statistic, axis=axis).fit(x, Uniform())
    found = Scale(statistic, axis=0, live=True).fit(x, Uniform()).flatten()
    assert torch.isfinite(found[[0, 2]]).all()
    if math.isnan(bad) and statistic not in ("one", "half_gaussian"):
        assert found[1].isnan()  # not a number that looks like any other
