"""The pages in the documentation are those of the studies as they stand."""

import html
from pathlib import Path

import pytest

from coarsegrad.studies import STUDIES, find

PAGES = Path(__file__).resolve().parents[2] / "docs" / "studies"


@pytest.mark.parametrize("name", [name for name in STUDIES if (PAGES / f"{name}.md").exists()])
def test_a_page_holds_every_claim_word_for_word_and_no_path_of_a_machine(name):
    page = html.unescape((PAGES / f"{name}.md").read_text())
    rows = [row for row in page.split("## What is studied")[0].splitlines() if row.startswith("| ")][2:]
    said = [row.split(" | ")[0].removeprefix("| ").replace("\\|", "|") for row in rows]
    assert said == [f"{claim.says} ({claim.id})" for claim in find(name).claims]
    assert "/tmp/" not in page and "/work/" not in page and "/home/" not in page


def test_every_page_is_listed():
    index, site = (PAGES / "index.md").read_text(), (PAGES.parents[1] / "mkdocs.yml").read_text()
    for page in PAGES.glob("*2*.md"):
        assert f"({page.name})" in index and f"studies/{page.name}" in site
