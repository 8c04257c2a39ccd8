from pathlib import Path

import torch

from coarsegrad.studies.leaderboard import STUDY, runs
from coarsegrad.studies.study import results, run, table_of
from coarsegrad.train import data
from coarsegrad.train.health import NonFinite, Origin


def settings(**changes):
    usual = {
        "data": "digits", "bits": "w1a1", "method": "ste", "lr": 0.01, "setting": None, "seed": 3,
        "epochs": 1, "held_out": False, "ptq": (), "data_folder": None,
    }  # fmt: skip
    return {**usual, **changes}


def test_a_trial_is_tested_on_every_fifth_training_image_and_never_on_test_images(tmp_path):
    found = data.load(runs.plan_of(settings(held_out=True), tmp_path / "a").data)
    whole = data.load("digits")
    assert torch.equal(found.test_images, whole.train_images[4::5])
    assert len(found.train_images) + len(found.test_images) == len(whole.train_images)


def test_the_last_row_is_final(tmp_path):
    rows = list(runs.trained(settings(epochs=2), tmp_path))
    assert [row["final"] for row in rows] == [False, True] and 0 <= rows[1]["test_accuracy"] <= 100


def test_a_float_run_tells_what_it_is_worth_untrained(tmp_path):
    rows = list(runs.trained(settings(bits="float", method="float", ptq=("w1a1", "w4a4")), tmp_path))
    assert [(row["what"], row.get("bits")) for row in rows] == [
        ("epoch", None), ("ptq", "w1a1"), ("ptq", "w4a4")
    ]  # fmt: skip


def test_a_training_that_fails_ends_in_one_row_and_without_a_result(tmp_path, monkeypatch):
    def failing(plan, folder):
        yield {"epoch": 1, "test_accuracy": 50.0}
        raise NonFinite("The loss is nan", 2, 0, Origin("", ""), "")

    monkeypatch.setattr("coarsegrad.train.loop.train", failing)
    rows = list(runs.trained(settings(bits="float", method="float", epochs=2, ptq=("w1a1",)), tmp_path))
    assert [row["what"] for row in rows] == ["epoch", "failed"] and "The loss is nan" in rows[1]["reason"]


def test_every_cell_is_run_as_its_best_trial_says(smoke, tmp_path):
    trials = {(row["bits"], row["method"]): row["lr"] for row in smoke["trial"]}
    ran = {(row["bits"], row["method"]): row["lr"] for row in smoke["run"] if row["what"] == "epoch"}
    assert ran == trials and len(ran) == 15
    assert {row["seed"] for row in smoke["trial"]} == {1000} and {row["seed"] for row in smoke["run"]} == {70}


def test_runs_are_planned_when_all_trials_are_there(tmp_path):
    folder = Path(tmp_path)
    told = run(STUDY, "smoke", folder)
    assert next(told)["total"] == 15 and set(results(STUDY, "smoke", folder)) == {"trial"}
    told.close()
    assert len(STUDY.planned("smoke", {}, table_of(folder))) == 15
