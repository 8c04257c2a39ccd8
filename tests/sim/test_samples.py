"""A run's samples come from the seed and its number alone."""

import numpy as np
import torch

from coarsegrad.problem import Problem, stream
from coarsegrad.problem.laws import Exponential
from coarsegrad.sim.samples import noise, samples


def test_labels_are_the_teachers_with_noise():
    problem = Problem.drawn(m=3, n=4, seed=0, samples=20, noise=0.5)
    z, labels = samples(problem, 7, range(2))
    clean = ((z @ problem.w_star) > 0).double() @ problem.v_star
    for run in range(2):
        torch.testing.assert_close(labels[run] - clean[run], torch.from_numpy(noise(problem, 7, run)))
    assert np.array_equal(noise(problem, 7, 1), 0.5 * stream(7, "noise", 1).standard_normal(20))


def test_inputs_follow_the_problems_law_and_a_run_does_not_depend_on_the_others():
    problem = Problem.drawn(m=2, n=3, seed=0, samples=30, inputs=Exponential())
    z, _ = samples(problem, 1, range(3))
    assert (z > 0).all()
    assert torch.equal(z[2:], samples(problem, 1, range(2, 3))[0])
    assert not torch.equal(z[0], samples(problem, 2, range(1))[0][0])


def test_without_noise_nothing_is_added():
    assert not noise(Problem.drawn(m=2, n=3, seed=0, samples=5), 0, 0).any()
