import math

import pytest
import torch

from coarsegrad.studies.ichikawa2025 import STUDY, runs
from coarsegrad.theory.online import stationary


def rows_of(smoke, kind, what):
    return [row for row in smoke[kind] if row["what"] == what]


def test_the_problem_is_that_of_the_settings():
    settings = {
        "bits": 3, "reach": 1.5, "zero": True, "inputs": True, "teacher": "normal, 16 values",
        "step_size": 0.3, "noise": 0.2, "start": 0.1,
    }  # fmt: skip
    this = runs.problem(settings)
    assert this.weights == this.inputs and this.weights.zero and this.weights.count == 7
    assert (this.step_size, this.noise, this.start) == (0.3, 0.2, 0.1)
    assert sum(this.teacher) == pytest.approx(0, abs=1e-12) and this.size == pytest.approx(1, abs=0.15)
    assert runs.problem({**settings, "inputs": False}).inputs is None


def test_a_run_is_held_against_the_limit_at_every_time(smoke):
    times, ends = rows_of(smoke, "size", "time"), rows_of(smoke, "size", "run")
    one = [row for row in times if row["d"] == 64 and row["inputs"]]
    off = [row["error"] - row["limit"] for row in one]
    (run,) = [row for row in ends if row["d"] == 64 and row["inputs"]]
    assert run["off"] == pytest.approx(math.sqrt(sum(value**2 for value in off) / len(off)))
    assert run["signed"] == pytest.approx(sum(off) / len(off))
    assert one[0]["residual"] is None and all(row["residual"] > 0 for row in one[1:])


def test_bins_and_their_prediction_hold_the_whole_law(smoke):
    for time in (1.0, 2.0):
        bins = [row for row in rows_of(smoke, "law", "bin") if row["time"] == time]
        for name in ("seen", "foretold"):
            assert sum(row[name] * (row["right"] - row["left"]) for row in bins) == pytest.approx(1, abs=0.05)
        assert all(0 < row["distance"] < 0.5 for row in rows_of(smoke, "law", "run") if row["time"] == time)


def test_a_curve_tells_its_plateau_and_its_points(smoke):
    (told,) = rows_of(smoke, "curve", "limit")
    points = rows_of(smoke, "curve", "time")
    assert told["wait"] == pytest.approx(50) and points[-1]["time"] == pytest.approx(2.2 * 50)
    assert told["fall_sharpness"] > 1 and told["fall_middle"] == pytest.approx(50, rel=0.15)
    assert told["last"] == points[-1]["limit"] and points[0]["error"] is None
    (seen,) = [row for row in rows_of(smoke, "simulated", "run") if not row["zero"]]
    assert seen["fall_length"] > 0
    assert all(row["error"] is not None for row in rows_of(smoke, "simulated", "time"))


def test_what_runs_away_is_told_as_none():
    settings = {**STUDY.planned("smoke")[0].settings, "step_size": 2.5, "many_bits": (2,), "reaches": (2.0,)}
    (row,) = runs.formulas({**settings, "steps": (2.5,)}, None)
    assert row["unquantized"] is None and row["closed"] == stationary(runs.problem(settings)).error
    assert runs._number(torch.tensor(math.inf)) is None and runs._number(torch.tensor(2.0)) == 2


def test_the_fixed_point_is_told_by_formula_by_the_flow_and_by_runs(smoke):
    (row,) = smoke["fixed"]
    assert row["flow"] == pytest.approx(row["closed"], rel=0.1)
    assert row["seen"] == pytest.approx(row["closed"], rel=0.5) and row["float_seen"] > 0


def test_slopes_share_their_start(smoke):
    starts = [row["error"] for row in rows_of(smoke, "slope", "time") if row["time"] == 0]
    assert len(starts) == 3 and len(set(starts)) == 1
