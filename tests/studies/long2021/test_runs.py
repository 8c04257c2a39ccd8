"""One cell: its row says what the simulation and the predicate say."""

import math

import pytest

from coarsegrad.core.surrogates import ReverseExponential
from coarsegrad.problem.subspaces import Subspaces
from coarsegrad.sim import classify
from coarsegrad.studies.long2021.runs import cell, problem

BASE = {
    "surrogate": "relu", "runs": 3, "steps": 400, "step_size": 1.0, "seed": 4, "directions": 12,
    "radii": (1.0, 2.0),
}  # fmt: skip


def row(tmp_path, **change):
    (found,) = cell({**BASE, **change}, tmp_path)
    return found


def test_a_row_is_what_the_simulation_found(tmp_path):
    found = row(tmp_path, surrogate="reverse_exponential")
    given = Subspaces(directions=12, radii=(1.0, 2.0), seed=4)
    said = classify(given, ReverseExponential(3.0), runs=3, steps=400, step_size=1.0, seed=4)
    assert found["solved"] == found["right"] == int(said.solved.sum()) == 3
    assert found["log_mean"] == pytest.approx((said.steps + 1.0).log().mean().item())
    assert found["largest"] == float(said.largest.max())
    assert (found["written"], found["answer"]) == ("reverse_exponential(top=3.0)", "yes")
    assert found["least_slope"] == pytest.approx(math.exp(-found["largest"] / 3), rel=1e-9)
    assert (found["angle"], found["bits"], found["noise"], found["impossible"]) == (90.0, 2, 0.0, None)


def test_runs_that_never_end_count_with_the_steps_they_made(tmp_path):
    found = row(tmp_path, surrogate="identity", steps=20)
    assert (found["solved"], found["made_0"], found["made_100"]) == (0, 20, 20)
    assert found["log_mean"] == pytest.approx(math.log(21)) and found["answer"] == "no"


def test_a_surrogate_is_stretched_over_the_levels(tmp_path):
    assert row(tmp_path, surrogate="clipped_relu", bits=3, steps=1)["written"] == "clipped_relu(top=7.0)"


@pytest.mark.parametrize(("missing", "solved"), [("one neuron", 3), ("own neurons", 0), ("all neurons", 0)])
def test_a_missing_component_is_that_of_so_many_neurons(missing, solved, tmp_path):
    assert row(tmp_path, missing=missing)["solved"] == solved


def test_one_run_has_no_interval_and_is_refused(tmp_path):
    with pytest.raises(ValueError, match="two or more"):
        row(tmp_path, runs=1)


def test_settings_that_are_no_fields_are_left_out():
    assert problem({"classes": 3, "surrogate": "relu", "runs": 9}) == Subspaces(classes=3)
