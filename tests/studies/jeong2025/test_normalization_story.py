"""The page about inputs: tables and figures say what the rows say."""

import pytest

from coarsegrad.studies.jeong2025 import input_grid
from coarsegrad.studies.jeong2025 import normalization_story as told
from coarsegrad.studies.jeong2025.inputs import FAILED, WAYS
from studies.jeong2025.ideal_inputs import IDEAL

CHAPTERS = {chapter.title: chapter for chapter in told.story(IDEAL)}


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_a_table_has_a_row_per_law_and_a_column_per_normalization():
    chapter = CHAPTERS["Laws and normalizations"]
    assert [table.caption for table in chapter.tables] == list(input_grid.NAMES)
    relu = {row["law"]: row for row in rows_of(chapter.tables[1])}
    assert list(relu) == list(input_grid.INPUTS)
    assert set(relu["U[0, 1]"]) == {"law", *WAYS}
    assert (relu["U[0, 1]"]["none"], relu["Exp(1)"]["none"], relu["Exp(1)"]["L2"]) == ("0.00", "0.35", "0.35")
    assert {relu["Exp(1)"][way] for way in ("centring", "z-score", "batch norm")} == {"1.00"}


def test_an_ergodic_share_is_told_where_it_differs():
    cells = [{**IDEAL["cell"][0], "recovered": 40, "ergodic": 30}]
    assert told.table(cells, "identity") == [{"law": "N(0.5, 1)", "none": "1.00 (0.75)"}]


def test_bars_are_means_over_the_laws_of_a_group():
    figure = CHAPTERS["Laws and normalizations"].figures["laws-relu"]
    bars = {item.label: item for item in figure.items}
    assert set(bars) == set(told.GROUPS)
    raw = bars["mean not 0"]
    assert raw.categories == WAYS and raw.low[0] == 0 and raw.high[0] == pytest.approx(14 / 40)
    assert raw.heights[0] == pytest.approx(7 * 14 / 40 / 8)
    assert bars["mean 0"].heights[0] == 1


def test_fates_add_up_and_runs_are_told_by_the_sign_of_k():
    chapter = CHAPTERS["How runs fail"]
    rows = rows_of(chapter.tables[0])
    assert all(row["recovered"] + sum(row[fate] for fate in FAILED) == row["runs"] for row in rows)
    relu = next(row for row in rows if row["surrogate"] == "relu")
    assert (relu["recovered"], relu["death"]) == (7 * 14, 8 * 40 - 7 * 14)
    assert (relu["recovered, K > 0"], relu["K <= 0"]) == ("98 of 128", "0 of 192")
    assert relu["negative signs at the end"] == pytest.approx(0.9)
    figure = chapter.figures["fates-relu-2"]
    assert [item.label for item in figure.items] == ["recovered", *FAILED]
    assert sum(item.heights[2] for item in figure.items) == pytest.approx(1)


def test_a_curve_per_surrogate_and_what_mends_it():
    chapter = CHAPTERS["One property at a time"]
    assert set(chapter.figures) == {f"factor-{name}" for name in input_grid.FACTORS}
    curve, ends = chapter.figures["factor-mean"].items[2:4]
    assert curve.label == "relu" and curve.x == tuple(input_grid.FACTORS["mean"][2])
    assert (curve.y[-1], ends.low[-1]) == (0, 0) and 0 < ends.high[-1] < 0.1
    table = {row["property"]: row for row in rows_of(chapter.tables[0])}
    mean = table[input_grid.FACTORS["mean"][0]]
    assert (mean["at"], mean["raw"], mean["then"]) == (4, "0.00 to 1.00", "1.00")
    ways = [how for _, ways, _ in input_grid.FACTORS.values() for how in ways]
    assert [row["normalized by"] for row in rows_of(chapter.tables[0])] == ways


def test_other_second_layers_say_the_sign_of_k():
    rows = rows_of(CHAPTERS["Other second layers, an unbalanced teacher"].tables[0])
    signs = {row["changed"]: row["K"] for row in rows}
    assert signs == {
        "v ones": "> 0", "v positive": "> 0", "v zero-sum": "< 0", "m 1": "0", "v ones, m 16": "> 0",
        "teacher random": "either",
    }  # fmt: skip
    assert {row["relu, centring"] for row in rows} == {1.0}


def test_the_rule_says_of_each_line_what_it_rests_on_and_what_was_measured():
    rows = rows_of(CHAPTERS["The rule"].tables[0])
    assert {row["rests on"] for row in rows} == {"simulation", "heuristic"}
    assert rows[0]["recovered without"] == "0.00 to 0.35" and rows[0]["with"] == "1.00"
    measured = [row for row in rows if row["rests on"] == "simulation"]
    assert all(row["recovered without"] != "–" and row["with"] != "–" for row in measured)
    assert all(row["recovered without"] == "–" for row in rows if row["rests on"] == "heuristic")
