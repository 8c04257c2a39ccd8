"""The last chapters: tables and figures say what the rows say."""

import pytest

from coarsegrad.studies.ichikawa2025.ends import NOTHING, ends, mean, slopes
from studies.ichikawa2025.ideal import ideal


def table(chapter, number=0):
    found = chapter.tables[number]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_fixed_points_are_told_by_step_range_and_bits():
    chapter = ends(ideal())
    assert set(chapter.figures) == {"steps", "range-float", "range-quantized"}
    assert table(chapter, 0)[1]["best range"] == pytest.approx(1.0)
    assert table(chapter, 1)[0]["gap / (spacing² / 6)"] == pytest.approx(1)
    told = table(chapter, 2)
    assert told[2]["float weights"] is None and told[0]["closed form"] == 0.15
    lines = {item.label: item for item in chapter.figures["steps"].items}
    assert max(lines["float weights"].x) < 2 < max(lines["3 bits"].x) == 3
    assert lines["simulated, float weights"].x == (0.5, 1.9)


def test_slopes_are_drawn_with_their_limits():
    chapter = slopes(ideal())
    (figure,) = chapter.figures.values()
    names = ("identity", "hardtanh", "leaky_hardtanh")
    assert [item.label for item in figure.items][::2] == [f"{name}: limit" for name in names]
    assert table(chapter)[1]["late error"] == pytest.approx(0.66, rel=0.01)


def test_what_is_not_there_is_said():
    assert ends({}).text == slopes({}).text == NOTHING
    assert mean([{"x": None}], "x") is None and mean([{"x": None}, {"x": 2.0}], "x") == 2
