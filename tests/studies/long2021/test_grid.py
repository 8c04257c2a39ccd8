"""What is planned: the presets' tasks, and cells told by what is changed in them."""

import pytest

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies.long2021 import grid
from coarsegrad.studies.long2021.runs import problem


@pytest.mark.parametrize("preset", grid.PRESETS)
def test_tasks_can_be_run_and_none_is_planned_twice(preset):
    tasks = grid.tasks(preset, {})
    assert len({task.id for task in tasks}) == len(tasks)
    for task in tasks:
        problem(task.settings)
        assert task.settings["surrogate"] in SURROGATES


def test_presets_use_seeds_of_their_own_and_none_of_the_exploration():
    seeds = [preset["seed"] for preset in grid.PRESETS.values()]
    assert len(set(seeds)) == len(seeds) and not set(seeds) & {0, 1, 4, 100, 101}


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_a_cell_has_a_hundred_starts_and_every_axis_and_surrogate_is_there(preset):
    tasks = grid.tasks(preset, {})
    assert {task.settings["runs"] for task in tasks} == {100}
    for kind in grid.AXES:
        mine = [task.settings for task in tasks if task.kind == kind]
        assert {row["surrogate"] for row in mine} >= set(grid.PAPERS)
    assert {t.settings["surrogate"] for t in tasks if t.kind == "catalogue"} == set(SURROGATES)
    assert {t.settings["what"] for t in tasks if t.kind == "below"} == set(grid.BELOW)
    angles = {t.settings["angle"] for t in tasks if t.kind == "angle"}
    assert angles >= {30.0, 90.0}


def test_the_paper_preset_has_the_papers_data():
    (base,) = [
        t for t in grid.tasks("paper", {}) if t.kind == "angle" and t.settings["angle"] == 90.0
        and t.settings["surrogate"] == "relu"
    ]  # fmt: skip
    given = problem(base.settings)
    assert (given.points, given.neurons, given.bits, given.width, given.rounding) == (1760, 24, 2, 4, "ceil")


def test_ones_own_surrogate_stands_beside_the_catalogue():
    more = grid.tasks("smoke", {"own": "hardtanh(low=-0.5)"})
    names = [task.settings["surrogate"] for task in more if task.kind == "own"]
    assert len(more) == len(grid.tasks("smoke", {})) + 2 and names == ["hardtanh(low=-0.5)"] * 2


def test_what_is_changed_is_told():
    assert grid.changed({"angle": 45.0, "neurons": 24, "missing": "one neuron"}) == {
        "angle": 45.0, "missing": "one neuron",
    }  # fmt: skip
    assert grid.changed({}) == {}
