from dataclasses import replace
from pathlib import Path

import torch

from coarsegrad.studies.leaderboard import STUDY, runs
from coarsegrad.studies.leaderboard.methods import BITS
from coarsegrad.studies.study import results, run, table_of
from coarsegrad.train import data
from coarsegrad.train.build import held_out, load_data
from coarsegrad.train.health import NonFinite, Origin


def settings(**changes):
    usual = {
        "data": "digits", "bits": "w1a1", "method": "ste", "lr": 0.01, "setting": None, "seed": 3,
        "epochs": 1, "held_out": False, "data_folder": None,
    }  # fmt: skip
    return {**usual, **changes}


def test_a_trial_is_tested_on_every_fifth_training_image_and_trains_like_a_run():
    trial, whole = load_data(runs.plan_of(settings(held_out=True))), data.load("digits")
    assert torch.equal(trial.test_images, whole.train_images[4::5])
    assert len(trial.train_images) + len(trial.test_images) == len(whole.train_images)
    made = replace(whole, augment=data.Augment(pad=2, flip=True))
    assert held_out(made).augment == made.augment


def test_a_task_that_goes_on_does_not_mind_how_its_folder_is_written(tmp_path, monkeypatch):
    begun = runs.trained(settings(epochs=2, held_out=True), tmp_path / "work")
    next(begun)
    begun.close()
    monkeypatch.chdir(tmp_path)
    assert [row["final"] for row in runs.trained(settings(epochs=2, held_out=True), Path("work"))][-1]


def test_the_last_row_is_final(tmp_path):
    rows = list(runs.trained(settings(epochs=2), tmp_path))
    assert [row["final"] for row in rows] == [False, True] and 0 <= rows[1]["test_accuracy"] <= 100


def test_a_float_run_tells_what_it_is_worth_untrained_and_a_float_trial_does_not(tmp_path):
    about = {"bits": "float", "method": "float"}
    rows = list(runs.trained(settings(**about), tmp_path / "run"))
    assert [row.get("bits") for row in rows if row["what"] == "ptq"] == list(BITS)
    rows = list(runs.trained(settings(**about, held_out=True), tmp_path / "trial"))
    assert [row["what"] for row in rows] == ["epoch"]


def test_a_training_that_fails_ends_in_one_row_and_without_a_result(tmp_path, monkeypatch):
    def failing(plan, folder):
        yield {"epoch": 1, "test_accuracy": 50.0}
        raise NonFinite("The loss is nan", 2, 0, Origin("", ""), "")

    monkeypatch.setattr("coarsegrad.train.loop.train", failing)
    rows = list(runs.trained(settings(bits="float", method="float", epochs=2), tmp_path))
    assert [row["what"] for row in rows] == ["epoch", "failed"] and "The loss is nan" in rows[1]["reason"]


def test_every_cell_is_run_as_its_best_trial_says(smoke, tmp_path):
    trials = {(row["bits"], row["method"]): row["lr"] for row in smoke["trial"]}
    ran = {(row["bits"], row["method"]): row["lr"] for row in smoke["run"] if row["what"] == "epoch"}
    assert ran == trials and len(ran) == 15
    assert {row["seed"] for row in smoke["trial"]} == {1001} and {row["seed"] for row in smoke["run"]} == {70}


def test_runs_are_planned_when_all_trials_are_there(tmp_path):
    folder = Path(tmp_path)
    told = run(STUDY, "smoke", folder)
    assert next(told)["total"] == 15 and set(results(STUDY, "smoke", folder)) == {"trial"}
    told.close()
    assert len(STUDY.planned("smoke", {}, table_of(folder))) == 15
