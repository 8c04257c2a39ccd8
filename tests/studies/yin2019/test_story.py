import re

from coarsegrad.studies.page import publish
from coarsegrad.studies.yin2019 import STUDY
from coarsegrad.studies.yin2019.story import end_table, line_table, pushes, story


def test_smoke_writes_the_whole_page(smoke_folder, tmp_path):
    verdicts = publish(STUDY, "smoke", smoke_folder, command="coarsegrad study yin2019", docs=tmp_path)
    assert all(verdict.as_expected for verdict in verdicts)
    page = (tmp_path / "yin2019.md").read_text()
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", page)
    assert len(links) > 15 and all((tmp_path / link).is_file() for link in links)
    assert "With the identity it rises also inside the window." in page  # refuted, and it stays
    assert "All are as committed" in page


def test_the_story_is_told_also_of_nothing():
    assert sum("Nothing was measured" in chapter.text for chapter in story({})) == 5


def test_the_story_says_that_the_networks_were_not_run(smoke):
    assert "Not run" in story(smoke)[-1].text


def test_tables_add_up(smoke):
    found = {row["surrogate"]: row for row in end_table(smoke["ends"])}
    relu = found["relu"]
    assert relu["starts"] == 250 == relu["global"] + relu["spurious"] + relu["saddle"] + relu["not critical"]
    assert all(row["of"] == 24 for row in line_table(smoke["line"]))
    push = pushes(smoke["critical"])
    assert push["relu"] < 1e-12 < 1e-3 < push["identity"]
