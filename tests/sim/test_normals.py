"""Streams of normal numbers: the law, and that nothing depends on how they are asked for."""

import numpy as np
import pytest
from scipy import stats

from coarsegrad.sim import normals
from coarsegrad.sim.normals import Normals


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_law(kind):
    # Kolmogorov-Smirnov and moments on 2e6 numbers: 5 tests at 1e-4 each, seed fixed
    x = np.empty(2_000_000, kind)
    Normals(2024, "data", 0).fill(x)
    x = x.astype(float)
    assert stats.kstest(x, "norm").pvalue > 1e-4
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - mean) < 3.9 * (variance / len(x)) ** 0.5


def test_neighbours_and_streams_do_not_correlate():
    # 9 correlations of 1e6 pairs at 1e-4 each
    x, y = np.empty(10**6), np.empty(10**6)
    Normals(1, "data", 0).fill(x)
    Normals(2, "data", 0).fill(y)
    for lag in (1, 2, 512, 1024, 2048, 4096):
        assert abs(np.corrcoef(x[lag:], x[:-lag])[0, 1]) < 4e-3
    for a, b in ((x, y), (x**2, y**2), (x[1:] ** 2, x[:-1] ** 2)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4e-3


def test_the_tails_are_there():
    x = np.empty(4_000_000, np.float32)
    Normals(5, "data", 0).fill(x)
    seen, expected = (np.abs(x) > 4.5).sum(), len(x) * 2 * stats.norm.sf(4.5)
    assert abs(seen - expected) < 4 * expected**0.5  # 6e-5


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_pieces_may_come_in_any_order(kind):
    sizes = (3, 200_000, 70_000)
    straight, turned = Normals(11, "data", 0), Normals(11, "data", 0)
    for size in sizes:
        a, b = np.empty((2, size), kind)
        straight.fill(a)
        turned.fill(b, lambda f, items: [f(k) for k in reversed(list(items))])
        assert np.array_equal(a, b)
        assert len(np.unique(a)) > 0.95 * size


def test_without_numba_they_are_the_same(monkeypatch):
    fast, slow = np.empty((2, 5000))
    Normals(4, "data", 0).fill(fast)
    monkeypatch.setattr(normals, "find_spec", lambda name: None)
    Normals(4, "data", 0).fill(slow)
    assert np.array_equal(fast, slow)


@pytest.mark.parametrize("out", [np.empty((4, 6))[:, ::2], np.empty(3, np.float16)])
def test_what_it_cannot_fill_is_refused(out):
    with pytest.raises(ValueError, match="C-contiguous"):
        Normals(0, "data", 0).fill(out)
