import math
from dataclasses import replace

import pytest
import torch

from coarsegrad.studies.schoenbauer2024 import STUDY, claims, runs
from coarsegrad.studies.study import results, run, verdicts
from coarsegrad.studies.verdict import judge
from coarsegrad.theory import disguise as theorem

CLAIMS = {claim.id: claim for claim in STUDY.claims}
SETTINGS = {
    "seed": 5, "data": "digits", "data_folder": None, "model": "mlp(widths=(16,),affine=False)",
    "batch_size": 64, "bits": 2, "of": "weights", "estimator": "wave", "optimizer": "sgd", "lr": 0.01,
    "epochs": 1, "rates": (), "alone": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schoenbauer2024")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    titles = [chapter.title for chapter in STUDY.story(smoke)]
    assert titles == [chapter.title for chapter in STUDY.story({})] and len(titles) == 5
    drawn = [name for chapter in STUDY.story(smoke) for name in chapter.figures]
    assert {"one-step", "weights-sgd", "weights-adam", "activations-sgd"} <= set(drawn)


def test_presets_plan_what_they_say():
    kinds = {p: {t.kind for t in STUDY.planned(p)} for p in STUDY.presets}
    assert all(found == {"formulas", "twins", "choice"} for found in kinds.values())
    datas = {t.settings.get("data") for t in STUDY.planned("paper", {"data_folder": "x"})}
    assert "mnist" in datas and "mnist" not in {t.settings.get("data") for t in STUDY.planned("paper")}


def told(**more):
    return {row["run"]: row for row in runs.twins({**SETTINGS, **more}, None)}


def test_a_lockstep_with_the_plain_estimator_is_three_times_the_same_run():
    found = told(estimator="identity", alone=False)
    assert found["plain"]["distance"] == 0.0 and found["plain"]["agreement"] == 1.0
    assert found["plain"]["train_loss"] == found["estimator"]["train_loss"]
    assert found["other order"]["distance"] > 0.05


def test_mended_and_estimator_start_from_the_same_network():
    found = told(lr=1e-12)
    for name in ("mended", "plain"):
        assert found[name]["moved"] == 0 and found[name]["same_answers"] == 1.0
        assert found[name]["agreement"] is None


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adam, short memory"])
def test_small_steps_are_told_apart_by_the_theorem(optimizer):
    """One epoch of small steps: SGD asks for the mend, Adam for none."""
    lr = {"sgd": 1e-3, "momentum": 1e-4, "adam": 1e-5}[optimizer.split(",")[0]]
    found = told(optimizer=optimizer, lr=lr)
    near, far = ("plain", "mended") if optimizer.startswith("adam") else ("mended", "plain")
    assert found[near]["distance"] < 0.5 * found[far]["distance"]


def test_activations_get_other_rates_and_no_mend():
    found = told(of="activations", rates=(0.5, 2.0))
    assert set(found) == {"estimator", "plain", "rate 0.5", "rate 2", "other order"}
    assert set(told(alone=True)) == {"estimator"}


@pytest.mark.parametrize("name", runs.COVERED)
def test_curves_integrate_their_slopes(name):
    own, h = runs.ESTIMATORS[name], 1e-6
    x = torch.linspace(-2.03, 1.97, 401, dtype=torch.float64)
    slope = (own.curve(x + h) - own.curve(x - h)) / (2 * h)
    assert (slope - own.slope(x)).abs().max() < 1e-6
    assert own.curve(x + 1).sub(own.curve(x) + 1).abs().max() < 1e-12
    assert own.over([-2, 1]) is own


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


def test_spreads_are_of_the_seeds_that_all_estimators_have():
    rows = {
        "choice": [
            {"of": "weights", "data": "digits", "estimator": name, "seed": seed, "accuracy": 90 + k + seed}
            for k, name in enumerate(("identity", "wave", "clipped")) for seed in range(3 - (k == 0))
        ]
    }  # fmt: skip
    assert claims.spread(rows, "weights") == [2, 2]
    assert claims.spread(rows, "weights", names=("identity", "wave")) == [1, 1]
    assert claims.spread(rows, "activations") == []


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
