import json
import re

import pytest

from coarsegrad import studies
from coarsegrad.cli import main
from coarsegrad.studies.page import markdown_table, publish
from coarsegrad.studies.record import read
from coarsegrad.studies.study import run
from coarsegrad.view import TableView
from studies import toy
from studies.toy import STUDY, claim


@pytest.fixture
def folder(tmp_path):
    list(run(STUDY, "quick", tmp_path))
    return tmp_path


@pytest.fixture
def cli(monkeypatch):
    """``coarsegrad study toy`` with these claims."""

    def cli(*claims):
        monkeypatch.setitem(studies.STUDIES, "toy", "studies.toy")
        monkeypatch.setattr(toy, "STUDY", toy.study(*claims))
        return lambda *words: main(["study", "toy", *map(str, words)])

    return cli


def test_report_figures_and_page_are_written(folder):
    publish(STUDY, "quick", folder, command="coarsegrad study toy", docs=folder / "docs")
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert (folder / "figures" / "numbers.svg").read_text().startswith("<svg")
    assert (folder / "figures" / "numbers.png").read_bytes()[:4] == b"\x89PNG"
    page = (folder / "docs" / "toy.md").read_text()
    for link in re.findall(r"!\[[^]]*\]\(([^)]*)\)", page):
        assert (folder / "docs" / link).is_file()
    assert "toy/numbers.svg" in page and "```sh\ncoarsegrad study toy\n```" in page
    assert "4 tasks" not in page and "| draw | 4 |" in page  # the cost
    assert "![Numbers | as (drawn). value against place.](toy/numbers.svg)" in page  # what is seen, in words


def test_a_refuted_claim_stays_on_the_page_expected_or_not(folder):
    claims = claim("wrong", 100), claim("known", 100, "refuted"), claim("right", 0)
    verdicts = publish(toy.study(*claims), "quick", folder, docs=folder / "docs")
    assert [v.verdict for v in verdicts] == ["refuted", "refuted", "confirmed"]
    for page in (folder / "report.html", folder / "docs" / "toy.md"):
        text = page.read_text()
        assert "Says wrong." in text and "Says known." in text and "Says right." in text
        assert "refuted (expected: confirmed)" in text
        assert "Not as expected" in text and "Refuted:" in text


def test_a_page_of_a_part_of_the_tasks_says_so(folder):
    publish(STUDY, "paper", folder, docs=folder / "docs")  # six tasks; the four of quick are done
    assert (
        "**2 tasks are not done**: claims are judged on a part." in (folder / "docs" / "toy.md").read_text()
    )
    publish(STUDY, "quick", folder, docs=folder / "docs")
    assert "not done" not in (folder / "docs" / "toy.md").read_text()


def test_a_page_removes_figures_of_before_and_nothing_else(folder):
    beside = folder / "toy" / "old.svg", folder / "toy" / "notes.txt", folder / "results.sqlite"
    beside[0].parent.mkdir()
    for path in beside[:2]:
        path.write_text("mine")
    publish(STUDY, "quick", folder, docs=folder)
    assert [path.exists() for path in beside] == [False, True, True]
    publish(STUDY, "quick", folder, docs=folder.parent)  # where the folder of results may be the figures'
    assert (folder / "results.sqlite").exists()


def test_the_page_needs_nothing_from_elsewhere(folder):
    publish(STUDY, "quick", folder)
    assert not re.search(r"(src|href)=.https?:", (folder / "report.html").read_text())


def test_the_page_says_what_is_not_there_yet(tmp_path):
    verdicts = publish(toy.study(claim("low", 0)), "quick", tmp_path)
    assert [v.verdict for v in verdicts] == ["not run"]
    assert "low is not run, expected confirmed" in re.sub(
        "<[^>]+>", "", (tmp_path / "report.html").read_text()
    )


def test_a_figure_that_is_gone_leaves_no_file(folder):
    stale = folder / "docs" / "toy" / "old.svg"
    stale.parent.mkdir(parents=True)
    stale.touch()
    publish(STUDY, "quick", folder, docs=folder / "docs")
    assert not stale.exists()


def test_a_table_as_markdown():
    table = TableView(("a|b", "x"), (("<b>", 0.123456), (None, 3)), "A caption.")
    assert markdown_table(table) == (
        "A caption.\n\n| a\\|b | x |\n| --- | ---: |\n| &lt;b&gt; | 0.1235 |\n| – | 3 |"
    )


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ([claim("right", 0)], 0),
        ([claim("wrong", 100)], 1),
        ([claim("wrong", 100, "refuted")], 0),
        ([claim("right", 0, "refuted")], 1),
        ([claim("across", 1)], 1),
        ([claim("across", 1, "unresolved")], 0),
        ([claim("none", 0, "not run", lambda rows: None)], 0),
        ([claim("right", 0), claim("none", 0, estimate=lambda rows: None)], 1),
    ],
)
def test_the_exit_code_is_0_exactly_if_all_verdicts_are_as_committed(cli, tmp_path, capsys, claims, code):
    assert cli(*claims)("--preset", "smoke", "--out", tmp_path) == code
    printed = capsys.readouterr().out
    assert all(c.id in printed for c in claims) and "report.html" in printed


def test_json_lines_are_for_machines(cli, tmp_path, capsys):
    assert (
        cli(claim("right", 0))("--preset", "smoke", "--out", tmp_path, "--json", "--docs", tmp_path / "d")
        == 0
    )
    *tasks, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["done"] for row in tasks] == [1, 2]
    assert last["verdicts"][0]["verdict"] == "confirmed"
    assert (tmp_path / "d" / "toy.md").exists()


def test_the_command_writes_a_record_where_it_is_told_to(cli, tmp_path):
    cli(claim("wrong", 100))("--preset", "smoke", "--out", tmp_path / "out", "--record", tmp_path / "records")
    record = read(tmp_path / "records" / "toy.json")
    assert [v.verdict for v in record.verdicts] == ["refuted"] and record.tasks == 2


def test_progress_has_a_rate_and_the_time_left(cli, tmp_path, capsys):
    cli(claim("right", 0))("--preset", "smoke", "--out", tmp_path)
    assert re.search(r"\[1/2, [\d.]+ tasks/s, \d+:\d\d left\] draw: ", capsys.readouterr().out)


def test_wrong_input_is_told_with_the_mend(capsys, tmp_path):
    assert main(["study", "yin2019"]) == 2
    assert "--out FOLDER" in capsys.readouterr().err
    assert main(["study", "yin2018", "--out", str(tmp_path)]) == 2
    assert "yin2019" in capsys.readouterr().err
