import math

import numpy as np
import pytest
import torch

from coarsegrad.core.surrogates import Identity, ReLU
from coarsegrad.sim import recover
from coarsegrad.studies.jeong2025 import visits
from coarsegrad.theory import recurrence

SETTINGS = {
    "n": 8, "m": 3, "v": "unit", "multiple": 32, "noise": 0.3, "spread": 0.0, "runs": 4, "surrogate": "relu",
    "step_size": 0.05, "steps": 20_000, "seed": 3,
}  # fmt: skip
WALK = {"weights": "binary", "n": 6, "spread": 0.3, "runs": 3, "steps": 4000, "step_size": 0.05, "seed": 3}


def of(rows, what):
    return [row for row in rows if row["what"] == what]


@pytest.mark.parametrize("surrogate", [Identity(), ReLU()])
def test_the_push_is_the_noise_and_the_pull_that_of_many_samples(surrogate):
    given = visits._problem({**SETTINGS, "multiple": 4000, "noise": 0.01})
    push, pull = visits.balance(given, surrogate, 3, 1)
    size = recurrence.under_noise(surrogate, 8, 32_000, 0.01, given.v_star[1])
    assert float(push.abs().max()) < 5 * size.deviation
    expected = recurrence.pull(surrogate, 8) * torch.eye(8).double()
    assert torch.allclose(pull, expected, atol=0.03)


def test_without_noise_a_binary_teacher_pushes_nothing_and_a_float_one_as_theory_has_it():
    push, _ = visits.balance(visits._problem({**SETTINGS, "noise": 0.0}), ReLU(), 3, 0)
    assert not push.any()
    given = visits._problem({**SETTINGS, "noise": 0.0, "spread": 0.4, "multiple": 8000})
    push, _ = visits.balance(given, ReLU(), 3, 0)
    found = recurrence.shares(push, recurrence.pull(ReLU(), 8))
    assert torch.allclose(found, recurrence.unquantized(given.w_star[0]), atol=0.03)
    assert found.max() > 0.1


def test_occupancy_is_foretold_from_the_runs_own_samples():
    rows = of(visits.on_samples({**SETTINGS, "multiple": 128}, None), "run")
    assert len(rows) == 4
    for row in rows:
        assert row["coupled"] == pytest.approx(row["occupancy"], abs=0.05)
        assert row["own"] == pytest.approx(row["occupancy"], abs=0.1)
        assert row["visits"] > 10 and row["hit"]


def test_times_add_up_to_the_run():
    rows = list(visits.on_samples({**SETTINGS, "runs": 1}, None))
    (run,), times = of(rows, "run"), of(rows, "times")
    assert run["visits"] - sum(row["stays"] for row in times) in (0, 1)
    assert run["visits"] - sum(row["absences"] for row in times) in (1, 2)
    stayed = run["occupancy"] * 20_000
    assert sum(row["stays"] * row["from"] for row in times) <= stayed


def test_stays_and_absences_are_counted_as_a_reader_would():
    hits = np.array([0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1], dtype=bool)
    for mine, stays, absences in (
        (hits, {1: 1, 2: 1}, {1: 1, 4: 1}),  # the last stay has not ended
        (hits[3:], {1: 1, 2: 1}, {1: 1, 4: 1}),
        (hits[:2], {}, {}),
        (hits[:10], {1: 1, 2: 1}, {1: 1}),  # nor the last absence
    ):
        found = torch.zeros(2, 40, dtype=torch.int64)
        visits._count(mine, found[0], found[1])
        said = [
            {row["from"]: row[key] for row in visits._times(*found) if row[key]}
            for key in ("stays", "absences")
        ]
        assert said == [stays, absences]


def test_the_population_and_its_times():
    rows = list(visits.in_population(WALK, None))
    for row in of(rows, "run"):
        assert row["occupancy"] == pytest.approx(row["own"], abs=0.03)
        assert row["late_visits"] <= row["visits"]
    total = sum(row["visits"] for row in of(rows, "run"))
    assert total - 3 <= sum(row["stays"] for row in of(rows, "times")) <= total
    ternary = of(visits.in_population({**WALK, "weights": "ternary", "spread": 0.05}, None), "run")
    assert all(row["cosine"] > 0.99 and row["occupancy"] > 0.3 and "own" not in row for row in ternary)


def test_a_random_teacher_has_length_one_and_so_has_a_near_one():
    near = visits.spread_out(torch.tensor([[1.0, -1.0, 0.0, 1.0]]).double(), 0.01, seed=0)
    assert float(near.norm()) == pytest.approx(1)
    assert near[0].tolist() == pytest.approx([3**-0.5, -(3**-0.5), 0, 3**-0.5], abs=0.03)
    assert (visits._dropped(5, 10, 0).sum(1) == 6).all()


def test_staggered_rotations_avoid_the_optimum():
    avoided, visited = of(visits.staggered({"steps": 9000, "step_size": 0.05}, None), "run")
    assert avoided["visits"] == 0 and avoided["own_wrong"] == pytest.approx(1)
    assert visited["visits"] in (3000, 3001) and visited["occupancy"] == pytest.approx(2 / 3, abs=1e-3)
    assert avoided["own"] == pytest.approx(8 / 27)


def test_a_trace_is_that_of_the_oracle():
    settings = {**SETTINGS, "steps": 300, "shown": 300, "runs": 9}
    rows = list(visits.trace(settings, None))
    given = visits._problem({**settings, "runs": 1})
    found = recover(
        given, ReLU(), runs=1, steps=300, step_size=0.05, seed=3, record=range(300), method="direct"
    )
    right = torch.sign(given.w_star[0])
    assert [row["wrong"] for row in rows] == (found.signs[:, 0] != right).sum(-1).tolist()
    assert len(rows) == 300 and rows[0]["average_wrong"] == rows[0]["wrong"]
    assert [row["step"] for row in visits.trace({**settings, "shown": 7}, None)] == list(
        range(0, 300, math.ceil(300 / 7))
    )
