"""The pages in the documentation, and the records in the package, are those of the studies as they stand."""

import html
import re
from pathlib import Path

import pytest

from coarsegrad.studies import STUDIES, find
from coarsegrad.studies.index import BEGIN, ELSEWHERE, END, section
from coarsegrad.studies.listing import everything
from coarsegrad.studies.page import interval_text
from coarsegrad.studies.record import PUBLISHED, changed, published, read

PAGES = Path(__file__).resolve().parents[2] / "docs" / "studies"
RECORDS = sorted(path.stem for path in PUBLISHED.glob("*.json"))


def page_of(name):
    return PAGES / ELSEWHERE.get(name, f"{name}.md")


def claims_on(name):
    """The cells of each row of a page's verdicts."""
    page = html.unescape(page_of(name).read_text())
    rows = [row for row in page.split("## What is studied")[0].splitlines() if row.startswith("| ")][2:]
    return [row.removeprefix("| ").removesuffix(" |").replace("\\|", "¦").split(" | ") for row in rows]


@pytest.mark.parametrize("name", RECORDS)
def test_a_page_holds_every_claim_word_for_word_and_no_path_of_a_machine(name):
    said = [cells[0].replace("¦", "|") for cells in claims_on(name)]
    assert said == [f"{claim.says} ({claim.id})" for claim in find(name).claims]
    page = page_of(name).read_text()
    assert "/tmp/" not in page and "/work/" not in page and "/home/" not in page


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_of_the_claims_as_they_stand_and_of_its_pages_run(name):
    record = read(PUBLISHED / f"{name}.json")
    assert record.study == name and record.preset in find(name).presets
    assert changed(record, find(name)) == []
    found = [interval_text(v) if v.found else "–" for v in record.verdicts]
    cells = claims_on(name)
    assert [row[4] for row in cells] == found
    assert [row[1].partition(" (")[0] for row in cells] == [v.verdict for v in record.verdicts]
    page = page_of(name).read_text()
    assert f"Preset `{record.preset}`: of {len(record.verdicts)} claims " in page
    (seconds,) = re.findall(r"^(\d+) s of tasks one after the other", page, flags=re.M)
    assert int(seconds) == pytest.approx(record.seconds, abs=0.6)


def test_a_study_has_a_page_exactly_if_it_has_a_record():
    pages = sorted(path.stem for path in PAGES.glob("*.md") if path.stem != "index")
    assert pages == [name for name in RECORDS if name not in ELSEWHERE]
    assert all(page_of(name).exists() for name in RECORDS)
    assert set(RECORDS) <= set(STUDIES) and all(published(name) for name in RECORDS)


def test_every_page_is_listed():
    index, site = (PAGES / "index.md").read_text(), (PAGES.parents[1] / "mkdocs.yml").read_text()
    for name in RECORDS:
        page = ELSEWHERE.get(name, f"{name}.md")
        assert f"({page}): " in index and page.removeprefix("../") in site


def test_the_overview_is_that_of_the_records():
    """If not: coarsegrad study list --docs docs/studies."""
    written = (PAGES / "index.md").read_text().partition(f"{BEGIN}\n\n")[2].partition(f"\n{END}")[0]
    assert written == section(everything())
