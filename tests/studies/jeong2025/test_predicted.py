import math

import pytest
import torch

from coarsegrad.core.surrogates import ClippedReLU, Identity, ReLU
from coarsegrad.problem import Problem, stream
from coarsegrad.sim.hidden import step
from coarsegrad.studies.jeong2025.predicted import samples_a_weight


def test_the_papers_three_are_known():
    assert samples_a_weight(Identity()) == pytest.approx(math.pi / 4, rel=1e-9)
    assert samples_a_weight(ReLU()) == pytest.approx(math.pi / 2, rel=1e-9)


@pytest.mark.parametrize("surrogate", [Identity(), ReLU(), ClippedReLU()])
def test_pull_and_noise_are_those_of_samples(surrogate):
    """200,000 samples; the noise's independence is an approximation: half is allowed."""
    n, m, number = 4, 3, 200_000
    given = Problem.drawn(m=m, n=n, seed=5, weights="binary", trained="w", samples=1)
    v = given.v_star / given.v_star.norm()
    w_star = torch.tensor([1.0, 1, 1, 1]).double() / 2
    w = torch.tensor([-1.0, -1, 1, 1]).double() / 2  # at a right angle
    z = torch.from_numpy(stream(9, "data", 0).standard_normal((number, m, n)))
    parts = []
    for start in range(0, number, 1000):
        some = z[start : start + 1000]
        labels = (some @ w_star > 0).double() @ v
        _, _, g = step(v, w, labels, some, surrogate)
        parts.append(g)
    g = torch.stack(parts)
    pull, noise = g[:, :2].mean() * torch.sign(w[0]), g.std(0).mean() * math.sqrt(1000)
    assert samples_a_weight(surrogate) * n == pytest.approx(float((noise / pull) ** 2), rel=0.5)
