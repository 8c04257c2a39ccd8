"""The page tells of what is there, and of what is not."""

from coarsegrad.studies.jeong2025.complexity_story import story
from studies.jeong2025.cell_rows import grid


def test_without_rows_it_says_so():
    assert [chapter.title for chapter in story({})] == ["What is studied", "Thresholds"]


def test_every_part_has_its_chapter():
    cells = grid(1.4, 2.0) + grid(1.4, 1.0, "identity")
    varied = [{**row, "varied": "m 1"} for row in grid(1.2, 2.0) if row["n"] == 20]
    chapters = {c.title: c for c in story({"grid": cells, "varied": varied, "far": grid(1.2, 2.0)})}
    assert [*chapters] == [
        "What is studied", "Thresholds", "Growth", "Three decades", "What else moves it",
    ]  # fmt: skip
    assert {*chapters["Thresholds"].figures} == {"recovery-relu", "recovery-identity"}
    assert {*chapters["Growth"].figures} == {"growth-ergodic", "growth-last"}
    growth = chapters["Growth"].tables[0]
    assert growth.columns[:4] == ("surrogate", "iterate", "n", "exponent") and len(growth.rows) == 4
    assert "was not run" in story({"grid": cells})[3].text


def test_a_size_at_which_no_last_iterate_is_right_is_said():
    far = [{**row, "last": 0} if row["n"] == 200 else row for row in grid(1.0, 2.0)]
    text = {c.title: c.text for c in story({"grid": grid(1.0, 2.0), "far": far})}["Three decades"]
    assert "no last iterate was right" in text
