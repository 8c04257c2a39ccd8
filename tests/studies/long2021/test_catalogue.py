"""The chapter on all surrogates: prediction beside what the runs did."""

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies.long2021.catalogue import chapter
from studies.long2021.ideal import IDEAL


def lines(told):
    (table,) = told.tables
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_a_line_per_surrogate_says_where_prediction_and_runs_differ():
    table = lines(chapter(IDEAL))
    assert set(table) == set(SURROGATES)
    assert (table["relu"]["agree"], table["identity"]["agree"]) == ("yes", "yes")
    assert table["clipped_relu"]["agree"] == table["leaky_relu"]["agree"] == "not needed"
    assert table["relu"]["at 90 degrees"].startswith("1.00; 147 (")
    lost = [{**row, "solved": 0, "right": 0} for row in IDEAL["catalogue"] if row["surrogate"] == "relu"]
    assert lines(chapter({"catalogue": lost}))["relu"]["agree"] == "**no**"


def test_angles_may_end_apart():
    mine = [dict(row) for row in IDEAL["catalogue"] if row["surrogate"] == "triangular"]
    mine[1] |= {"right": 80}
    near = [dict(row) for row in mine]
    near[1] |= {"right": 89}  # Wilson's interval: 0.81 to 0.94
    assert lines(chapter({"catalogue": near}))["triangular"]["agree"] == "not needed, –"
    told = chapter({"catalogue": mine})
    assert lines(told)["triangular"]["agree"] == "not needed, yes"
    assert "too few runs also of triangular at 45 degrees (0.80)" in told.text


def test_bars_stand_in_the_order_of_lean():
    (figure,) = chapter(IDEAL).figures.values()
    bars = figure.items[0]
    leans = {row["surrogate"]: row["lean"] for row in IDEAL["catalogue"]}
    order = [leans[name] for name in bars.categories]
    assert order == sorted(order) and bars.heights[bars.categories.index("identity")] == 0
    there = sum(row["right"] == 100 for row in IDEAL["catalogue"] if row["angle"] == 90)
    assert f"At 90 degrees {there} of {len(SURROGATES)} surrogates" in figure.title


def test_ones_own_stands_beside_the_others():
    mine = {**IDEAL["catalogue"][1], "surrogate": "mine()"}
    assert "mine()" in lines(chapter({**IDEAL, "own": [mine]}))


def test_nothing_is_told_of_nothing():
    assert chapter({}).text == "Nothing was measured yet."
