import pytest
import torch

from coarsegrad.optim import Freeze, Induce, Watch
from coarsegrad.studies.nagel2022 import STUDY, toy, training
from coarsegrad.train.plan import TrainPlan


def test_presets_plan_what_they_say(tmp_path):
    kinds = {"exact", "twins", "methods", "large", "pushed", "trace", "network"}
    planned = {p: STUDY.planned(p, {"data_folder": str(tmp_path)}) for p in STUDY.presets}
    assert all({task.kind for task in tasks} == kinds for tasks in planned.values())
    networks = {p: [t for t in tasks if t.kind == "network"] for p, tasks in planned.items()}
    assert {p: {t.settings["data"] for t in tasks} for p, tasks in networks.items()} == {
        "smoke": {"digits"}, "quick": {"digits"}, "paper": {"fashion_mnist"},
    }  # fmt: skip
    assert {t.where["data_folder"] for t in networks["quick"]} == {None}
    with pytest.raises(ValueError, match="Fashion-MNIST"):
        STUDY.planned("paper")


def test_every_arm_was_watched_and_tested_at_every_bits(smoke):
    rows = smoke["network"]
    tested = {}
    for row in rows:
        if row["what"] == "accuracy":
            tested.setdefault(row["arm"], []).append(row["tested"])
            assert 0 <= row["stale"] <= 100 and 0 <= row["fresh"] <= 100
    assert tested.pop(training.AVERAGING) == [3]
    assert {arm: sorted(bits) for arm, bits in tested.items()} == {arm: [2, 3, 32] for arm in training.ARMS}
    watched = {row["arm"]: row for row in rows if row["what"] == "watched"}
    assert set(watched) == set(training.ARMS)
    assert all(row["frozen"] == 0 for arm, row in watched.items() if arm != "freezing")
    assert all("apart_depth" in row for arm, row in watched.items() if arm not in training.TRAINED_FLOAT)


def test_a_killed_task_goes_on_with_what_was_trained(tmp_path):
    (task,) = [task for task in STUDY.planned("smoke") if task.kind == "network"]
    settings = {**task.settings, **task.where}
    first = list(training.network(settings, tmp_path))
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.pt")}
    assert len(made) == 1 + len(training.ARMS)
    assert list(training.network(settings, tmp_path)) == first
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_rules_are_annealed_over_all_steps_and_watched_over_the_last(tmp_path):
    plan = TrainPlan(model="dscnn(width=4,blocks=1)", recipe="w3a32", epochs=6, batch_size=100)
    freeze, watch = training._with(plan, training.ARMS["freezing"], 2).read_latent()
    assert freeze == Freeze(threshold=0.011, initial=0.1, end=90)  # 1442 images: 15 steps an epoch
    assert watch == Watch(start=60)
    rule, _ = training._with(plan, training.ARMS["induced float"], 2).read_latent()
    assert rule == Induce()


def test_statistics_are_as_far_apart_as_two_normals():
    stale = {
        "bn1_depth.running_mean": torch.tensor([0.0, 1.0]),
        "bn1_depth.running_var": torch.tensor([1.0, 4.0]),
    }
    fresh = {
        "bn1_depth.running_mean": torch.tensor([0.5, 1.0]),
        "bn1_depth.running_var": torch.tensor([1.0, 1.0]),
    }
    other = {key.replace("depth", "point"): value for key, value in stale.items()}
    found = training._apart({**stale, **other}, {**fresh, **other})
    normals = [torch.distributions.Normal(m, (v + 1e-5).sqrt()) for m, v in (fresh.values(), stale.values())]
    assert found["apart_depth"] == pytest.approx(float(torch.distributions.kl_divergence(*normals).mean()))
    assert found["apart_point"] == 0


def test_a_channel_without_variance_is_a_finite_way_apart():
    stale = {f"bn1_{kind}.running_{what}": torch.zeros(2) for kind in ("depth", "point")
             for what in ("mean", "var")}  # fmt: skip
    fresh = {key: value + 0.1 for key, value in stale.items()}
    found = training._apart(stale, fresh)
    assert 0 < found["apart_depth"] < 1e5 and training._apart(fresh, stale)["apart_point"] > 0


def test_what_decides_the_rows_is_in_the_settings():
    (task,) = [task for task in STUDY.planned("smoke") if task.kind == "network"]
    assert dict(task.settings["arms"]) == training.ARMS
    assert {"voting_epochs", "oscillates_above", "bn_batches"} <= task.settings.keys()
    for task in STUDY.planned("smoke"):
        if task.kind == "methods":
            assert toy.METHODS[task.settings["method"]].items() <= task.settings.items()


def test_shares_of_oscillating_weights_are_of_all_and_by_kind():
    memory = {
        "depth1.weight": {"frequency": torch.tensor([0.0, 0.01])},
        "point1.weight": {"frequency": torch.tensor([0.004, 0.0, 0.02, 0.02, 0.02, 0.02])},
    }
    found = training._oscillating(memory, 0.005)
    assert found == {"oscillating": 5 / 8, "oscillating_depth": 1 / 2, "oscillating_point": 4 / 6}
