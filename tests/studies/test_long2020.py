"""Recurrence in the population: formulas against enumeration and against the method itself."""

import pytest

from coarsegrad.studies import long2020
from coarsegrad.studies.long2020 import STUDY
from coarsegrad.studies.study import results, run, verdicts
from coarsegrad.studies.verdict import judge

CLAIMS = {claim.id: claim for claim in STUDY.claims}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long2020")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_staggered_orbits_avoid_the_optimum_and_the_method_follows_them():
    whole = [
        row for row in long2020.orbits({"n": 8, "steps": 500}, None) if row["oscillating"] == row["period"]
    ]
    found = {row["start"]: row for row in whole}
    assert found["staggered"]["right"] == found["staggered"]["met"] == 0
    k = found["together"]["period"]
    assert found["together"]["right"] == k - 1 and found["together"]["met"] == 500 // k * (k - 1)
    assert all(row["returns"] for row in whole)


def test_changes_are_of_the_signs_and_not_of_arrivals_at_the_optimum():
    about = {"n": 8, "runs": 4, "steps": 2000, "seed": 1, "weights": "binary"}
    far = min(long2020.walks(about, None), key=lambda row: row["occupancy"])
    assert far["changes"] > 2 * 1000 * far["occupancy"] and "foretold" not in far


def changed(rows, kind, which, **values):
    """The rows with some values replaced where it holds."""
    return {**rows, kind: [{**row, **values} if which(row) else row for row in rows[kind]]}


def first(row):
    return row.get("run", 0) == 0


@pytest.mark.parametrize(
    ("name", "kind", "which", "values"),
    [
        ("never-settles", "walks", first, {"changes": 0}),
        ("ternary-share", "walks", first, {"foretold": 2.0}),
        ("ternary-always", "walks", first, {"occupancy": 0.0}),
        ("ternary-every-teacher", "scan", first, {"least": 0.0}),
        ("binary-close", "scan", first, {"inside": 1}),
        ("binary-sharp", "orbits", first, {"met": 1}),
        ("binary-start", "orbits", first, {"right": 0}),
        ("binary-bound", "orbits", first, {"right": 100}),
        ("orbits-return", "orbits", first, {"returns": 0}),
        ("binary-three", "scan", first, {"nearest": 50.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_rows_refute(smoke, name, kind, which, values):
    assert judge(CLAIMS[name], changed(smoke, kind, which, **values), "quick").verdict == "refuted"


def test_without_rows_nothing_is_claimed_or_shown():
    assert {v.verdict for v in verdicts(STUDY, {}, "paper")} == {"not run"}
    chapters = STUDY.story({})
    assert "Nothing was measured yet." in chapters[0].text
    assert all("Nothing" in chapter.text and not chapter.figures for chapter in chapters[1:])


def test_the_page_shows_what_was_measured_also_in_part(smoke):
    assert {name for chapter in STUDY.story(smoke) for name in chapter.figures} == {"ternary-share", "close"}
    alone = STUDY.story({"walks": smoke["walks"]})
    assert alone[1].figures and not alone[2].figures
    assert "43.2 degrees at n = 4" in STUDY.story(smoke)[0].text


def test_smoke_has_a_seed_of_its_own_and_paper_is_larger_than_quick():
    seeds = {p: {t.settings["seed"] for t in STUDY.planned(p) if "seed" in t.settings} for p in STUDY.presets}
    assert seeds["smoke"].isdisjoint(seeds["quick"]) and seeds["quick"] == seeds["paper"] == {2012}
    assert len(STUDY.planned("smoke")) < len(STUDY.planned("quick")) < len(STUDY.planned("paper"))
