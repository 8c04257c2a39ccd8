"""The page: tables and figures say what the rows say."""

import pytest

from coarsegrad.studies.ichikawa2025 import STUDY
from coarsegrad.view import draw
from studies.ichikawa2025.ideal import ideal

CHAPTERS = {chapter.title: chapter for chapter in STUDY.story(ideal())}
NOTHING = "Nothing was measured yet."


def table(title, number=0):
    found = CHAPTERS[title].tables[number]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    empty = STUDY.story({})
    assert [c.title for c in empty] == [c.title for c in STUDY.story(smoke)] == list(CHAPTERS)
    assert all(chapter.text == NOTHING for chapter in empty[1:])
    assert not any(chapter.text == NOTHING for chapter in CHAPTERS.values())


@pytest.mark.parametrize("kind", list(ideal()))
def test_each_kind_of_rows_alone_can_be_told(kind):
    told = STUDY.story({kind: ideal()[kind]})
    assert [c.title for c in told] == list(CHAPTERS)
    for chapter in told:
        assert "None" not in chapter.text and "nan" not in chapter.text


def test_it_says_which_reading_is_tested():
    text = CHAPTERS["What is studied"].text
    assert "The reading that is tested" in text and "not at hand" in text


def test_sizes_are_told_with_how_far_they_are_off():
    line = table("The limit, and simulations at growing d")[0]
    assert (line["inputs"], line["d"], line["runs"]) == ("float", 100, 8)
    assert line["times sqrt(d)"] == pytest.approx(1.0, abs=0.01) and line["late limit"] == 0.44
    assert (
        "Fitted exponents of d: float inputs -0.5" in CHAPTERS["The limit, and simulations at growing d"].text
    )
    figures = CHAPTERS["The limit, and simulations at growing d"].figures
    assert set(figures) == {"limit-float", "limit-quantized", "distance"}
    assert figures["limit-float"].items[-1].dashed and figures["distance"].log_x


def test_the_law_is_drawn_without_a_level_at_0_and_told_for_both():
    chapter = CHAPTERS["The law of the weights"]
    assert set(chapter.figures) == {"law-10", "law-25", "law-50", "law-100"}
    rows = table("The law of the weights")
    assert {row["levels"] for row in rows} == {"with 0", "without 0"}
    assert rows[0]["sqrt(d) times distance, mean"] == pytest.approx(0.8)
    assert "1.60 times the least" in chapter.text


def test_plateaus_are_drawn_beside_simulations():
    chapter = CHAPTERS["Plateau, drop, and the range"]
    labels = [item.label for item in chapter.figures["plateau"].items]
    assert labels == ["range 0.8", "range 1", "simulated, d = 300", "range 1.2", "range 2"]
    assert [item.label for item in chapter.figures["rise"].items] == ["range 2"]
    rows = table("Plateau, drop, and the range")
    assert rows[0]["crossing time"] == pytest.approx(40) and rows[3]["plateau"] is None


def test_starts_are_compared_at_one_range():
    chapter = CHAPTERS["Plateaus need weights that go together"]
    assert [item.label for item in chapter.figures["starts"].items] == ["start 0.05", "start 1"]
    assert [row["sharpness"] for row in table(chapter.title)] == [2.0, 0.1, 0.1]


def test_every_figure_can_be_drawn():
    for chapter in CHAPTERS.values():
        for figure in chapter.figures.values():
            assert "<svg" in draw(figure)
