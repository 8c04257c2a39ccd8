from coarsegrad.studies.schoenbauer2024 import STUDY
from coarsegrad.studies.schoenbauer2024.story import _said as said


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    titles = [chapter.title for chapter in STUDY.story(smoke)]
    assert titles == [chapter.title for chapter in STUDY.story({})] and len(titles) == 5
    drawn = [name for chapter in STUDY.story(smoke) for name in chapter.figures]
    assert {"one-step", "weights-sgd", "weights-adam", "activations-sgd"} <= set(drawn)


def test_the_map_says_what_the_ratios_mean():
    assert said({"plain": 0.4, "mended": 0.9}) == "the same training"
    assert said({"plain": 1.2, "mended": 0.9}) == "the same training, once mended"
    assert said({"plain": 1.2, "best rate": 1.05}) == "about as far as a rerun"
    assert said({"plain": 1.6, "best rate": 1.2}) == "another training"
