"""Formulas, against the iteration of one weight and against the coarse gradient."""

import math

import pytest
import torch

from coarsegrad.core.surrogates import ReLU
from coarsegrad.theory import blended, hidden


def followed(w_star, start, ratio, steps, rho=0.01):
    """Signs of a fixed scale, step by step: y <- (1 - rho) y + rho w - (rho/ratio) (w - w*)."""
    root = math.sqrt(len(w_star))
    y, found = start.clone(), []
    for _ in range(steps):
        w = torch.where(y < 0, -1.0, 1.0).double() / root
        push = rho / ratio if ratio else rho
        y = y + (rho * (w - y) if ratio else 0.0) - push * (w - w_star)
        found.append(w * root)
    return torch.stack(found)


@pytest.mark.parametrize("ratio", [0.2, 0.7, 1.0, 1.4, 2.5])
def test_weights_end_where_the_formula_says(ratio):
    w_star = torch.tensor([0.7, -0.5, 0.4, -0.2, 0.1, -0.05], dtype=torch.float64)
    w_star = w_star / w_star.norm()
    start = torch.tensor([-0.3, 0.3, 0.3, 0.3, -0.3, -0.3], dtype=torch.float64)
    late = followed(w_star, start, ratio, 2500)[1500:]
    ends = blended.settled(w_star, start, ratio)
    rests = (late == late[0]).all(0)
    assert torch.equal(rests, ends != 0) and torch.equal(late[-1][rests], ends[rests])


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8])
def test_weights_are_wrong_for_the_foretold_share_of_time(ratio):
    w_star = torch.tensor([0.9, 0.3, -0.2, 0.1, 0.02], dtype=torch.float64)
    w_star = w_star / w_star.norm()
    start = torch.full((5,), 0.01, dtype=torch.float64)
    late = followed(w_star, start, ratio, 8000, rho=2e-3)[4000:]
    share = (late * w_star < 0).double().mean(0)
    assert (share - blended.wrong(w_star, start, ratio)).abs().max() < 0.01


def test_only_the_share_of_a_weight_that_never_settles_is_between_0_and_a_half():
    w_star = torch.tensor([0.8, 0.6], dtype=torch.float64)
    for ratio in (0.0, 0.1, 1.0, 3.0):
        share = blended.wrong(w_star, torch.tensor([-1.0, 1.0]).double(), ratio)
        settled = blended.settled(w_star, torch.tensor([-1.0, 1.0]).double(), ratio) != 0
        assert torch.equal(settled, (share == 0) | (share == 1))
        assert (share[~settled] < 0.5).all()


@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("trained", [False, True])
def test_the_drift_is_that_of_the_coarse_gradient_along_w(m, trained):
    theta = torch.linspace(0.05, 1.5, 30, dtype=torch.float64)
    v_star = torch.randn(m, generator=torch.Generator().manual_seed(m), dtype=torch.float64)
    u = torch.stack([torch.cos(theta), torch.sin(theta)], -1)
    both = torch.eye(m, dtype=torch.float64) + 1
    right = (1 - 2 * theta / math.pi)[:, None] * v_star + v_star.sum()
    v = torch.linalg.solve(both, right.T).T if trained else v_star.expand(30, m)
    w_star = torch.tensor([1.0, 0.0], dtype=torch.float64)
    g = hidden.coarse_gradient(v, u, v_star, w_star, ReLU())
    unit = (v @ v_star) / (2 * math.sqrt(2 * math.pi))
    assert torch.allclose(-(g * u).sum(-1), unit * blended.drift(theta, trained), atol=1e-13)


def test_the_scale_shrinks_for_a_known_v_and_grows_for_a_trained_one():
    theta = torch.linspace(0.01, math.pi / 2 - 0.01, 200, dtype=torch.float64)
    assert (blended.drift(theta, trained=False) < 0).all()
    assert (blended.drift(theta, trained=True) > 0).all()


def test_the_bound_is_nothing_at_one_and_grows_with_the_ratio():
    found = blended.fall(torch.tensor([0.0, 1.0, 2.0]))
    assert found.tolist() == pytest.approx([-1 / (4 * math.pi), 0.0, 1 / (4 * math.pi)])
