"""The population's descent: the fast way against the slow one, the descent theorem, where runs end."""

import math
import sys

import pytest
import torch

from coarsegrad.core.quantizers import QuantizedReLU
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogates import EWGS, ClippedReLU, HardTanh, Identity, ReLU, Triangular
from coarsegrad.problem import Problem, Window
from coarsegrad.problem.laws import Laplace
from coarsegrad.theory import critical, hidden
from coarsegrad.theory.critical import GLOBAL, NOT_CRITICAL, SPURIOUS
from coarsegrad.theory.descend import descend

PAPERS = (Identity(), ReLU(), ClippedReLU())
ATTRACTED = (ReLU(), ClippedReLU())


def name(surrogate):
    return surrogate.name


def kinds(end, problem, tolerance=1e-3):
    kind = critical.classify(end.v, end.w, problem.v_star, problem.w_star, tolerance=tolerance).kind
    return torch.bincount(kind, minlength=5).tolist()


def near_spurious(problem, runs, off=0.01):
    """Starts that far from the spurious minimizer with |w| = 1, in v and in w."""
    v, w = problem.starts(runs, 0)
    spurious = critical.spurious_minimizer(problem.v_star).v
    return spurious + off * v / v.norm(dim=-1, keepdim=True), off * w - problem.w_star


@pytest.mark.parametrize(
    ("surrogate", "steps"),
    [(s, 300) for s in (*PAPERS, HardTanh(), ClippedReLU(0.3))] + [(Triangular(), 10)],
    ids=lambda s: getattr(s, "name", None),
)  # fmt: skip
@pytest.mark.parametrize("trained", ["both", "w"])
def test_the_reduced_way_is_the_full_way(surrogate, steps, trained):
    problem = Problem.drawn(m=4, n=5, seed=3, teachers=8, trained=trained)
    v, w = problem.starts(8, 0)
    how = dict(start=(v, 4 * w), steps=steps, step_size=0.05, record=range(0, steps + 1, 10))
    fast, slow = (descend(problem, surrogate, method=method, **how) for method in ("reduced", "full"))
    for field in ("v", "w", "loss", "angle", "norm", "smallest_norm"):
        torch.testing.assert_close(getattr(fast, field), getattr(slow, field), rtol=1e-9, atol=1e-11)
    assert torch.equal(fast.rises_inside, slow.rises_inside)
    assert (fast.method, slow.method) == ("reduced", "full")


def test_near_the_origin_both_ways_count_alike():
    problem = Problem.drawn(m=6, n=5, seed=5, teachers=20)
    how = dict(start=problem.starts(20, 1), steps=200, step_size=0.02)
    fast, slow = (descend(problem, Identity(), method=method, **how) for method in ("reduced", "full"))
    assert fast.rises_outside.sum() > 50
    assert abs(fast.rises_outside.sum() - slow.rises_outside.sum()) <= 0.02 * slow.rises_outside.sum()


def test_loss_and_angle_in_the_traces_are_those_of_the_points():
    problem = Problem.drawn(m=3, n=4, seed=1)
    start = problem.starts(6, 0)
    end = descend(problem, ClippedReLU(), start=start, steps=30, step_size=0.1)
    teacher = problem.v_star, problem.w_star
    torch.testing.assert_close(end.loss[0], hidden.loss(*start, *teacher))
    torch.testing.assert_close(end.loss[1], hidden.loss(end.v, end.w, *teacher))
    torch.testing.assert_close(end.norm[1], end.w.norm(dim=-1))
    torch.testing.assert_close(torch.cos(end.angle[1]), (end.w @ problem.w_star) / end.w.norm(dim=-1))


def test_more_inputs_and_a_rotation_change_nothing():
    problem = Problem.drawn(m=3, n=4, seed=1)
    v, w = problem.starts(6, 0)
    turn = torch.linalg.qr(torch.randn(40, 40, dtype=torch.double)).Q[:, :4]
    wide = Problem(problem.v_star, turn @ problem.w_star)
    a = descend(problem, ReLU(), start=(v, w), steps=50, step_size=0.1)
    b = descend(wide, ReLU(), start=(v, w @ turn.T), steps=50, step_size=0.1)
    torch.testing.assert_close(a.loss, b.loss)
    torch.testing.assert_close(a.w @ turn.T, b.w)


@pytest.mark.parametrize("surrogate", ATTRACTED, ids=name)
def test_the_loss_falls_at_every_step_of_small_size_while_w_is_long(surrogate):
    problem = Problem.drawn(m=6, n=5, seed=5, teachers=400)
    v, w = problem.starts(400, 1)
    window = Window(norm=0.1, angle=0.0)
    end = descend(problem, surrogate, start=(v, w), steps=1000, step_size=0.02, window=window)
    assert end.steps_inside.sum() > 300_000 and end.rises_inside.sum() == 0
    assert end.rises_outside.sum() > 1000  # w starts with |w| = 1, and some runs pass near 0: counted apart
    assert (end.smallest_norm[end.rises_outside > 0] < 0.1).all()
    far = descend(problem, surrogate, start=(v, 10 * w), steps=1000, step_size=0.02, window=window)
    assert far.smallest_norm.min() > 4
    assert far.steps_inside.sum() == 400_000 and far.rises_inside.sum() == far.rises_outside.sum() == 0


def test_near_the_spurious_minimizer_the_identity_climbs_and_leaves_and_the_others_stay():
    problem = Problem.drawn(m=6, n=5, seed=3)  # 1^T v_star is not 0, and spurious minimizers exist
    spurious = critical.spurious_minimizer(problem.v_star)
    bottom = hidden.loss(spurious.v, -problem.w_star, problem.v_star, problem.w_star)
    assert spurious.exists and critical.push(problem.v_star, problem.w_star, Identity()) > 0.1
    how = dict(start=near_spurious(problem, 200), steps=6000, step_size=0.05, window=Window(0.1, 0.0))
    for surrogate in ATTRACTED:
        end = descend(problem, surrogate, **how)
        assert kinds(end, problem)[SPURIOUS] == 200
        assert end.rises_inside.sum() == end.rises_outside.sum() == 0
        torch.testing.assert_close(end.loss[-1], bottom.expand(200), rtol=1e-9, atol=1e-12)
    end = descend(problem, Identity(), **how, record=range(0, 6001, 1))
    assert (end.loss.amax(0) > end.loss[0] + 0.05).all()  # first it climbs
    assert (end.largest_rise_outside > 0.05).all()
    assert (end.smallest_norm < 0.05).all()  # what fails is the theorem's condition: w is driven to 0
    assert kinds(end, problem)[SPURIOUS] < 200


@pytest.mark.parametrize("surrogate", ATTRACTED, ids=name)
def test_attracted_runs_end_at_a_minimizer_and_where_only_the_global_one_exists_all_do(surrogate):
    problem = Problem.drawn(m=6, n=5, seed=3)
    end = descend(problem, surrogate, start=problem.starts(300, 0), steps=5000, step_size=0.05)
    found = kinds(end, problem)
    assert found[GLOBAL] + found[SPURIOUS] == 300
    assert min(found[GLOBAL], found[SPURIOUS]) > 50
    v_star = torch.full((6,), 0.8, dtype=torch.double)
    alone = Problem(v_star, problem.w_star)
    assert not critical.exists(v_star)
    end = descend(alone, surrogate, start=alone.starts(300, 0), steps=5000, step_size=0.05)
    assert kinds(end, alone)[GLOBAL] == 300


def test_a_run_that_has_not_arrived_is_called_so():
    problem = Problem.drawn(m=6, n=5, seed=3)
    v, w = problem.starts(50, 0)
    end = descend(problem, ClippedReLU(), start=(v, 10 * w), steps=100, step_size=0.05)
    assert kinds(end, problem)[NOT_CRITICAL] == 50


def test_binary_weights_find_the_teacher():
    problem = Problem.drawn(m=4, n=10, seed=0, weights="binary", trained="w")
    end = descend(problem, ReLU(), start=problem.starts(20, 0), steps=200, step_size=0.3)
    assert end.method == "full"
    assert torch.equal(problem.shown(end.w), problem.w_star.expand(20, 10))
    assert end.loss[-1].abs().max() < 1e-12


def test_any_quantized_activation_descends():
    activation = QuantizedReLU(bits=2, scale=Scale("one"), rounding="ceil")
    problem = Problem.drawn(m=2, n=3, seed=0, activation=activation)
    end = descend(problem, ReLU(), start=problem.starts(3, 0), steps=40, step_size=0.05)
    assert (end.loss[-1] < end.loss[0]).all()


def test_a_start_at_the_origin_goes_the_full_way():
    problem = Problem.drawn(m=2, n=3, seed=0)
    v, w = problem.starts(2, 0)
    end = descend(problem, Identity(), start=(v, w * torch.tensor([[0.0], [1.0]])), steps=3, step_size=0.1)
    assert end.method == "full" and end.w.isfinite().all()


def test_a_record_may_be_an_iterator_and_groups_do_not_matter(monkeypatch):
    problem = Problem.drawn(m=2, n=3, seed=0, teachers=7)
    how = dict(start=problem.starts(7, 0), steps=20, step_size=0.1)
    whole = descend(problem, ReLU(), record=iter((3, 20)), **how)
    monkeypatch.setattr(sys.modules[descend.__module__], "_GROUP", 3)
    parts = descend(problem, ReLU(), record=iter((3, 20)), **how)
    assert whole.recorded == parts.recorded == (3, 20)
    torch.testing.assert_close(whole.loss, parts.loss)
    torch.testing.assert_close(whole.w, parts.w)


@pytest.mark.parametrize(
    ("fields", "how", "mend"),
    [
        ({}, {"method": "fast"}, "known: auto, reduced, full"),
        ({"weights": "binary"}, {"method": "reduced"}, 'use method="full"'),
        ({}, {"surrogate": EWGS()}, "sim"),
        ({}, {"start": (torch.ones(2, 3), torch.ones(2, 3))}, r"problem.starts\(runs, seed\)"),
        ({}, {"steps": 1.5}, "steps=... is a whole number"),
        ({}, {"step_size": -1.0}, "positive and finite"),
        ({}, {"record": (-1,)}, "names steps from 0"),
        ({"teachers": 3}, {}, "3 teachers"),
        ({"inputs": Laplace()}, {}, "knows standard normal inputs, .*sim.descend samples any law"),
    ],
)
def test_bad_input_is_refused_with_the_mend(fields, how, mend):
    problem = Problem.drawn(m=2, n=3, seed=0, **fields)
    start = Problem.drawn(m=2, n=3, seed=0).starts(2, 0)
    given = {"surrogate": ReLU(), "start": start, "steps": 2, "step_size": 0.1} | how
    with pytest.raises(ValueError, match=mend):
        descend(problem, **given)


def test_w_turns_no_further_than_half_a_circle():
    problem = Problem.drawn(m=2, n=3, seed=0)
    end = descend(
        problem, Identity(), start=problem.starts(50, 0), steps=200, step_size=0.2, record=range(201)
    )
    assert (end.angle >= 0).all() and (end.angle <= math.pi).all()


@pytest.mark.parametrize("method", ["reduced", "full"])
def test_a_run_that_diverges_is_undefined(method):
    problem = Problem.drawn(m=2, n=3, seed=0)
    end = descend(problem, ReLU(), start=problem.starts(4, 0), steps=400, step_size=40.0, method=method)
    assert kinds(end, problem)[critical.UNDEFINED] == 4
