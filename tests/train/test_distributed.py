"""Two processes with the same global batch: what a single one does, up to the order of sums."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from coarsegrad.train.checkpoint import RunFolder
from coarsegrad.train.distributed import Ranks, joined
from coarsegrad.train.loop import train
from coarsegrad.train.plan import TrainPlan

torch.set_num_threads(1)
# Batch norm that stays as it starts, the identity with a trained gain and offset: no statistics of a batch.
PLAN = TrainPlan(model="mlp(widths=(32,32))", batch_norm="frozen", epochs=2, batch_size=128, lr=0.02)
PROGRAM = """
import json, sys, torch
torch.set_num_threads(1)
from coarsegrad.train.loop import train
from coarsegrad.train.plan import TrainPlan
rows = list(train(TrainPlan.read(sys.argv[1]), sys.argv[2]))
print(json.dumps(rows), flush=True)
"""


def together(plan, folder, world=2):
    """Run the plan in ``world`` processes as torchrun starts them; what each printed."""
    folder.mkdir(exist_ok=True)
    (folder / "plan.toml").write_text(plan.write())
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    source = str(Path(__file__).parents[2] / "src")
    shared = {**os.environ, "PYTHONPATH": source, "WORLD_SIZE": str(world), "MASTER_ADDR": "localhost"}
    command = [sys.executable, "-c", PROGRAM, str(folder / "plan.toml"), str(folder / "run")]
    processes = []
    for rank in range(world):
        own = {**shared, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        processes.append(
            subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [p.returncode for p in processes] == [0] * world, outputs[0][1] + outputs[1][1]
    return [out for out, _ in outputs]


def difference(a, b):
    a, b = (RunFolder(Path(folder)).load()["model"] for folder in (a, b))
    assert a.keys() == b.keys()
    return max((a[k].double() - b[k].double()).abs().max().item() for k in a if a[k].is_floating_point())


@pytest.mark.parametrize("name", ["cuda:99", "gpu"])
def test_a_device_that_is_not_here_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"device '{name}' cannot be used here: .*torch"), joined(name):
        pass


def test_alone_nothing_is_started():
    with joined("cpu") as ranks:
        assert ranks == Ranks() and ranks.first
        assert ranks.share("x") == "x" and ranks.all(True) and not ranks.all(False)
        model = torch.nn.Linear(1, 1)
        assert ranks.wrap(model) is model
    assert not dist.is_initialized()


SLOW = [pytest.param(recipe, marks=pytest.mark.slow) for recipe in (None, "w1a2")]


@pytest.mark.parametrize("recipe", ["w2a2", *SLOW])
def test_two_processes_train_as_one_without_batch_statistics(recipe, tmp_path):
    # Few steps where quantized: an activation within rounding of a threshold ends the agreement some day.
    plan = replace(PLAN, recipe=recipe, epochs=1, batch_size=361) if recipe else PLAN
    one = list(train(plan, tmp_path / "one"))
    first, second = map(json.loads, together(plan, tmp_path / "two"))
    for rows in zip(one, first, second, strict=True):
        assert len({row["test_accuracy"] for row in rows}) == 1
        assert rows[1]["train_loss"] == rows[2]["train_loss"]
        assert rows[1]["train_loss"] == pytest.approx(rows[0]["train_loss"], rel=1e-4)
    assert difference(tmp_path / "one", tmp_path / "two" / "run") < 1e-5


@pytest.mark.slow
def test_two_processes_are_deterministic_and_write_once(tmp_path):
    together(PLAN, tmp_path / "a")
    together(PLAN, tmp_path / "b")
    assert difference(tmp_path / "a" / "run", tmp_path / "b" / "run") == 0
    command = (tmp_path / "a" / "run" / "command.txt").read_text()
    assert command == "torchrun --nproc-per-node 2 -m coarsegrad train --config plan.toml\n"
    assert len((tmp_path / "a" / "run" / "rows.jsonl").read_text().splitlines()) == PLAN.epochs


@pytest.mark.slow
def test_two_processes_continue_what_one_began(tmp_path):
    list(train(PLAN, tmp_path / "one"))
    halves = train(PLAN, tmp_path / "two" / "run")
    next(halves)
    halves.close()
    together(PLAN, tmp_path / "two")
    assert difference(tmp_path / "one", tmp_path / "two" / "run") < 1e-5


@pytest.mark.slow
def test_batch_norm_over_halves_of_a_batch_learns_alike(tmp_path):
    plan = TrainPlan(model="lenet5", epochs=2, batch_size=128)
    one = list(train(plan, tmp_path / "one"))
    together(plan, tmp_path / "two")
    two = RunFolder(tmp_path / "two" / "run").load()["rows"]
    assert two[-1]["test_accuracy"] == pytest.approx(one[-1]["test_accuracy"], abs=2)
    assert difference(tmp_path / "one", tmp_path / "two" / "run") > 1e-4
