from coarsegrad.studies.yin2018 import STUDY
from coarsegrad.view import draw


def test_without_rows_every_chapter_reads_and_only_the_formula_is_drawn():
    chapters = STUDY.story({})
    assert "Nothing was measured yet." in chapters[0].text
    assert {name for chapter in chapters for name in chapter.figures} == {"drift"}


def test_the_page_of_the_smoke_preset(smoke):
    chapters = STUDY.story(smoke)
    figures = {name: figure for chapter in chapters for name, figure in chapter.figures.items()}
    assert {"drift", "constant", "trace-fixed-w", "trace-binary-w", "trace-binary-both", "fixed-scale",
            "free-scale", "digits-loss", "digits-flips"} == set(figures)  # fmt: skip
    assert all(draw(figure).startswith("<svg") for figure in figures.values())
    assert all(len(figure.title.split()) > 4 for figure in figures.values())


def test_what_was_found_is_said_in_numbers_of_the_rows(smoke):
    found = STUDY.story(smoke)[0].text.split("Found: ")[1]
    enough = [
        r for r in smoke["descents"] if r["ratio"] >= 1 and (r["weights"], r["trained"]) == ("fixed", "w")
    ]
    assert f"of {len(enough)} runs none had a step that raised f" in found


def test_a_part_of_the_rows_tells_its_part(smoke):
    part = [row for row in smoke["descents"] if row["weights"] == "fixed"]
    chapters = {chapter.title: chapter for chapter in STUDY.story({"descents": part})}
    assert chapters["Where runs end: a fixed scale"].figures
    assert chapters["Where runs end: a free scale"].text == "Nothing was measured yet."
