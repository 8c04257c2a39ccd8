"""The finite-sample descent: its steps, its randomness, its errors. See test_against_theory.py too."""

import pytest
import torch

from coarsegrad import sim
from coarsegrad.core.surrogates import EWGS, Identity, ReLU
from coarsegrad.problem import Problem, Window, stream
from coarsegrad.sim import hidden
from coarsegrad.sim.normals import Normals


def same(a, b):
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in (
            "v",
            "w",
            "loss",
            "angle",
            "norm",
            "rises_inside",
            "rises_outside",
            "largest_rise_outside",
        )
    )


def test_the_steps_are_those_of_the_algorithm():
    problem = Problem.drawn(m=2, n=3, seed=0, samples=60, noise=0.3)
    v, w = (t[0] for t in problem.starts(1, 4))
    z = torch.empty(60, 2, 3, dtype=torch.float64)
    Normals(4, "data", 0).fill(z.numpy())
    noise = 0.3 * torch.from_numpy(stream(4, "noise", 0).standard_normal(60))
    losses = []
    for _ in range(5):
        teacher = problem.v_star, problem.w_star
        losses.append(hidden.loss(v, w, *teacher, z, noise=noise))
        dv = hidden.gradient(v, w, *teacher, z, noise=noise)[0]
        dw = hidden.coarse_gradient(v, w, *teacher, ReLU(), z, noise=noise)
        v, w = v - 0.3 * dv, w - 0.3 * dw
    found = sim.descend(problem, ReLU(), runs=1, steps=5, step_size=0.3, seed=4, record=range(5))
    torch.testing.assert_close(found.v[0], v)
    torch.testing.assert_close(found.w[0], w)
    torch.testing.assert_close(found.loss[:, 0], torch.stack(losses))


def test_a_seed_repeats_and_another_differs():
    problem = Problem.drawn(m=2, n=3, seed=0, samples=50)
    first, again, other = (
        sim.descend(problem, ReLU(), runs=3, steps=20, step_size=0.3, seed=seed) for seed in (7, 7, 8)
    )
    assert same(first, again)
    assert not torch.equal(first.v, other.v)


def test_a_run_does_not_depend_on_the_others_nor_on_the_memory():
    problem = Problem.drawn(m=2, n=3, seed=0, samples=50, teachers=5)
    how = dict(steps=20, step_size=0.3, seed=7)
    whole = sim.descend(problem, EWGS(), runs=5, **how)
    small = sim.descend(problem, EWGS(), runs=5, memory=2 * 50 * 2 * 3 * 8, **how)
    torch.testing.assert_close(whole.v, small.v, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whole.loss, small.loss, rtol=1e-9, atol=1e-9)
    few = sim.descend(problem.some(slice(0, 2)), EWGS(), runs=2, **how)
    torch.testing.assert_close(whole.w[:2], few.w, rtol=1e-9, atol=1e-9)


def test_binary_weights_recover_the_teacher_and_stay():
    problem = Problem.drawn(m=4, n=10, seed=0, weights="binary", trained="w", samples=400)
    found = sim.descend(problem, ReLU(), runs=8, steps=300, step_size=0.3, seed=0)
    right = (problem.shown(found.w) == problem.w_star).all(-1)
    assert right.all() and (found.loss[-1] == 0).all()
    assert (found.angle[-1] < 1e-7).all()


def test_a_shared_start_is_taken():
    problem = Problem.drawn(m=2, n=3, seed=0, samples=50)
    start = problem.starts(3, 11)
    found = sim.descend(problem, Identity(), runs=3, steps=0, step_size=0.3, seed=0, start=start)
    assert torch.equal(found.v, start[0]) and torch.equal(found.w, start[1])
    assert found.steps_inside.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("fields", "how", "mend"),
    [
        ({}, {"method": "evnts"}, "known: auto, direct"),
        ({"samples": None}, {}, r"Problem\(samples=...\); the population's descent is theory.descend"),
        ({}, {"runs": 0}, "at least 1"),
        ({}, {"seed": -1}, "not negative"),
        ({}, {"steps": -1}, "steps=... is a whole number"),
        ({}, {"step_size": float("nan")}, "positive and finite"),
        ({}, {"start": (torch.ones(2, 2), torch.ones(2, 3))}, "start=.* has 2; say as many"),
        ({}, {"record": (99,)}, "names steps from 0 to 2"),
    ],
)
def test_bad_input_is_refused_with_the_mend(fields, how, mend):
    problem = Problem.drawn(m=2, n=3, seed=0, **({"samples": 5} | fields))
    with pytest.raises(ValueError, match=mend):
        sim.descend(problem, ReLU(), **({"runs": 1, "steps": 2, "step_size": 0.1, "seed": 0} | how))


def test_increases_of_the_loss_near_the_origin_are_told_from_those_in_the_window():
    problem = Problem.drawn(m=3, n=4, seed=0, samples=200)
    found = sim.descend(
        problem, Identity(), runs=10, steps=100, step_size=0.5, seed=0, window=Window(norm=1e9)
    )
    assert found.steps_inside.sum() == 0 and found.rises_outside.sum() > 0
