"""Sizes and angles are exact at every angle and size, and the quick way agrees."""

import math

import mpmath
import pytest
import torch

from coarsegrad.theory.plane import SAME_DIRECTION, plane, quick
from theory.problems import normal

ANGLES = [0.0, 1e-12, 1e-9, 1e-6, 0.1, math.pi / 2, 3.0, math.pi - 1e-6, math.pi - 1e-9, math.pi]


def pair(angle, n=5, seed=0, size=1.0, size_star=1.0):
    """Two vectors at this angle."""
    basis = torch.linalg.qr(normal(n, 2, seed=seed)).Q
    w_star = basis[:, 0] * size_star
    return (basis[:, 0] * math.cos(angle) + basis[:, 1] * math.sin(angle)) * size, w_star


def oracle(w, w_star):
    """Cosine and sine with 60 digits."""
    with mpmath.workdps(60):
        a, b = ([mpmath.mpf(x) for x in t.tolist()] for t in (w, w_star))
        dot, aa, bb = (sum(x * y for x, y in zip(p, q, strict=True)) for p, q in ((a, b), (a, a), (b, b)))
        return float(dot / mpmath.sqrt(aa * bb)), float(mpmath.sqrt(abs(aa * bb - dot**2) / (aa * bb)))


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e-3, 1.0, 1e5, 1e170, 1e300])
@pytest.mark.parametrize("angle", ANGLES)
def test_sizes_and_angle_are_exact(angle, size):
    w, w_star = pair(angle, size=size, size_star=1 / size)
    here = plane(w, w_star)
    cos, sin = oracle(w, w_star)
    assert float(here.cos) == pytest.approx(cos, abs=1e-15)
    assert float(here.sin) == pytest.approx(sin, abs=2 * SAME_DIRECTION)
    assert float(here.size) == pytest.approx(size, rel=1e-14)
    assert float(here.size_star) == pytest.approx(1 / size, rel=1e-14)
    assert torch.isfinite(here.across).all()
    if float(here.sin) > 0:
        assert float(here.across.norm()) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("w", [[1.0, 2.0, -3.0], [2e-9, 4e-9, -6e-9], [-1.0, -2.0, 3.0]])
def test_the_same_line_has_no_direction_across(w):
    here = plane(torch.tensor(w, dtype=torch.float64), torch.tensor([1.0, 2.0, -3.0]).double())
    assert float(here.sin) == 0 and here.across.tolist() == [0.0, 0.0, 0.0]


def test_zero_has_no_direction_and_a_zero_teacher_is_not_a_number():
    w = normal(3, seed=1)
    here = plane(torch.zeros(3).double(), w)
    assert float(here.size) == 0 and here.unit.tolist() == [0.0] * 3 and float(here.cos) == 0
    here = plane(w, torch.zeros(3).double())
    assert here.unit_star.isnan().all() and here.cos.isnan() and here.sin.isnan()


def test_quick_is_plane_also_where_many_are_nearly_parallel():
    w_star = normal(400, 7, seed=2)
    w = normal(400, 7, seed=3)
    w[100:300] = 3 * w_star[100:300] + 1e-7 * w[100:300]
    w[200:300] *= -1
    for a, b in ((w, w_star), (w, w_star[:1]), (w[:1], w_star)):
        for quickly, exactly in zip(quick(a, b), plane(a, b)[:4], strict=True):
            assert torch.allclose(quickly.expand_as(exactly), exactly, rtol=1e-14, atol=3e-15)


def test_quick_leaves_what_squares_out_of_range_to_plane():
    w, w_star = normal(4, 3, seed=4), normal(4, 3, seed=5)
    for bad in (0.0, 1e-160, 1e160, math.nan):
        changed = w.clone()
        changed[2] *= bad
        assert quick(changed, w_star) is None and quick(w_star, changed) is None
    size, cos, sin, size_star = quick(w, w_star, angle=False)
    assert size.shape == size_star.shape == (4,) and float(cos) == float(sin) == 0
