import math

import pytest
import torch

from coarsegrad.core.quantizers import Binary, QuantizedReLU
from coarsegrad.core.scales import Scale
from coarsegrad.problem import Problem, stream

V, W = torch.tensor([1.0, -2.0]), torch.tensor([0.6, 0.8, 0.0])


@pytest.mark.parametrize(
    ("fields", "mend"),
    [
        ({"w_star": 2 * W}, "must have length 1, got 2; divide it by its norm"),
        ({"w_star": torch.ones(1)}, "needs n >= 2"),
        ({"w_star": W.double()}, "v_star and w_star alike"),
        ({"w_star": torch.tensor([1, 0])}, "is a float tensor"),
        ({"w_star": W.expand(2, 2, 3)}, r"of shape \[w\]|of shape \[n\]"),
        ({"v_star": torch.zeros(2)}, "must not be zero"),
        ({"v_star": torch.tensor([1.0, math.nan])}, "must be finite"),
        ({"v_star": torch.empty(0)}, "not empty"),
        ({"v_star": V.expand(2, 2), "w_star": W.expand(3, 3)}, "2 teachers in v_star, 3 in w_star"),
        ({"trained": "v"}, "known: both, w"),
        ({"weights": "ternary"}, "known: float, binary"),
        ({"samples": 0}, "at least 1, or None"),
        ({"samples": 10.0}, "at least 1, or None"),
        ({"samples": 10, "noise": -1.0}, "not negative and finite"),
        ({"noise": 0.1}, "say samples="),
        ({"activation": Binary()}, 'use scale=Scale\\("one"\\)'),
    ],
)
def test_bad_input_is_refused_with_the_mend(fields, mend):
    with pytest.raises(ValueError, match=mend):
        Problem(**({"v_star": V, "w_star": W} | fields))


def test_a_problem_holds_what_it_was_given():
    problem = Problem(V, W, samples=7, noise=0.5, activation=QuantizedReLU(scale=Scale("one")))
    assert (problem.m, problem.n, problem.teachers, problem.samples) == (2, 3, None, 7)
    assert problem.starts(3, 0)[0].dtype == torch.float32


def test_a_run_keeps_its_start_however_many_run_beside_it():
    problem = Problem.drawn(m=3, n=4, seed=5)
    few, many = problem.starts(2, 9), problem.starts(6, 9)
    assert all(torch.equal(a, b[:2]) for a, b in zip(few, many, strict=True))
    assert not torch.equal(few[0], problem.starts(2, 10)[0])


def test_teachers_are_drawn_one_by_one():
    many, one = Problem.drawn(m=3, n=4, seed=5, teachers=3), Problem.drawn(m=3, n=4, seed=5)
    assert torch.equal(many.v_star[0], one.v_star)
    assert many.teachers == 3
    assert torch.allclose(many.w_star.norm(dim=-1), torch.ones(3, dtype=torch.double))


def test_float_starts_stand_on_the_sphere_and_a_v_that_is_given_is_the_teachers():
    v, w = Problem.drawn(m=3, n=4, seed=0, trained="w").starts(5, 0)
    assert torch.allclose(w.norm(dim=-1), torch.ones(5, dtype=torch.double))
    assert torch.equal(v, Problem.drawn(m=3, n=4, seed=0).v_star.expand(5, 3))


def test_binary_weights_are_signs_of_unit_length_with_plus_for_zero():
    problem = Problem.drawn(m=2, n=4, seed=0, weights="binary")
    assert torch.equal(problem.w_star.abs(), torch.full((4,), 0.5, dtype=torch.double))
    assert problem.shown(torch.tensor([0.0, -3.0, 2.0, -0.0])).tolist() == [0.5, -0.5, 0.5, 0.5]
    latents = problem.starts(2000, 0)[1]
    assert abs(latents.var().item() * 4 - 1) < 0.1


def test_some_runs_keep_their_teachers():
    problem = Problem.drawn(m=2, n=3, seed=0, teachers=5, samples=4)
    part = problem.some(slice(2, 4))
    assert torch.equal(part.v_star, problem.v_star[2:4])
    assert (part.teachers, part.samples) == (2, 4)
    assert Problem(V, W).some(slice(0, 1)).teachers is None


def test_as_many_runs_as_teachers():
    with pytest.raises(ValueError, match="has 5 teachers; ask for as many runs"):
        Problem.drawn(m=2, n=3, seed=0, teachers=5).starts(4, 0)
    with pytest.raises(ValueError, match="at least 1"):
        Problem(V, W).starts(0, 0)


def test_streams_differ_by_seed_purpose_and_number():
    drawn = {
        stream(*name).integers(2**60)
        for name in [(0, "data", 0), (1, "data", 0), (0, "noise", 0), (0, "data", 1)]
    }
    assert len(drawn) == 4
    with pytest.raises(ValueError, match="not negative"):
        stream(-1, "data", 0)


def test_the_problem_of_one_run_has_its_teacher_alone():
    several = Problem.drawn(m=3, n=5, seed=0, teachers=4, samples=7)
    one = several.of(2)
    assert torch.equal(one.v_star, several.v_star[2]) and torch.equal(one.w_star, several.w_star[2])
    assert (one.samples, one.m, one.n, one.teachers) == (7, 3, 5, None)
    shared = Problem(several.v_star[:1], several.w_star[0]).of(3)
    assert shared.v_star.shape == (3,) and torch.equal(shared.w_star, several.w_star[0])


def test_large_seeds_have_streams_of_their_own():
    keys = [(5, "data", 3), (5 + 2 * 2**32, "noise", 0), (5 + 2 * 2**32, "data", 3), (5 + 2**32, "data", 3)]
    assert len({int(stream(*key).integers(2**60)) for key in keys}) == 4
    with pytest.raises(ValueError, match="below 2"):
        stream(2**64, "data", 0)
