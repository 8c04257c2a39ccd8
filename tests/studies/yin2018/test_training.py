"""Networks, tiny: what is shared by the arms of a seed, and what is not."""

import pytest

from coarsegrad.studies.yin2018 import STUDY, training

TINY = {
    "data": "digits", "model": "mlp(widths=(8,))", "batch_size": 256, "lr": 0.05, "momentum": 0.9,
    "weight_decay": 0.0, "epochs": 2, "pretrain_epochs": 1, "schedule": "constant", "seed": 3,
    "recipe": "w1a4", "first": "w1a8", "last": None, "data_folder": None,
    "arms": (training.BINARY_CONNECT, "", "blend(rho=0.0)", training.HEAVY),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny") / "task"
    first = list(training.networks(TINY, place))
    assert list(training.networks(TINY, place)) == first  # goes on from what stands there
    return first


def by_arm(found, arm):
    return [{k: v for k, v in row.items() if k != "arm"} for row in found if row["arm"] == arm]


def test_every_arm_has_a_row_per_epoch_and_the_float_model_one(found):
    assert [row["epoch"] for row in by_arm(found, training.HEAVY)] == [1, 2]
    assert [row["epoch"] for row in by_arm(found, "float")] == [2]


def test_blending_of_weight_0_is_no_blending_and_a_large_one_is_another_run(found):
    assert by_arm(found, "") == by_arm(found, "blend(rho=0.0)")
    assert by_arm(found, "")[-1]["train_loss"] != by_arm(found, training.HEAVY)[-1]["train_loss"]


def test_binary_connect_keeps_latents_within_1(found):
    assert by_arm(found, training.BINARY_CONNECT)[-1]["largest"] <= 1


def test_arms_are_written_as_the_library_reads_them():
    from coarsegrad.train.plan import TrainPlan

    for arm in training.ARMS:
        assert len(TrainPlan(recipe="w1a4", latent=(arm,) if arm else ()).read_latent()) == bool(arm)


def test_gaps_are_paired_and_ask_for_two_seeds():
    rows = [
        {"arm": arm, "seed": seed, "schedule": "constant", "epoch": epoch, "epochs": 2, "flips": value + seed}
        for arm, value in (("a", 5.0), ("b", 1.0)) for seed in (1, 2) for epoch in (1, 2)
    ]  # fmt: skip
    value = training.gap("digits", "flips", "a", "b", left=1)({"digits": rows})
    assert (value.estimate, value.low, value.high) == (4, 4, 4)
    assert training.gap("digits", "flips", "a", "b")({"digits": rows[:2] + rows[4:6]}) is None
    assert training.gap("digits", "flips", "a", "b", schedule="cosine")({"digits": rows}) is None
    assert training.gap("digits", "flips", "a", "c")({}) is None


def test_the_paper_preset_trains_resnet20_and_asks_for_its_data(tmp_path):
    with pytest.raises(ValueError, match="--data-folder FOLDER, one with the files of CIFAR-10"):
        STUDY.planned("paper")
    tasks = [
        task for task in STUDY.planned("paper", {"data_folder": str(tmp_path)}) if task.kind == "resnet20"
    ]
    assert len(tasks) == 3 and {task.settings["model"] for task in tasks} == {"resnet20"}
    assert not [task for task in STUDY.planned("quick") if task.kind == "resnet20"]


def test_arms_share_seeds_over_schedules_and_smoke_has_its_own():
    seeds = {
        preset: {
            schedule: {t.settings["seed"] for t in STUDY.planned(preset)
                       if t.kind == "digits" and t.settings["schedule"] == schedule}
            for schedule in training.SCHEDULES
        } for preset in ("smoke", "quick")
    }  # fmt: skip
    assert seeds["quick"]["constant"] == seeds["quick"]["cosine"] and len(seeds["quick"]["cosine"]) == 12
    assert seeds["smoke"]["constant"].isdisjoint(seeds["quick"]["constant"])
