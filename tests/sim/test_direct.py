"""The oracle itself, against the algorithm written out by hand."""

import math

import pytest
import torch

from coarsegrad import sim
from coarsegrad.core.surrogates import ClippedReLU, HardTanh, Identity, ReLU
from coarsegrad.problem import Problem
from coarsegrad.sim.samples import samples


@pytest.mark.parametrize("surrogate", [ReLU(), Identity(), ClippedReLU()], ids=lambda s: s.name)
@pytest.mark.parametrize("trained", ["w", "both"])
def test_the_steps_are_those_of_section_1_2(surrogate, trained):
    problem = Problem.drawn(m=3, n=5, seed=0, samples=40, noise=0.2, trained=trained, weights="binary")
    (z,), (y,) = samples(problem, 3, range(1))
    (v,), (u,) = problem.starts(1, 3)
    signs, average, weight = [], torch.zeros(5).double(), HardTanh(-0.6, 0.6)
    for step in range(51):
        w = torch.where(u < 0, -1.0, 1.0).double() / math.sqrt(5)
        signs.append((w > 0).tolist())
        if step == 50:
            break
        average += w
        x = z @ w
        hidden, slope = (x > 0).double(), surrogate.slope(x)
        rest = hidden @ v - y
        dw = torch.einsum("kmn,km,m,k->n", z, slope, v, rest) / 40 * (u.abs() < 0.6)
        dv = rest @ hidden / 40
        v, u = (v - 0.2 * dv if trained == "both" else v), u - 0.2 * dw
    found = sim.recover(
        problem, surrogate, runs=1, steps=50, step_size=0.2, seed=3, record=range(51), weight=weight,
        method="direct",
    )  # fmt: skip
    assert (found.signs[:, 0] > 0).tolist() == signs
    torch.testing.assert_close(found.w[0], u)
    torch.testing.assert_close(found.v[0], v)
    target = problem.w_star >= 0
    assert found.ergodic_wrong.item() == ((average >= 0) != target).sum()
    at = [s == target.tolist() for s in signs]
    assert found.at.item() == sum(at[:-1]) and found.last.item() == at[-1]
    assert found.first.item() == (at.index(True) if any(at) else -1)
