from coarsegrad.studies.nagel2022 import STUDY
from studies.nagel2022.network_rows import network_rows


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    titles = [chapter.title for chapter in STUDY.story(smoke)]
    assert titles == [chapter.title for chapter in STUDY.story({})] and len(titles) == 7
    assert titles[0] == "What is studied"
    drawn = {name for chapter in STUDY.story(smoke) for name in chapter.figures}
    assert drawn == {"trace", "frequency", "strength", "arms-constant", "bits-constant"}


def test_every_kind_of_row_alone_makes_a_story(smoke):
    for kind, rows in smoke.items():
        assert STUDY.story({kind: rows})


def test_what_was_found_is_counted_in_the_rows(smoke):
    codes = sum(row["codes"] for row in smoke["exact"])
    about = STUDY.story({"exact": smoke["exact"]})[0].text
    assert f"of {codes:,} levels computed in fractions 0 differ" in about and "The network" not in about
    assert "**The network.** With the rate constant" in STUDY.story({"network": network_rows()})[0].text
