"""Moments and histograms, against SciPy and NumPy."""

import math

import numpy as np
import pytest
import torch

from coarsegrad.measure.moments import dead_fraction, end_fractions, histogram, moments

stats = pytest.importorskip("scipy.stats", reason="the oracle for moments is SciPy: pip install scipy")


def sample(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp()


@pytest.mark.parametrize(("dim", "axis"), [(None, None), (0, 0), ((1, 2), (1, 2))])
def test_moments_are_those_of_scipy(dim, axis):
    x = sample(5, 6, 7)
    ours = moments(x, dim)
    assert np.allclose(ours.mean, x.numpy().mean(axis))
    assert np.allclose(ours.sd, x.numpy().std(axis))
    assert np.allclose(ours.skewness, stats.skew(x.numpy(), axis))
    assert np.allclose(ours.excess_kurtosis, stats.kurtosis(x.numpy(), axis))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_moments_survive_values_whose_powers_leave_the_float_range(size):
    ours = moments(torch.tensor([-size, 0.0, size, 0.0]))
    assert ours.sd.item() == pytest.approx(size * math.sqrt(0.5), rel=1e-6)
    assert ours.excess_kurtosis.item() == pytest.approx(-1.0, abs=1e-5)


def test_a_constant_has_no_spread_and_no_shape():
    ours = moments(torch.full((1000,), 0.1))
    assert ours.mean.item() == pytest.approx(0.1)
    assert ours.sd == 0 and ours.skewness == 0 and ours.excess_kurtosis == 0


def test_two_fair_values_have_the_least_kurtosis():
    assert moments(torch.tensor([-1, 1, -1, 1])).excess_kurtosis.item() == -2.0


def test_moments_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one entry"):
        moments(torch.zeros(0))


def test_end_fractions_count_both_ends_inclusively():
    ends = end_fractions(torch.tensor([-2.0, -1.0, 0.0, 1.0]), -1.0, 1.0)
    assert ends.low == 0.5 and ends.high == 0.25
    assert end_fractions(torch.zeros(0), 0, 1) == (0.0, 0.0)
    with pytest.raises(ValueError, match="low < high"):
        end_fractions(torch.zeros(3), 1, 1)


def test_a_unit_is_dead_when_it_gives_one_value_everywhere():
    x = sample(8, 4, 3, 3)
    x[:, 1] = 0
    x[:, 2] = -1
    assert dead_fraction(x) == 0.5
    assert dead_fraction(x.movedim(1, -1), unit_dim=-1) == 0.5


@pytest.mark.parametrize("shape", [(1, 4), (5,), (3, 0)])
def test_one_value_per_unit_cannot_tell_dead_from_alive(shape):
    with pytest.raises(ValueError, match="several samples"):
        dead_fraction(torch.zeros(shape))


@pytest.mark.parametrize("bins", [1, 2, 7, 64])
def test_histogram_is_that_of_numpy(bins):
    x = sample(1000)
    counts, edges = histogram(x, bins)
    expected, _ = np.histogram(x.numpy(), edges.numpy())
    assert counts.tolist() == expected.tolist()
    assert counts.sum() == 1000
    assert edges[0] == x.min() and edges[-1] == x.max()


def test_what_lies_outside_the_range_is_in_no_bin():
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, math.nan, math.inf])
    assert histogram(x, bins=2, low=0, high=1).counts.tolist() == [1, 2]


@pytest.mark.parametrize("x", [torch.zeros(0), torch.full((5,), 3.0), torch.tensor([2, 2])])
def test_nothing_and_constants_still_have_edges(x):
    counts, edges = histogram(x, bins=4)
    assert counts.sum() == x.numel()
    assert (edges.diff() > 0).all() and len(edges) == 5


def test_histogram_refuses_an_empty_range():
    with pytest.raises(ValueError, match="low < high"):
        histogram(torch.zeros(3), low=2, high=1)
    with pytest.raises(ValueError, match="bins"):
        histogram(torch.zeros(3), bins=0)
