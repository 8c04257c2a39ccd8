from coarsegrad.studies.schoenbauer2024 import STUDY


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    titles = [chapter.title for chapter in STUDY.story(smoke)]
    assert titles == [chapter.title for chapter in STUDY.story({})] and len(titles) == 5
    drawn = [name for chapter in STUDY.story(smoke) for name in chapter.figures]
    assert {"one-step", "weights-sgd", "weights-adam", "activations-sgd"} <= set(drawn)
