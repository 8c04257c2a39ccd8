"""The overview keeps what failed in sight, and writes between its marks alone."""

import pytest

from coarsegrad.studies import STUDIES, find, index
from coarsegrad.studies.index import BEGIN, END, paper_of, rewrite, section
from studies.test_listing import RECORD, STUDY


def test_counts_stand_first_then_what_failed_then_everything():
    text = section([(STUDY, RECORD)])
    assert "| A toy study | [toy](toy.md) | quick | 5 | 1 | 2 | 1 | 1 | 3 |" in text
    before, _, folded = text.partition('<details markdown="1">')
    for name in ("wrong", "known", "across", "none"):
        assert f"| Says {name}. ({name}, simulation) |" in before
    assert "| -2 [-2.5, -1.5] | below by 1.5 to 2.5 | refuted, expected: confirmed |" in before
    assert "below by 1.5 to 2.5 | refuted |" in before and "reaches 0.25 below" in before
    assert "(right, simulation)" not in before
    assert all(f"({c.id}, simulation)" in folded for c in STUDY.claims) and "</details>" in folded


def test_studies_of_one_paper_stand_together_and_unpublished_ones_have_a_row():
    from dataclasses import replace

    a, b, c = (
        replace(STUDY, name=n, title=t) for n, t in (("a", "A 1999: x"), ("b", "B 1999"), ("c", "A 1999: y"))
    )
    text = section([(a, RECORD), (b, RECORD), (c, RECORD), (replace(STUDY, name="no"), None)])
    heads = [line for line in text.splitlines() if line.startswith(("### ", "**["))]
    assert [line[:12] for line in heads] == [
        "### A 1999",
        "**[A 1999: x",
        "**[A 1999: y",
        "### B 1999",
        "**[B 1999](b",
    ]
    assert "| A toy study | no | not published | 5 | – | – | – | – | – |" in text and "no.md" not in text


@pytest.mark.parametrize("name", STUDIES)
def test_every_title_begins_with_its_paper(name):
    study = find(name)
    assert paper_of(study) != study.title and paper_of(study)[-4:].isdigit()


@pytest.fixture
def toy_alone(monkeypatch):
    monkeypatch.setattr(index, "everything", lambda: [(STUDY, RECORD)])


def test_what_stands_around_the_marks_is_left_as_it_is(tmp_path, toy_alone):
    page = tmp_path / "index.md"
    page.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nAlso mine.\n")
    assert rewrite(tmp_path) == page
    text = page.read_text()
    assert text == f"# Mine\n\n{BEGIN}\n\n{section([(STUDY, RECORD)])}\n{END}\n\nAlso mine.\n"
    rewrite(tmp_path)
    assert page.read_text() == text


@pytest.mark.parametrize(
    "text", ["nothing", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"]
)
def test_a_page_without_its_marks_is_refused_and_unchanged(tmp_path, toy_alone, text):
    (tmp_path / "index.md").write_text(text)
    with pytest.raises(ValueError, match="needs these two lines, once each"):
        rewrite(tmp_path)
    assert (tmp_path / "index.md").read_text() == text
    with pytest.raises(FileNotFoundError, match="give the folder of the studies' pages"):
        rewrite(tmp_path / "nowhere")
