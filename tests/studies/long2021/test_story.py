"""The page: tables and figures say what the rows say."""

import math

import pytest

from coarsegrad.studies.long2021 import STUDY, grid
from studies.long2021.ideal import IDEAL

CHAPTERS = {chapter.title: chapter for chapter in STUDY.story(IDEAL)}


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    empty = STUDY.story({})
    assert [c.title for c in empty] == [c.title for c in STUDY.story(smoke)] == list(CHAPTERS)
    assert all(c.text.startswith("Nothing was measured yet") for c in empty[1:])
    assert "**Found**" not in empty[0].text


def test_it_opens_with_the_claim_what_was_measured_and_what_was_found():
    text = CHAPTERS["What is studied"].text
    assert [text.index(f"**{word}**") for word in ("The paper", "Measured here", "Found")] == sorted(
        text.index(f"**{word}**") for word in ("The paper", "Measured here", "Found")
    )
    angles = len({row["angle"] for row in IDEAL["angle"]})
    assert f"got there in 0 of {100 * angles} runs" in text and "in all runs of each of" in text
    lost = {"angle": [{**row, "right": 97} for row in IDEAL["angle"] if row["surrogate"] == "relu"]}
    assert "in at least 97 % of the runs of each of" in STUDY.story(lost)[0].text


def test_within_the_assumptions_are_orthogonal_subspaces_with_ceil_and_no_other_cells():
    lost = {"solved": 50, "right": 50}
    for bad, where in (({"angle": 60.0}, "At smaller angles"), ({"rounding": "floor"}, "At smaller angles"),
                       ({"neurons": 96}, "Within the assumptions")):  # fmt: skip
        rows = {k: [{**r, **lost} if bad.items() <= r.items() else r for r in v] for k, v in IDEAL.items()}
        text = STUDY.story(rows)[0].text
        (line,) = [line for line in text.splitlines() if "50 % of the runs of each of" in line]
        assert where in line


def within(rows):
    (chapter,) = [c for c in STUDY.story(rows) if c.title == "Angles, bits, neurons, dimensions, classes"]
    return chapter, rows_of(chapter.tables[0])


def test_steps_are_told_with_intervals_or_as_none():
    chapter, table = within(IDEAL)
    line = next(r for r in table if r["varied"].startswith("angle") and r["value"] == 90.0)
    assert line["ReLU"] == f"{math.exp(5) - 1:.0f} (140 to 155)" and "identity" not in line
    ceil = next(r for r in table if r["varied"].endswith("ceil") and r["value"] == 1)
    assert ceil["ReLU"] == "none in 2000" and "0 of 700 runs" in chapter.text
    assert set(chapter.figures) == {f"steps-{kind}" for kind in grid.AXES}
    curve, ends = chapter.figures["steps-angle"].items[:2]
    assert curve.label == "ReLU" and list(curve.x) == sorted(curve.x)
    assert ends.low[-1] == pytest.approx(math.exp(4.95) - 1)
    assert chapter.figures["steps-ceil"].caption.endswith("No run at 1.")


def test_a_figures_title_says_what_is_seen():
    chapter, _ = within(IDEAL)
    first, last = (math.exp(5 + (90 - angle) / 90) - 1 for angle in (15, 90))
    assert chapter.figures["steps-angle"].title.endswith(f"ReLU takes {first:.0f} at 15, {last:.0f} at 90")


def test_runs_that_did_not_all_end_make_a_lower_bound():
    _, table = within({"angle": [{**IDEAL["angle"][0], "solved": 99, "right": 98}]})
    assert table[0]["ReLU"].startswith("at least ") and table[0]["ReLU"].endswith("; 0.98")


def test_below_the_assumptions_every_problem_is_a_row_and_reasons_are_told():
    chapter = CHAPTERS["Below the assumptions"]
    table = rows_of(chapter.tables[0])
    assert len(table) == sum(map(len, grid.BELOW.values()))
    line = next(r for r in table if r["changed"] == "angle 0")
    assert (line["zero loss is"], line["ReLU"]) == ("impossible", "0.00;\u00a00.990")
    assert "- angle 0: subspaces share a line" in chapter.text
    assert set(chapter.figures) == {"label-noise", "small-angle"}
    curve, *_, labels = chapter.figures["label-noise"].items
    assert labels.dashed and labels.y == tuple(1 - x for x in labels.x)
    assert list(curve.x) == sorted(curve.x) and set(curve.y) == {0.99}


def test_binary_weights_are_bars_by_dimension():
    chapter = CHAPTERS["Binary weights as well"]
    (figure,) = chapter.figures.values()
    bars = {item.label: item for item in figure.items}
    assert set(bars) == {"ReLU", "reverse exponential", "log-tailed ReLU", "identity"}
    assert bars["ReLU"].categories[:2] == ("along the axes, ceil", "along the axes, floor")
    assert bars["ReLU"].heights[:3] == (0, 0, 1) and set(bars["identity"].heights) == {0}
    assert "zero loss in 0 of 600 runs along the axes, in all runs of each cell" in figure.title
    assert rows_of(chapter.tables[0])[0]["subspaces"] == "along the axes"
