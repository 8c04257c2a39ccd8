"""The page: tables and figures say what the rows say."""

import math

import pytest

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies.long2021 import STUDY, grid
from studies.long2021.ideal import IDEAL

CHAPTERS = {chapter.title: chapter for chapter in STUDY.story(IDEAL)}


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    empty = STUDY.story({})
    assert [c.title for c in empty] == [c.title for c in STUDY.story(smoke)] == list(CHAPTERS)
    assert all(c.text == "Nothing was measured yet." for c in empty[1:])


def test_steps_are_told_with_intervals_or_as_none():
    chapter = CHAPTERS["Within the assumptions"]
    table = rows_of(chapter.tables[0])
    relu = next(r for r in table if r["surrogate"] == "relu" and r["value"] == 90.0)
    assert relu["steps to zero loss"] == f"{math.exp(5) - 1:.0f} (140 to 155)"
    assert any(r["steps to zero loss"].startswith("none in") for r in table if r["surrogate"] == "identity")
    assert set(chapter.figures) == {f"steps-{kind}" for kind in grid.AXES}
    curve, ends = chapter.figures["steps-angle"].items[:2]
    assert curve.label == "relu" and list(curve.x) == sorted(curve.x)
    assert ends.low[-1] == pytest.approx(math.exp(4.95)) and chapter.figures["steps-angle"].log_y


def test_runs_that_did_not_all_end_make_a_lower_bound():
    row = {**IDEAL["angle"][0], "solved": 99}
    (chapter,) = [c for c in STUDY.story({"angle": [row]}) if c.title == "Within the assumptions"]
    assert rows_of(chapter.tables[0])[0]["steps to zero loss"].startswith("at least ")


def test_the_catalogue_says_where_prediction_and_runs_differ():
    chapter = CHAPTERS["The catalogue: predicted, then observed"]
    at_90 = {r["surrogate"]: r for r in rows_of(chapter.tables[0]) if r["angle"] == 90.0}
    assert set(at_90) == set(SURROGATES)
    assert (at_90["relu"]["agree"], at_90["identity"]["agree"]) == ("yes", "yes")
    assert at_90["clipped_relu"]["agree"] == at_90["leaky_relu"]["agree"] == "not needed"
    (figure,) = chapter.figures.values()
    dots = figure.items[0]
    place = dots.names.index("identity")
    assert (dots.x[place], dots.y[place]) == (pytest.approx(0, abs=1e-9), 0)
    lost = [{**IDEAL["catalogue"][1], "solved": 0, "right": 0}]
    (told,) = [c for c in STUDY.story({"catalogue": lost}) if c.title.startswith("The catalogue")]
    assert rows_of(told.tables[0])[0]["agree"] == "**no**"


def test_below_the_assumptions_every_problem_is_a_row_and_reasons_are_told():
    chapter = CHAPTERS["Below the assumptions"]
    table = rows_of(chapter.tables[0])
    assert len(table) == sum(map(len, grid.BELOW.values()))
    line = next(r for r in table if r["changed"] == "angle 0")
    assert (line["zero loss is"], line["relu"]) == ("impossible", "0.00")
    assert "- angle 0: subspaces share a line" in chapter.text
    assert set(chapter.figures) == {"label-noise", "small-angle"}
    curve = chapter.figures["label-noise"].items[0]
    assert list(curve.x) == sorted(curve.x) and set(curve.y) == {0.99}


def test_networks_are_told_with_intervals_and_drawn():
    scores = {"train_loss": 0.1, "test_accuracy": 99.0, "captured": 0.9, "angle": 40.0, "conditioned": 0.2}
    shared = {"epochs": 10, "pretrain_epochs": 3}
    rows = [
        {"what": "final", "bits": 2, "surrogate": "relu", "seed": s, **scores, **shared} for s in (0, 1)
    ] + [{"what": "point", "class": c, "seed": 0, "x": c, "y": 1.0, **shared} for c in (0, 1, 2)]
    (chapter,) = [c for c in STUDY.story({"lenet5": rows}) if c.title.startswith("LeNet-5")]
    assert rows_of(chapter.tables[0])[0]["seeds"] == 2 and "10 epochs" in chapter.text
    assert [item.label for item in chapter.figures["features"].items] == ["class 0", "class 1", "class 2"]


def test_binary_weights_are_bars_by_dimension():
    (figure,) = CHAPTERS["Binary weights as well"].figures.values()
    bars = {item.label: item for item in figure.items}
    assert set(bars) == {*grid.PAPERS, "identity"}
    assert bars["relu"].categories[:2] == ("axes, ceil", "axes, floor")
    assert bars["relu"].heights[:3] == (0, 0, 1) and set(bars["identity"].heights) == {0}
