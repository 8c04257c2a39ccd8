"""The loop from outside: what it yields, what it leaves behind, what a kill does to it."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coarsegrad.train import loop
from coarsegrad.train.build import load_data
from coarsegrad.train.checkpoint import CheckpointError, RunFolder
from coarsegrad.train.health import NonFinite
from coarsegrad.train.loop import build, evaluate, load_run, train
from coarsegrad.train.plan import TrainPlan

torch.set_num_threads(1)
SMALL = TrainPlan(model="mlp(widths=(16,16))", recipe="w1a2", epochs=3, batch_size=256)
TIMES = ("seconds", "samples_per_second")


def weights(folder):
    return RunFolder(Path(folder)).load()["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def timeless(rows):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def test_a_row_is_flat_and_says_what_the_epoch_did():
    row = list(train(SMALL))[-1]
    assert row["phase"] == "quantized" and row["epoch"] == 3
    numbers = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", *TIMES, "flips")
    assert all(isinstance(row[name], float) for name in numbers)
    assert {k for k in row if k.startswith("flips/")} == {"flips/fc1", "flips/fc2", "flips/fc"}
    assert row["flips"] == pytest.approx(sum(row[f"flips/{n}"] for n in ("fc1", "fc2", "fc")) / 3)
    assert 0 <= row["flips"] <= 1 and 0 <= row["test_accuracy"] <= 100
    json.dumps(row)


def test_a_float_run_has_no_flips():
    (row,) = train(replace(SMALL, recipe=None, epochs=1))
    assert row["phase"] == "float" and not any(k.startswith("flips") for k in row)


@pytest.mark.parametrize("recipe", [None, "w2a2"])
def test_digits_are_learned(recipe):
    *_, row = train(TrainPlan(recipe=recipe, epochs=3))
    assert row["test_accuracy"] > 95


VARIANTS = {
    "stochastic": {"recipe": "recipe(bits=bits(weight=uniform(bits=2,rounding='stochastic')))"},
    "scheduled": {"activation_surrogate": "ede", "weight_surrogate": "ede"},
    "rules": {"latent": ("clip", "freeze(threshold=0.1)"), "optimizer": "adam", "lr": 0.01},
    "relaxed": {"latent": ("binary_relax(switch=10)",)},
    "bop": {"latent": ("bop(threshold=1e-6,lr=0.01)",)},
    "pretrained": {"pretrain_epochs": 1, "latent": ("clip",)},
    "clipped": {"grad_clip": 0.5, "warmup": 1.0, "schedule": "step(epochs=(2,))"},
    "half": {"amp": True},
    "frozen": {"batch_norm": "frozen", "lr": 0.01},
    "relus": {"activations": "relus"},
    "reestimated": {"reestimate_bn": True},
    "float": {"recipe": None},
    "lion": {"optimizer": "lion", "lr": 1e-3, "latent": ("clip",)},
    "muon": {"optimizer": "muon", "lr": 1e-3, "pretrain_epochs": 1},
    "muon rules": {"optimizer": "muon", "lr": 1e-3, "latent": ("clip", "dampen(strength=0.1)")},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_plan_gives_the_same_weights_and_an_interruption_changes_nothing(name, tmp_path):
    plan = replace(SMALL, **VARIANTS[name])
    rows = list(train(plan, tmp_path / "whole"))
    torch.manual_seed(99)  # what goes on outside has no influence
    halves = train(plan, tmp_path / "halves")
    first = next(halves)
    halves.close()
    torch.randn(3)
    again = list(train(plan, tmp_path / "halves"))
    assert again[0] == first
    assert timeless(again) == timeless(rows)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "halves"))
    assert list(train(plan, tmp_path / "whole")) == rows  # a finished run only reports


def test_another_seed_gives_other_weights(tmp_path):
    for seed in (0, 1):
        list(train(replace(SMALL, seed=seed, epochs=1), tmp_path / str(seed)))
    assert not same(weights(tmp_path / "0"), weights(tmp_path / "1"))


def test_two_runs_side_by_side_do_not_touch_each_other(tmp_path):
    plans = [replace(SMALL, **VARIANTS[name]) for name in ("stochastic", "scheduled")]
    for plan in plans:
        list(train(plan, tmp_path / plan.id()))
    for _ in zip(*(train(plan, tmp_path / f"both{plan.id()}") for plan in plans), strict=True):
        pass
    assert all(same(weights(tmp_path / plan.id()), weights(tmp_path / f"both{plan.id()}")) for plan in plans)


def test_nothing_global_is_changed():
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    list(train(replace(SMALL, epochs=1)))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())


def test_pretraining_comes_first_and_carries_over():
    rows = list(train(replace(SMALL, pretrain_epochs=2)))
    assert [r["phase"] for r in rows] == ["float"] * 2 + ["quantized"] * 3
    assert [r["epoch"] for r in rows] == [1, 2, 3, 4, 5]
    assert [r["lr"] for r in rows] == pytest.approx([0.05, 0.025, 0.05, 0.0375, 0.0125])
    untrained = next(train(SMALL))
    assert rows[2]["train_loss"] < untrained["train_loss"]


def test_a_start_file_is_the_float_phase_of_another_run(tmp_path):
    list(train(replace(SMALL, recipe=None), tmp_path / "float"))
    plan = replace(SMALL, start=str(tmp_path / "float" / "checkpoint.pt"))
    assert next(train(plan))["train_loss"] < next(train(SMALL))["train_loss"]


def test_a_teacher_is_listened_to(tmp_path):
    list(train(replace(SMALL, recipe=None), tmp_path / "teacher"))
    plan = replace(SMALL, teacher=str(tmp_path / "teacher"))
    rows = list(train(plan, tmp_path / "student"))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert load_run(tmp_path / "student")[0].teacher == plan.teacher


def test_frozen_batch_norm_keeps_its_statistics(tmp_path):
    list(train(replace(SMALL, batch_norm="frozen", lr=0.01, epochs=1), tmp_path))
    assert torch.equal(weights(tmp_path)["bn1.running_mean"], torch.zeros(16))


def test_reestimated_statistics_are_those_of_the_final_weights(tmp_path):
    list(train(SMALL, tmp_path / "a"))
    list(train(replace(SMALL, reestimate_bn=True), tmp_path / "b"))
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    changed = {k for k in a if not torch.equal(a[k], b[k])}
    assert changed and all("running" in k or "num_batches" in k for k in changed)


def test_a_last_batch_of_one_image_is_left_out():
    count = len(load_data(SMALL).train_images)
    assert list(train(replace(SMALL, epochs=1, batch_size=count - 1)))


def test_a_model_from_the_run_evaluates_as_the_last_row_said(tmp_path):
    rows = list(train(replace(SMALL, latent=("parq(end=100)",)), tmp_path))
    _, model, _ = load_run(tmp_path)
    _, data = build(SMALL)
    assert evaluate(model, data.test_batches().epoch(0))["accuracy"] == rows[-1]["test_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["w2a2", "w1a2"])
def test_a_compiled_run_learns_what_an_eager_one_does(recipe, cxx, tmp_path):
    plan = replace(SMALL, recipe=recipe)
    rows, compiled = list(train(plan)), list(train(replace(plan, compile=True), tmp_path))
    assert compiled[-1]["train_loss"] == pytest.approx(rows[-1]["train_loss"], rel=0.05)
    assert not any("_orig_mod" in key for key in weights(tmp_path))
    load_run(tmp_path)


# What goes wrong.


@pytest.mark.parametrize("recipe", [None, "w1a2"])
def test_a_run_that_diverges_stops_with_the_place_and_keeps_what_was_good(recipe, tmp_path):
    plan = replace(SMALL, recipe=recipe, optimizer="sgd", momentum=0.0)
    halves = train(plan, tmp_path)
    next(halves)
    good = weights(tmp_path)
    halves.close()
    files = RunFolder(tmp_path)
    state = files.load()
    key = "fc2.weight" if recipe is None else "fc2.parametrizations.weight.original"
    state["optimizer"]["param_groups"][0]["initial_lr"] = 1e38
    files.save(state)
    with pytest.raises(NonFinite, match=r"epoch 2, step \d+.*What was saved after epoch 1 is kept") as raised:
        list(train(plan, tmp_path))
    assert raised.value.epoch == 2
    assert raised.value.origin.layer in ("fc1", "fc2", "bn1", "bn2", "fc")
    assert torch.equal(weights(tmp_path)[key], good[key])
    assert len(RunFolder(tmp_path).load()["rows"]) == 1


def test_a_bad_image_is_found_in_the_data(monkeypatch):
    data = load_data(SMALL)
    data.train_images[7, 0, 0, 0] = math.inf
    monkeypatch.setattr("coarsegrad.train.run.load_data", lambda plan: data)
    monkeypatch.setattr(type(data), "to", lambda data, device: data)
    with pytest.raises(NonFinite, match="First not finite: the input batch"):
        list(train(replace(SMALL, recipe=None)))


def test_ctrl_c_in_an_epoch_leaves_a_run_that_goes_on(tmp_path, monkeypatch):
    list(train(SMALL, tmp_path / "whole"))
    rows, counted = train(SMALL, tmp_path / "broken"), loop.counted
    next(rows)

    def interrupt(*args):
        monkeypatch.setattr(loop, "counted", counted)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "counted", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(rows)
    assert len(list(train(SMALL, tmp_path / "broken"))) == 3
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_a_full_disk_stops_the_run_and_it_goes_on_later(tmp_path, monkeypatch):
    list(train(SMALL, tmp_path / "whole"))
    rows = train(SMALL, tmp_path / "full")
    next(rows)
    with monkeypatch.context() as broken:
        broken.setattr("coarsegrad.train.checkpoint.os.fsync", _no_space)
        with pytest.raises(OSError, match="make room and run again"):
            next(rows)
    assert len((tmp_path / "full" / "rows.jsonl").read_text().splitlines()) == 1
    assert len(list(train(SMALL, tmp_path / "full"))) == 3
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "full"))


def _no_space(handle):
    raise OSError(28, "No space left on device")


def test_a_torn_checkpoint_costs_an_epoch_and_changes_nothing(tmp_path):
    list(train(SMALL, tmp_path / "whole"))
    list(train(SMALL, tmp_path / "torn"))
    file = tmp_path / "torn" / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="cut short"):
        rows = list(train(SMALL, tmp_path / "torn"))
    assert len(rows) == 3
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "torn"))


def test_the_run_of_another_recipe_is_refused_untouched(tmp_path):
    list(train(SMALL, tmp_path))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="'w1a2' there, 'w4a4' here"):
        list(train(replace(SMALL, recipe="w4a4"), tmp_path))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


KILLED = """
import os, signal, sys, types, torch
torch.set_num_threads(1)
from coarsegrad.train import checkpoint, loop
from coarsegrad.train.plan import TrainPlan

where, count, folder, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])

def deadly(call):
    def wrapped(*args, **kwargs):
        global count
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return wrapped

checkpoint.os = types.SimpleNamespace(**vars(os))  # its calls alone are counted
module = loop if hasattr(loop, where) else checkpoint if where == "packed" else checkpoint.os
setattr(module, where, deadly(getattr(module, where)))
plan = TrainPlan.read(os.path.join(os.path.dirname(folder), "plan.toml"))
for row in loop.train(plan, folder, checkpoint_seconds=None if seconds < 0 else seconds):
    print(row["epoch"], flush=True)
"""
# In a run of 3 epochs of 6 steps: between epochs, in the middle of one, and at every act of writing.
KILLS = [("one_epoch", 2), ("counted", 9), ("packed", 2)]
KILLS += (
    [("fsync", n) for n in range(10, 16)] + [("replace", n) for n in range(4, 9)] + [("link", 1), ("link", 2)]
)


def killed(folder, where, count, seconds=-1.0):
    command = [sys.executable, "-c", KILLED, where, str(count), str(folder), str(seconds)]
    source = str(Path(loop.__file__).parents[2])
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": source}
    )


@pytest.mark.parametrize(("where", "count"), [KILLS[1], ("replace", 6)])
def test_after_kill_9_the_run_ends_with_the_same_weights(where, count, tmp_path):
    plan = replace(SMALL, latent=("clip",), optimizer="adam", lr=0.01)
    (tmp_path / "plan.toml").write_text(plan.write())
    list(train(plan, tmp_path / "whole"))
    assert killed(tmp_path / "killed", where, count).returncode == -signal.SIGKILL
    rows = list(train(plan, tmp_path / "killed"))
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    lines = (tmp_path / "killed" / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [-1.0, 0.0])
@pytest.mark.parametrize(("where", "count"), KILLS)
def test_after_kill_9_at_any_moment_the_run_ends_with_the_same_weights(where, count, seconds, tmp_path):
    plan = replace(SMALL, **VARIANTS["stochastic"])
    (tmp_path / "plan.toml").write_text(plan.write())
    list(train(plan, tmp_path / "whole"))
    assert killed(tmp_path / "killed", where, count, seconds).returncode == -signal.SIGKILL
    rows = list(train(plan, tmp_path / "killed"))
    assert timeless(rows) == timeless(RunFolder(tmp_path / "whole").load()["rows"])
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_a_checkpoint_within_an_epoch_is_continued_from_its_step(tmp_path, monkeypatch):
    plan = replace(SMALL, **VARIANTS["stochastic"], epochs=1)
    whole = list(train(plan, tmp_path / "whole"))
    done, counted = [], loop.counted

    def watch(*args):
        done.append(1)
        if len(done) == 4:
            raise KeyboardInterrupt
        return counted(*args)

    monkeypatch.setattr(loop, "counted", watch)
    with pytest.raises(KeyboardInterrupt):
        list(train(plan, tmp_path / "parts", checkpoint_seconds=0))
    assert RunFolder(tmp_path / "parts").load()["middle"]["step"] == 3
    rows = list(train(plan, tmp_path / "parts"))
    assert len(done) == 4 + 3
    assert timeless(rows) == timeless(whole)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
