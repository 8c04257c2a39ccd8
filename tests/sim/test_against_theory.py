"""What is sampled against what is predicted; the only place, beside the studies, where both rooms meet.

Thresholds follow from the number of comparisons: block means are compared by Student's t, and all comparisons
of a test together raise a false alarm with a probability below 1e-5. Seeds are fixed.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from coarsegrad import sim
from coarsegrad.core.quantizers import QuantizedReLU
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogates import ClippedReLU, HardTanh, Identity, ReLU, Sigmoid
from coarsegrad.problem import Problem
from coarsegrad.problem.laws import Exponential, Gaussian, Laplace, Rademacher, Standardized, Uniform
from coarsegrad.sim import hidden as sampled
from coarsegrad.theory import general
from coarsegrad.theory import hidden as predicted
from coarsegrad.theory.descend import descend
from coarsegrad.theory.gauss import THRESHOLD, Staircase
from coarsegrad.theory.recovery import first_hit

FALSE_ALARM = 1e-5
D = torch.double
TWO_BITS = QuantizedReLU(bits=2, scale=Scale("one"), rounding="ceil")


def agree(pairs):
    """Assert that the means of blocks (axis 0) are what is predicted; print threshold and worst deviation."""
    scores = []
    for blocks, value in pairs:
        error, off = blocks.std(0) / len(blocks) ** 0.5, (blocks.mean(0) - value).abs()
        scores.append(torch.where(off < 1e-9, 0.0, off / error).flatten())  # where nothing is left to chance
        count = len(blocks)
    scores = torch.cat(scores)
    threshold = stats.t.isf(FALSE_ALARM / 2 / len(scores), count - 1)
    print(f"{len(scores)} comparisons, |t| at most {scores.max():.2f}, allowed {threshold:.2f}")
    assert scores.max() < threshold


@pytest.mark.parametrize("activation", [None, TWO_BITS], ids=["threshold", "two bits"])
def test_loss_gradient_and_coarse_gradient(activation):
    staircase = THRESHOLD if activation is None else Staircase.of(activation, scale=1.0)
    g = torch.Generator().manual_seed(0)
    pairs = []
    for m, n, size in ((1, 2, 0.5), (3, 4, 1.0), (2, 5, 3.0), (6, 3, 0.3)):
        v, v_star = torch.randn(2, m, generator=g, dtype=D)
        w, w_star = torch.randn(2, n, generator=g, dtype=D)
        w, w_star = size * w / w.norm(), w_star / w_star.norm()
        z = torch.randn(50, 2000, m, n, generator=g, dtype=D)
        point = v, w, v_star, w_star
        pairs.append(
            (sampled.loss(*point, z, activation=activation), predicted.loss(*point, activation=staircase))
        )
        pairs += zip(
            sampled.gradient(*point, z, activation=activation),
            predicted.gradient(*point, activation=staircase), strict=True,
        )  # fmt: skip
        for surrogate in (Identity(), ReLU(), ClippedReLU(), HardTanh(), Sigmoid()):
            expected = predicted.coarse_gradient(*point, surrogate, activation=staircase)
            pairs.append((sampled.coarse_gradient(*point, surrogate, z, activation=activation), expected))
    agree(pairs)


@pytest.mark.parametrize("surrogate", [Identity(), ReLU(), ClippedReLU()], ids=lambda s: s.name)
def test_the_first_step_is_the_populations_on_average(surrogate):
    problem = Problem.drawn(m=3, n=4, seed=1, samples=50, noise=0.5)
    start = tuple(t.expand(400, -1) for t in problem.starts(1, 2))
    how = dict(start=start, steps=1, step_size=0.1)
    found = sim.descend(problem, surrogate, runs=400, seed=3, **how)
    expected = descend(problem, surrogate, **how)
    agree([(found.v, expected.v[0]), (found.w, expected.w[0])])


@pytest.mark.parametrize("surrogate", [Identity(), ReLU(), ClippedReLU()], ids=lambda s: s.name)
def test_the_samples_descent_nears_the_populations_as_one_over_the_root_of_n(surrogate):
    drawn = Problem.drawn(m=3, n=4, seed=1)
    v, w = drawn.starts(1, 2)
    how = dict(start=(v.expand(30, -1), 10 * w.expand(30, -1)), steps=60, step_size=0.1)
    expected = descend(drawn, surrogate, **how)
    assert expected.smallest_norm[0] > 1  # near the origin the smallest difference grows
    off = []
    for samples in (100, 1600, 6400):
        problem = Problem(drawn.v_star, drawn.w_star, samples=samples)
        found = sim.descend(problem, surrogate, runs=30, seed=0, **how)
        off.append(torch.cat((found.v - expected.v, found.w - expected.w), -1).square().mean().sqrt().item())
    # each ratio is a quotient of root mean squares over 30 runs: 4 and 2, within a factor 1.6
    assert 4 / 1.6 < off[0] / off[1] < 4 * 1.6
    assert 2 / 1.6 < off[1] / off[2] < 2 * 1.6
    assert off[2] < 0.02 * expected.norm[-1, 0]


@pytest.mark.parametrize(
    "law",
    [Gaussian(0.5, 2.0), Uniform(0, 1), Exponential(), Standardized(Exponential()), Laplace(), Rademacher()],
    ids=str,
)
def test_loss_gradient_and_coarse_gradient_under_other_laws(law):
    pairs = []
    for seed, (m, n) in enumerate(
        ((1, 4), (3, 4), (2, 16))
    ):  # 1/sqrt(n) is dyadic: sums, and ties, are exact
        problem = Problem.drawn(m=m, n=n, seed=seed, weights="binary", inputs=law)
        v, w = problem.starts(1, 0)
        point = v[0], problem.shown(w)[0], problem.v_star, problem.w_star
        z = torch.empty(50, 2000, m, n, dtype=D)
        law.fill(np.random.default_rng(seed), z.view(-1, m, n).numpy())
        labels = sampled.output(*point[2:], z)
        for surrogate in (Identity(), ReLU()):
            found = sampled.step(*point[:2], labels, z, surrogate)
            expected = general.field(*point, surrogate, law)
            pairs += zip(found, expected, strict=True)
            gradient = sampled.coarse_gradient(*point, surrogate, z)
            assert torch.equal(gradient, found[2])
    agree(pairs)


@pytest.mark.parametrize("surrogate", [Identity(), ReLU()], ids=lambda s: s.name)
def test_the_first_step_of_binary_weights_under_another_law(surrogate):
    problem = Problem.drawn(m=3, n=5, seed=1, samples=50, weights="binary", inputs=Exponential())
    start = tuple(t.expand(400, -1) for t in problem.starts(1, 2))
    how = dict(start=start, steps=1, step_size=0.1)
    found = sim.descend(problem, surrogate, runs=400, seed=3, **how)
    expected = descend(problem, surrogate, **how)
    agree([(found.v, expected.v[0]), (found.w, expected.w[0])])


@pytest.mark.parametrize("surrogate", [Identity(), ReLU()], ids=lambda s: s.name)
def test_with_many_samples_a_teacher_is_found_when_predicted(surrogate):
    problem = Problem.drawn(m=4, n=10, seed=0, samples=4000, weights="binary", trained="w")
    start = problem.starts(20, 0)
    hit = first_hit(problem.v_star, start[1], problem.w_star, surrogate, 0.05)
    found = sim.recover(problem, surrogate, runs=20, steps=400, step_size=0.05, seed=0, start=start)
    assert found.last.all()
    # the noise of a run's gradient, constant between flips, shifts it by less than a tenth of the force
    assert ((found.first - hit.steps).abs() <= 0.15 * hit.steps + 2).all()


def test_both_end_at_the_same_minimizers():
    problem = Problem.drawn(m=3, n=4, seed=1, samples=1500)
    start = problem.starts(20, 0)
    how = dict(start=(start[0], 2 * start[1]), steps=300, step_size=0.2)
    found = sim.descend(problem, ReLU(), runs=20, seed=0, **how)
    expected = descend(problem, ReLU(), **how)
    side, predicted_side = found.angle[-1] < 1.57, expected.angle[-1] < 1.57
    assert 0 < predicted_side.sum() < 20
    assert (
        side == predicted_side
    ).sum() >= 18  # a start near the border between two basins may fall either way
