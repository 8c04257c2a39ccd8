from coarsegrad.measure import Interval
from coarsegrad.studies.schoenbauer2024 import STUDY
from coarsegrad.studies.schoenbauer2024.story import _said as said


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    titles = [chapter.title for chapter in STUDY.story(smoke)]
    assert titles == [chapter.title for chapter in STUDY.story({})] and len(titles) == 5
    drawn = [name for chapter in STUDY.story(smoke) for name in chapter.figures]
    assert {"one-step", "weights-sgd", "weights-adam", "activations-sgd"} <= set(drawn)


def test_the_map_says_what_the_ratios_mean():
    near, far, wide = Interval(0.8, 0.7, 0.9), Interval(1.5, 1.2, 1.8), Interval(1.0, 0.6, 1.6)
    assert said({"plain": near, "mended": far}) == "not told apart from a rerun, as it is"
    assert said({"plain": far, "mended": near}) == "not told apart from a rerun, once mended"
    assert said({"plain": far, "best rate": far}) == "farther than a rerun"
    assert said({"plain": wide, "best rate": far}) == "don't know"
