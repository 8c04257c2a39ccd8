import math
from dataclasses import replace
from importlib import import_module

import pytest

from coarsegrad.studies.schoenbauer2024 import STUDY, claims, runs
from coarsegrad.studies.study import verdicts
from coarsegrad.studies.verdict import judge

theorem = import_module("coarsegrad.theory.disguise")
CLAIMS = {claim.id: claim for claim in STUDY.claims}


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def lockstep(seed, lr, **distances):
    about = dict.fromkeys(claims._WHAT, 0) | {
        "of": "weights", "optimizer": "sgd", "bits": 2, "seed": seed, "lr": lr, "estimator": "wave",
    }  # fmt: skip
    return [{**about, "run": name, "distance": d} for name, d in {"estimator": 0.0, **distances}.items()]


def verdict(name, rows):
    return judge(CLAIMS[name], rows, "quick").verdict


def test_claims_are_judged_on_ratios_paired_by_seed():
    rows = {"twins": []}
    for seed in range(3):
        for lr in (0.1, 0.01):
            far = 1 + 0.01 * seed
            rows["twins"] += lockstep(
                seed, lr, mended=0.5 * far * lr**0.5, plain=0.9 * far, **{"other order": 0.8 * far}
            )
    assert verdict("sgd-mended-nearer", rows) == verdict("sgd-decay", rows) == "confirmed"
    assert verdict("sgd-same", rows) == verdict("sgd-plain-differs", rows) == "confirmed"
    assert verdict("adam-memory", rows) == verdict("activations-differ", rows) == "not run"
    found = CLAIMS["sgd-decay"].estimate(rows)
    assert found.estimate == pytest.approx(0.5, abs=1e-9)
    assert CLAIMS["sgd-same"].estimate(rows).estimate == pytest.approx(math.log(0.05 / 0.8), abs=1e-9)
    for row in rows["twins"]:
        if row["run"] == "mended":
            row["distance"] = 0.95
    assert verdict("sgd-decay", rows) == verdict("sgd-same", rows) == "refuted"


def test_the_best_rate_is_the_nearest_but_not_the_estimator_itself():
    one = {row["run"]: row for row in lockstep(0, 0.1, plain=0.4, **{"rate 2": 0.2, "other order": 0.1})}
    assert claims.log_ratio(one, "best rate") == pytest.approx(math.log(2))


def choice(of, **accuracies):
    return [
        {"of": of, "data": "digits", "estimator": name.replace("_", " "), "seed": seed, "accuracy": a}
        for name, by_seed in accuracies.items() for seed, a in enumerate(by_seed)
    ]  # fmt: skip


def test_accuracies_are_compared_seed_by_seed_with_the_plain_estimators():
    near = {"identity": [97, 98, 99, 98], "wave": [97.1, 98, 99, 98.1], "soft_steps": [97, 98.1, 99, 97.9]}
    rows = {"choice": choice("weights", inverse_wave=[97, 98.2, 99, 98], **near)}
    assert verdict("weights-alike", rows) == "confirmed" and verdict("activations-cost", rows) == "not run"
    rows = {"choice": choice("weights", inverse_wave=[95, 96.2, 97, 96], **near)}
    assert verdict("weights-alike", rows) == "refuted"
    rows = {"choice": choice("activations", identity=[97, 98, 99], inverse_wave=[95, 96.2, 97])}
    assert verdict("activations-cost", rows) == "confirmed"
    assert claims.spread(rows, "activations") == [2, pytest.approx(1.8), 2]


@pytest.mark.parametrize("broken", ["rate", "warp"])
def test_a_broken_theorem_changes_a_verdict(monkeypatch, broken):
    if broken == "rate":
        real = theorem.disguise
        monkeypatch.setattr(runs, "disguise", lambda *a: replace(real(*a), rate=1.1 * real(*a).rate))
    else:
        monkeypatch.setattr(theorem.Disguise, "warp", lambda self, u: u * 1.05)
    rows = {"formulas": list(runs.formulas({"bits": 2, "seed": 3, "sizes": (0.01, 0.003, 0.001)}, None))}
    found = {name: verdict(name, rows) for name in ("borders-stay", "levels-stay", "one-step")}
    assert "refuted" in found.values()
