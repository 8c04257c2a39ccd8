"""The descent, against a plain torch optimizer and against what is proved about a step."""

import math

import pytest
import torch

from coarsegrad.core.surrogates import ReLU
from coarsegrad.optim import Blend, Latent
from coarsegrad.problem import Problem
from coarsegrad.studies.yin2018 import descents
from coarsegrad.studies.yin2018.sets import SETS
from coarsegrad.theory import hidden

SETTINGS = {
    "weights": "fixed", "n": 6, "m": 3, "trained": "w", "surrogate": "relu", "step_size": 0.5, "steps": 150,
    "runs": 4, "seed": 11, "ratios": (0.0, 0.4, 1.0, 2.0),
}  # fmt: skip


def rows(**other):
    return list(descents.descents({**SETTINGS, **other}, None))


@pytest.mark.parametrize("name", SETS)
def test_the_iterates_are_those_of_the_rule_in_an_optimizer(name):
    given = Problem.drawn(m=3, n=5, seed=2, teachers=2)
    start = given.starts(2, 3)
    rule = Blend(rho=0.05, cap=1.0)
    found = list(descents.follow(given, ReLU(), SETS[name], start, [rule], 0.3, 20))
    latent, v = torch.nn.Parameter(start[1].clone()), start[0].clone()
    optimizer = Latent(torch.optim.SGD([latent], lr=0.3), [(latent, SETS[name])], rules=[rule])
    for step in found:
        w = SETS[name].quantize(latent.detach())
        assert torch.allclose(step.w, w, atol=1e-14) and torch.allclose(step.v, v, atol=1e-14)
        teacher = given.v_star, given.w_star
        assert torch.allclose(step.loss, hidden.loss(v, w, *teacher))
        latent.grad = hidden.coarse_gradient(v, w, *teacher, ReLU())
        v = v - 0.3 * hidden.gradient(v, w, *teacher)[0]
        optimizer.step()
    assert torch.allclose(found[-1].w_next, SETS[name].quantize(latent.detach()), atol=1e-14)


def test_runs_under_one_rule_do_not_see_the_others():
    alone = {row["run"]: row for row in rows(ratios=(0.4,))}
    for row in rows():
        if row["ratio"] == 0.4:
            assert row == alone[row["run"]]


@pytest.mark.parametrize("trained", ["w", "both"])
@pytest.mark.parametrize("name", SETS)
def test_the_inner_product_obeys_two_projections(name, trained):
    found = rows(weights=name, trained=trained)
    assert min(r["inner"] for r in found if r["ratio"] and r["inner"] is not None) >= 1 - 1e-9
    assert min(r["inner"] for r in found if not r["ratio"]) >= -1e-12


@pytest.mark.parametrize("name", ["fixed", "binary", "ternary"])
def test_a_step_falls_by_the_bound_while_blending_is_enough(name):
    found = [row["excess"] for row in rows(weights=name, step_size=0.1) if row["excess"] is not None]
    assert found and min(found) >= -1e-12


def test_a_fixed_scale_keeps_the_books_that_the_formulas_fill():
    for row in rows(steps=800):
        assert row["elsewhere"] == 0 and row["first_scale"] == pytest.approx(1) == row["last_scale"]
        assert row["wrong"] == pytest.approx(row["foretold_wrong"], abs=0.04)
        assert row["ratio"] < 1 or row["rises"] == 0
        assert row["ratio"] != 1 or (row["hits"] == 1 and row["late_turns"] == 0)
        assert row["ratio"] or row["late_rises"] > 0


def test_a_run_that_never_turns_has_no_smallest_fall():
    found = rows(ratios=(5.0,))
    assert all(row["least"] is None and row["rises"] == 0 for row in found)


def test_sets_without_a_formula_say_so():
    for row in rows(weights="grid", steps=50):
        assert row["hits"] is None and row["excess"] is None and row["foretold_wrong"] is None
    assert all(row["foretold_wrong"] is None for row in rows(trained="both", steps=50))


def test_a_trace_has_the_objective_and_scale_of_each_weight():
    settings = {**SETTINGS, "weights": "binary", "steps": 20, "ratios": (0.0, 1.0)}
    found = list(descents.trace(settings, None))
    assert [row["step"] for row in found[::2]] == list(range(20))
    assert found[0]["loss"] == found[1]["loss"] and math.isfinite(found[-1]["loss"])
    assert all(row["scale"] > 0 for row in found)
