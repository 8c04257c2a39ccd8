"""The grid: laws are what their labels say, tasks differ, and of two steps the better one is taken."""

import math

import numpy as np
import pytest

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.problem.laws import LAWS
from coarsegrad.studies.jeong2025 import input_grid as grid
from coarsegrad.studies.jeong2025.inputs import WAYS


def law(text):
    return spec.read(text, LAWS)


def test_laws_stand_where_their_mean_puts_them():
    assert all(abs(law(text).mean) > 0.4 * math.sqrt(law(text).variance) for text in grid.MEAN.values())
    assert all(law(text).mean == 0 for text in grid.CENTRED.values())
    assert not any(law(text).mean != 0 for text in grid.HARD.values() if "student" not in text)
    assert len(grid.INPUTS) == len(grid.MEAN) + len(grid.CENTRED) + len(grid.HARD) >= 12


@pytest.mark.parametrize("factor", grid.FACTORS)
def test_a_factor_changes_what_it_says(factor):
    _, mends, laws = grid.FACTORS[factor]
    assert set(mends) <= set(WAYS) and list(laws) == sorted(laws) and len(set(laws.values())) == len(laws)
    first, *_, last = (law(text) for text in laws.values())
    if factor == "mean":
        assert (first.mean, last.mean, first.variance, last.variance) == (0, 4, 1, 1)
    elif factor == "scale":
        assert [law(text).scale for text in laws.values()] == list(laws)
    elif factor == "tails":
        assert [1 / law(text).df for text in laws.values()] == pytest.approx(list(laws), abs=1e-3)
    else:
        assert last.mean == 0


def test_the_skewness_on_the_axis_is_that_of_the_sample():
    value, text = list(grid.FACTORS["skew"][2].items())[2]
    z = np.empty((400_000, 1, 1))
    law(text).fill(np.random.default_rng(0), z)
    assert (z**3).mean() == pytest.approx(value, rel=0.1)


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_tasks_are_of_this_preset_and_none_is_planned_twice(preset):
    tasks = grid.tasks(preset, {})
    assert len({task.id for task in tasks}) == len(tasks)
    assert {task.settings["surrogate"] for task in tasks} <= set(SURROGATES)
    assert len({task.settings["seed"] for task in tasks}) == 1
    runs = {"smoke": 4, "quick": 10, "paper": 40}[preset]
    assert {task.settings["runs"] for task in tasks} == {runs}
    ends = {task.settings["value"] for task in tasks if task.settings.get("factor") == "mean"}
    assert {0.0, 4.0} <= ends


def test_presets_use_seeds_of_their_own():
    assert len({grid.tasks(preset, {})[0].settings["seed"] for preset in ("smoke", "quick", "paper")}) == 3


def test_the_better_step_is_taken_in_each_cell():
    base = {"law": "a", "surrogate": "relu", "how": "none", "v": "unit", "m": 4, "teacher": "balanced"}
    rows = [
        {**base, "step_size": 0.1, "recovered": 3}, {**base, "step_size": 1.0, "recovered": 5},
        {**base, "how": "L2", "step_size": 0.1, "recovered": 2},
        {**base, "how": "L2", "step_size": 1.0, "recovered": 2},
    ]  # fmt: skip
    assert [(row["how"], row["step_size"]) for row in grid.best(rows)] == [("none", 1.0), ("L2", 0.1)]
