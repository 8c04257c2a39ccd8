"""Against enumeration of all directions, and against the method itself."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from coarsegrad.theory import recurrence
from coarsegrad.theory.closeness import close, shares


def unit(draw, n):
    teacher = draw.standard_normal(n) * draw.random(n)
    return teacher / np.linalg.norm(teacher)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_shares_are_those_of_the_nearest_point_of_the_hull_of_all_ternary_directions(n):
    """Nearest, by enumeration: no direction lies beyond the plane across what is left, at the mixture."""
    ways = np.array([way for way in product((-1, 0, 1), repeat=n) if any(way)], dtype=float)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    draw = np.random.default_rng(n)
    for _ in range(20):
        teacher = unit(draw, n)
        found = shares(teacher)
        assert found.min() >= 0 and found.sum() == pytest.approx(1)
        order, mean = np.argsort(-np.abs(teacher)), np.zeros(n)
        for k, share in enumerate(found, start=1):
            mean[order[:k]] += share * np.sign(teacher[order[:k]]) / math.sqrt(k)
        left = teacher - mean
        assert (ways @ left).max() <= mean @ left + 1e-12


def test_shares_do_not_see_signs_or_order():
    teacher = unit(np.random.default_rng(3), 7)
    assert shares(-teacher[::-1]) == pytest.approx(shares(teacher))


def test_a_quantized_teacher_keeps_its_direction_all_the_time():
    for k in range(1, 6):
        teacher = np.array([1.0] * k + [0.0] * (5 - k)) / math.sqrt(k)
        assert shares(teacher) == pytest.approx(np.eye(5)[k - 1])


def test_the_ternary_optimum_has_a_share_whatever_the_teacher():
    draw = np.random.default_rng(4)
    for number in range(300):
        teacher = draw.standard_normal(2 + number % 30) * draw.random(2 + number % 30) ** (number % 6)
        teacher /= np.linalg.norm(teacher)
        best = int(recurrence.optimum(torch.from_numpy(teacher), "ternary").abs().sum())
        assert shares(teacher)[best - 1] > 0


def test_the_method_is_at_the_ternary_optimum_for_the_foretold_share_from_any_start():
    teacher = torch.from_numpy(unit(np.random.default_rng(5), 6))
    start = torch.from_numpy(np.random.default_rng(6).standard_normal((3, 6)))
    hits = recurrence.at_optimum(teacher, start, steps=8000, step_size=0.1, weights="ternary")[4000:]
    best = int(recurrence.optimum(teacher, "ternary").abs().sum())
    assert (hits.double().mean(0) - shares(teacher.numpy())[best - 1]).abs().max() < 2e-3


@pytest.mark.parametrize("n", [4, 5, 9, 40])
def test_the_nearest_teacher_stands_at_the_closeness_angle_and_has_a_sum_of_one(n):
    found = close(n)
    w_star = torch.from_numpy(found.teacher)
    p = recurrence.unquantized(w_star)
    assert float(w_star.square().sum()) == pytest.approx(1) and float(p.sum()) == pytest.approx(1)
    assert int((p > 0).sum()) == found.oscillating
    assert float(w_star.sum()) / math.sqrt(n) == pytest.approx(math.cos(found.angle))


@pytest.mark.parametrize("n", [4, 6])
def test_no_teacher_within_the_angle_has_a_sum_of_one_or_more_and_some_beyond_have(n):
    draw = np.random.default_rng(n)
    w_star = 1 + draw.random((50_000, 1)) * draw.standard_normal((50_000, n))
    w_star = torch.from_numpy(w_star / np.linalg.norm(w_star, axis=1, keepdims=True))
    angle = (w_star.abs().sum(1) / math.sqrt(n)).clamp(max=1).acos()
    off = ~recurrence.occupancy(recurrence.unquantized(w_star)).sure
    assert off.any() and float(angle[off].min()) > close(n).angle
    assert float(angle[off].min()) < close(n).angle + 0.05
