"""Forces and hit times of binary weights, against the field they come from and the descent step by step."""

import math

import pytest
import torch
from scipy import integrate, stats

from coarsegrad.core.surrogates import ClippedReLU, HardTanh, Identity, ReLU, Sigmoid
from coarsegrad.problem import Problem
from coarsegrad.theory import descend, hidden
from coarsegrad.theory.recovery import constant, first_hit, force
from theory.problems import normal

D = torch.double
LINEAR = {Identity(): 1.0, ReLU(): 0.5}
linear = pytest.mark.parametrize("surrogate", LINEAR, ids=lambda s: s.name)


def binary(n, wrong, seed=0):
    """w and w_star that differ in so many signs."""
    w_star = torch.where(normal(n, seed=seed) < 0, -1.0, 1.0).to(D) / math.sqrt(n)
    return torch.cat([-w_star[:wrong], w_star[wrong:]]), w_star


@linear
def test_at_the_teachers_v_the_field_is_linear_in_w_minus_w_star(surrogate):
    v, w, w_star = normal(4, seed=1), *normal(2, 50, 7, seed=2)
    w, w_star = (t / t.norm(dim=-1, keepdim=True) for t in (w, w_star))
    c = LINEAR[surrogate] * v.square().sum() / math.sqrt(2 * math.pi)
    torch.testing.assert_close(constant(v, surrogate), c)
    found = hidden.coarse_gradient(v, w, v, w_star, surrogate)
    torch.testing.assert_close(found, c * (w - w_star), rtol=0, atol=1e-14)


def test_the_clipped_relus_field_is_the_papers():
    v, w, w_star = normal(4, seed=1), *normal(2, 50, 7, seed=2)
    w, w_star = (t / t.norm(dim=-1, keepdim=True) for t in (w, w_star))
    theta = torch.acos((w * w_star).sum(-1, keepdim=True))

    def below(x):
        return (1 + torch.erf(x / math.sqrt(2))) / 2

    a = 0.5 - math.exp(-0.5) * (1 - below(1 / theta.tan()))
    b = below(1 / theta.sin()) - 0.5
    expected = v.square().sum() / math.sqrt(2 * math.pi) * (a * w - b * w_star)
    found = hidden.coarse_gradient(v, w, v, w_star, ClippedReLU())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    loss = hidden.loss(v, w, v, w_star)
    torch.testing.assert_close(loss, v.square().sum() * theta.squeeze(-1) / (2 * math.pi))


@pytest.mark.parametrize("surrogate", [*LINEAR, ClippedReLU(), HardTanh(), Sigmoid()], ids=lambda s: s.name)
def test_the_force_is_that_of_the_field_on_each_coordinate(surrogate):
    n, v = 9, normal(3, seed=0)
    for wrong in range(n + 1):
        w, w_star = binary(n, wrong)
        on = hidden.coarse_gradient(v, w, v, w_star, surrogate) * w.sign()
        found = force(v, wrong, n, surrogate)
        for name, part in (("wrong", on[:wrong]), ("right", on[wrong:])):
            value = getattr(found, name)
            if len(part):
                torch.testing.assert_close(part, value.expand_as(part), rtol=1e-9, atol=1e-13)
            else:
                assert value.isnan()
    assert (force(v, torch.arange(1, n), n, surrogate).wrong > 0).all()


@linear
def test_the_force_is_two_c_over_the_root_of_n_and_nothing_on_the_right(surrogate):
    v, wrong = normal(3, seed=0), torch.arange(11)
    found = force(v, wrong, 10, surrogate)
    c = LINEAR[surrogate] * v.square().sum() / math.sqrt(2 * math.pi)
    torch.testing.assert_close(found.wrong[1:], (2 * c / math.sqrt(10)).expand(10))
    assert found.right[:-1].abs().max() < 1e-15


@linear
@pytest.mark.parametrize("step_size", [0.02, 0.3, 2.0])
def test_the_hit_is_where_the_descent_has_it(surrogate, step_size):
    problem = Problem.drawn(m=3, n=8, seed=0, weights="binary", trained="w", teachers=50)
    v, w = start = problem.starts(50, 0)
    hit = first_hit(v, w, problem.w_star, surrogate, step_size)
    steps = int(hit.steps.max()) + 1
    way = descend(problem, surrogate, start=start, steps=steps, step_size=step_size, record=range(steps + 1))
    there = (way.loss < 1e-12 * v.square().sum(-1)).int()
    assert torch.equal(there.argmax(0), hit.steps)
    assert there[-1].all()  # and there they stay
    assert (hit.steps >= hit.estimate).all() and (hit.steps <= hit.estimate + 1).all()


@linear
def test_the_mean_hit_from_normal_latents_is_that_of_the_largest_wrong_one(surrogate):
    """n = 10, step 1, |v| = 1: for the ReLU 4.72 steps, if all are wrong; 3.87, if half of them are."""
    latent, v, w_star = normal(40_000, 10, seed=0) / math.sqrt(10), torch.ones(1, dtype=D), torch.ones(10)
    for start, below in ((-latent.abs(), lambda x: 2 * stats.norm.cdf(x) - 1), (latent, stats.norm.cdf)):
        largest, _ = integrate.quad(lambda x, below=below: 1 - below(x) ** 10, 0, 12)
        hit = first_hit(v, start, w_star, surrogate, 1.0)
        expected = largest * math.sqrt(math.pi / 2) / LINEAR[surrogate]
        error = hit.estimate.std() / math.sqrt(len(latent))
        assert abs(hit.estimate.mean() - expected) < 4.6 * error  # four comparisons: false alarms below 2e-5


def test_a_run_that_starts_at_the_teacher_is_there_and_a_latent_of_zero_counts_as_positive():
    v, w_star = torch.ones(1, dtype=D), torch.tensor([1.0, -1.0], dtype=D) / math.sqrt(2)
    latent = torch.tensor([[0.3, -0.1], [0.0, -0.1], [0.3, 0.0]], dtype=D)
    assert first_hit(v, latent, w_star, ReLU(), 0.1).steps.tolist() == [0, 0, 1]


def test_other_surrogates_and_bad_numbers_are_refused_with_the_mend():
    v, w = torch.ones(1), torch.ones(4) / 2
    with pytest.raises(ValueError, match=r"ClippedReLU: its force changes .* theory.descend follows it"):
        first_hit(v, w, w, ClippedReLU(), 0.1)
    with pytest.raises(ValueError, match=r"step_size=\.\.\. must be positive"):
        first_hit(v, w, w, ReLU(), 0.0)
    with pytest.raises(ValueError, match="0 <= wrong <= n, got 5 of 4"):
        force(v, 5, 4, ReLU())
