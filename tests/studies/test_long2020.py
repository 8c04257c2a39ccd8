"""Recurrence in the population: formulas against enumeration and against the method itself."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from coarsegrad.studies import long2020
from coarsegrad.studies.long2020 import STUDY, close, shares
from coarsegrad.studies.study import results, run, verdicts
from coarsegrad.studies.verdict import judge
from coarsegrad.theory import recurrence

CLAIMS = {claim.id: claim for claim in STUDY.claims}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long2020")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def unit(draw, n):
    teacher = draw.standard_normal(n) * draw.random(n)
    return teacher / np.linalg.norm(teacher)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_shares_are_those_of_the_nearest_point_of_the_hull_of_all_ternary_directions(n):
    """Nearest, by enumeration: no direction lies beyond the plane across what is left, at the mixture."""
    ways = np.array([way for way in product((-1, 0, 1), repeat=n) if any(way)], dtype=float)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    draw = np.random.default_rng(n)
    for _ in range(20):
        teacher = unit(draw, n)
        found = shares(teacher)
        assert found.min() >= 0 and found.sum() == pytest.approx(1)
        order, mean = np.argsort(-np.abs(teacher)), np.zeros(n)
        for k, share in enumerate(found, start=1):
            mean[order[:k]] += share * np.sign(teacher[order[:k]]) / math.sqrt(k)
        left = teacher - mean
        assert (ways @ left).max() <= mean @ left + 1e-12


def test_shares_do_not_see_signs_or_order():
    teacher = unit(np.random.default_rng(3), 7)
    assert shares(-teacher[::-1]) == pytest.approx(shares(teacher))


def test_a_quantized_teacher_keeps_its_direction_all_the_time():
    for k in range(1, 6):
        teacher = np.array([1.0] * k + [0.0] * (5 - k)) / math.sqrt(k)
        assert shares(teacher) == pytest.approx(np.eye(5)[k - 1])


def test_the_ternary_optimum_has_a_share_whatever_the_teacher():
    draw = np.random.default_rng(4)
    for number in range(300):
        teacher = draw.standard_normal(2 + number % 30) * draw.random(2 + number % 30) ** (number % 6)
        teacher /= np.linalg.norm(teacher)
        best = int(recurrence.optimum(torch.from_numpy(teacher), "ternary").abs().sum())
        assert shares(teacher)[best - 1] > 0


def test_the_method_is_at_the_ternary_optimum_for_the_foretold_share_from_any_start():
    teacher = torch.from_numpy(unit(np.random.default_rng(5), 6))
    start = torch.from_numpy(np.random.default_rng(6).standard_normal((3, 6)))
    hits = recurrence.at_optimum(teacher, start, steps=8000, step_size=0.1, weights="ternary")[4000:]
    best = int(recurrence.optimum(teacher, "ternary").abs().sum())
    assert (hits.double().mean(0) - shares(teacher.numpy())[best - 1]).abs().max() < 2e-3


@pytest.mark.parametrize("n", [4, 5, 9, 40])
def test_the_nearest_teacher_stands_at_the_closeness_angle_and_has_a_sum_of_one(n):
    found = close(n)
    w_star = torch.from_numpy(found.teacher)
    p = recurrence.unquantized(w_star)
    assert float(w_star.square().sum()) == pytest.approx(1) and float(p.sum()) == pytest.approx(1)
    assert int((p > 0).sum()) == found.oscillating
    assert float(w_star.sum()) / math.sqrt(n) == pytest.approx(math.cos(found.angle))


@pytest.mark.parametrize("n", [4, 6])
def test_no_teacher_within_the_angle_has_a_sum_of_one_or_more_and_some_beyond_have(n):
    draw = np.random.default_rng(n)
    w_star = 1 + draw.random((50_000, 1)) * draw.standard_normal((50_000, n))
    w_star = torch.from_numpy(w_star / np.linalg.norm(w_star, axis=1, keepdims=True))
    angle = (w_star.abs().sum(1) / math.sqrt(n)).clamp(max=1).acos()
    off = ~recurrence.occupancy(recurrence.unquantized(w_star)).sure
    assert off.any() and float(angle[off].min()) > close(n).angle
    assert float(angle[off].min()) < close(n).angle + 0.05


def test_staggered_orbits_avoid_the_optimum_and_the_method_follows_them():
    whole = [
        row for row in long2020.orbits({"n": 8, "steps": 500}, None) if row["oscillating"] == row["period"]
    ]
    found = {row["start"]: row for row in whole}
    assert found["staggered"]["right"] == found["staggered"]["met"] == 0
    k = found["together"]["period"]
    assert found["together"]["right"] == k - 1 and found["together"]["met"] == 500 // k * (k - 1)
    assert all(row["returns"] for row in whole)


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
        ("binary-three", "scan", first, {"sure": 0}),
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
