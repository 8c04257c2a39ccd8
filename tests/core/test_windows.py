"""Each window against its paper's formula, written out in NumPy."""

import math

import numpy as np
import pytest
import torch

from coarsegrad.core.windows import (
    ClippedReLU,
    HardTanh,
    Identity,
    LeakyHardTanh,
    LeakyReLU,
    LogTailedReLU,
    MagnitudeAwareSign,
    ReLU,
    ReverseExponential,
)
from coarsegrad.spec import write

X = np.concatenate([np.linspace(-5, 5, 2001), [-1.0, -0.0, 0.0, 1.0, 3.0]])


def log_tail(x, q):
    """HWGQ's log-tailed ReLU: 1 on (0, q], 1/(x - (q - 1)) above (Cai et al. 2017, section 3.3)."""
    return np.where(x <= 0, 0.0, np.where(x <= q, 1.0, 1 / (np.maximum(x, q) - (q - 1))))


FORMULAS = [
    (Identity(), lambda x: np.ones_like(x)),  # Bengio et al. 2013
    (ReLU(), lambda x: (x > 0) * 1.0),  # Yin et al. 2019, section 2
    (ClippedReLU(3.0), lambda x: ((x > 0) & (x < 3)) * 1.0),  # Yin et al. 2019, section 2
    (HardTanh(), lambda x: (np.abs(x) < 1) * 1.0),  # Courbariaux & Bengio 2016, equation 4; larq's ste_sign
    (HardTanh(-2.0, 0.5), lambda x: ((x > -2) & (x < 0.5)) * 1.0),
    (LeakyReLU(0.2), lambda x: np.where(x > 0, 1.0, 0.2)),  # Maas et al. 2013
    (LeakyHardTanh(0.2), lambda x: np.where(np.abs(x) < 1, 1.0, 0.2)),
    (LogTailedReLU(3.0), lambda x: log_tail(x, 3.0)),
    (ReverseExponential(2.0), lambda x: (x > 0) * np.exp(-x / 2)),  # Long, Yin & Xin 2021, example 2
]


@pytest.mark.parametrize(("surrogate", "formula"), FORMULAS, ids=[write(s) for s, _ in FORMULAS])
def test_slope_is_the_formula_of_the_paper(surrogate, formula):
    slope = surrogate.slope(torch.tensor(X)).numpy()
    assert np.allclose(slope, formula(X), rtol=1e-14, atol=1e-15)


def test_the_ends_of_a_window_have_slope_zero():
    ends = torch.tensor([0.0, 1.0])
    assert ClippedReLU().slope(ends).tolist() == [0, 0]
    assert ClippedReLU().pullback(torch.ones(2), ends).tolist() == [0, 0]
    assert HardTanh().pullback(torch.ones(2), torch.tensor([-1.0, 1.0])).tolist() == [0, 0]
    assert ReLU().slope(torch.tensor([0.0, -0.0])).tolist() == [0, 0]


def test_a_window_stays_a_window_over_levels():
    assert ClippedReLU().over((0.0, 1.0, 2.0, 3.0)) == ClippedReLU(3.0)
    assert HardTanh().over((-8.0, 7.0)) == HardTanh(-8.0, 7.0)
    assert HardTanh(-2.0, 2.0).over((0.0, 4.0)) == HardTanh(-2.0, 6.0)
    assert LogTailedReLU().over((0.0, 3.0)) == LogTailedReLU(3.0)
    assert ReverseExponential().over((0.0, 3.0)) == ReverseExponential(3.0)
    assert Identity().over((0.0, 3.0)) == Identity() and ReLU().over((0.0, 3.0)) == ReLU()


def test_a_window_says_where_it_passes():
    assert ClippedReLU(3.0).passes == (0.0, 3.0) and HardTanh(-2.0, 5.0).passes == (-2.0, 5.0)
    assert Identity.passes == (-math.inf, math.inf) and ReLU.passes == (0.0, math.inf)
    assert LeakyReLU().passes is None and LeakyHardTanh().passes is None and LogTailedReLU().passes is None


def test_the_reverse_exponential_saturates_at_its_top():
    curve = ReverseExponential(2.0).curve(torch.tensor([-1.0, 0.0, 100.0]))
    assert curve.tolist() == [0, 0, 2]


def test_the_magnitude_is_the_mean_of_the_output_channel():
    # Bi-Real Net, section 3.3: d(mean|w| sign(w))/dw is mean|w| 1{|w| < 1}, one mean per output channel
    w = torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = np.abs(w.numpy()).reshape(4, -1).mean(1).reshape(4, 1, 1, 1)
    assert np.allclose(MagnitudeAwareSign().slope(w), mean * (np.abs(w.numpy()) < 1))
    row = torch.tensor([0.5, -0.25, 3.0])
    assert torch.allclose(MagnitudeAwareSign().slope(row), torch.tensor([1.25, 1.25, 0.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_the_mean_of_the_largest_numbers_is_finite(dtype):
    x = torch.full((2, 50), torch.finfo(dtype).max, dtype=dtype)
    x[:, 0] = 0.5
    slope = MagnitudeAwareSign().slope(x)
    assert torch.isfinite(slope).all() and slope[0, 0] > 1e4 and slope[0, 1] == 0


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, -2.0), (float("nan"), 1.0)])
def test_a_window_needs_two_ends_in_order(low, high):
    with pytest.raises(ValueError, match=r"HardTanh\(low=..., high=...\) needs low < high, got"):
        HardTanh(low, high)
