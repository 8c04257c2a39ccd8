import pytest

from coarsegrad.studies.jeong2025 import recurrence, recurrence_story
from coarsegrad.studies.study import results, run


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recurrence")
    list(run(recurrence.STUDY, "smoke", folder))
    return results(recurrence.STUDY, "smoke", folder)


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    bare, full = recurrence_story.story({}), recurrence_story.story(smoke)
    assert [c.title for c in bare] == [c.title for c in full] and len(full) == 7
    assert all(c.text == "Nothing was measured yet." for c in bare[1:])
    assert all(c.figures for c in full[1:]) and all(c.tables for c in full[2:4])
    names = [name for c in full for name in c.figures]
    assert len(names) == len(set(names))


def test_medians_of_times_are_read_off_the_bins():
    times = [{"from": 1, "stays": 2, "absences": 0}, {"from": 2, "stays": 3, "absences": 0},
             {"from": 4, "stays": 1, "absences": 0}]  # fmt: skip
    assert recurrence_story._middle(times, "stays") == "2 to 3"
    assert recurrence_story._middle(times[:1], "stays") == "1"
    assert recurrence_story._middle(times, "absences") == "–"
    assert recurrence_story._survival(times, "stays") == ([1, 2, 4], [1, 4 / 6, 1 / 6])


def test_a_prediction_that_was_not_found_leaves_its_cell_empty():
    assert recurrence_story._solved([{"coupled": 0.5}, {"coupled": None}]) is None
    assert recurrence_story._solved([{"coupled": 0.5}, {"coupled": 0.7}]) == 0.6
