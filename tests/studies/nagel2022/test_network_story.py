import pytest

from coarsegrad.studies.nagel2022.network_story import findings, network_chapters
from studies.nagel2022.network_rows import network_rows


def cells(chapter):
    return [dict(zip(table.columns, row, strict=True)) for table in chapter.tables for row in table.rows]


def test_intervals_are_read_as_better_worse_or_not_told_apart():
    rows = {"network": network_rows(fresh={"dampening": 2.0, "freezing": -2.0}, stale={"averaging": 1.0})}
    said = {(row["rate"], row["statistics"], row["arms"]): row for row in cells(network_chapters(rows)[1])}
    assert said["constant", "fresh", "dampening less none"]["so the former"] == "is better"
    assert said["constant", "fresh", "freezing less none"]["so the former"] == "is worse"
    assert said["annealed to 0", "fresh", "inducing less none"]["so the former"] == "is not told apart"
    assert said["constant", "stale", "averaging less none"]["difference, points"] == "1.00 [1.00, 1.00]"
    told = findings(rows)
    assert "dampening is better (2.00 [2.00, 2.00])" in told and "freezing is worse" in told


def test_a_single_seed_has_numbers_and_no_intervals():
    rows = {"network": network_rows(seeds=1)}
    arms, said, bits = network_chapters(rows)
    assert cells(arms)[0]["fresh [%]"] == "85.00" and cells(said) == []
    assert cells(bits)[0]["2 bits"] == "85.00"
    assert "re-estimating batch norm gains 0.00 points" in findings(rows)


@pytest.mark.parametrize("schedules", [("constant",), ("cosine",)], ids=lambda s: s[0])
def test_a_schedule_that_was_not_run_is_not_spoken_of(schedules):
    chapters = network_chapters({"network": network_rows(schedules=schedules)})
    drawn = {name for chapter in chapters for name in chapter.figures}
    assert drawn == {f"arms-{schedules[0]}", f"bits-{schedules[0]}"}


def test_a_run_that_was_cut_short_is_told_as_far_as_it_went():
    rows = network_rows()
    for end in range(0, len(rows), 7):
        assert network_chapters({"network": rows[:end]})
