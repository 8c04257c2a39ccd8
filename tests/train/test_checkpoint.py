import errno
import json
import os
import pickle
import resource
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coarsegrad.train import checkpoint
from coarsegrad.train.checkpoint import (
    FORMAT,
    CheckpointError,
    RunFolder,
    packed,
    read_weights,
    replacing,
    unpacked,
)
from coarsegrad.train.plan import TrainPlan

PLAN = TrainPlan()


def state(number, plan=PLAN, size=3):
    weights = {"w": torch.full((size,), float(number))}
    return {
        "format": FORMAT,
        "plan": plan.values(),
        "model": weights,
        "rows": [{"epoch": i + 1} for i in range(number)],
    }


@pytest.fixture
def files(tmp_path):
    files = RunFolder(tmp_path / "run")
    assert files.open(PLAN, resume=True) is None
    return files


def written(files):
    return {p.name: p.read_bytes() for p in files.path.iterdir()}


def test_a_run_folder_holds_the_configuration_the_versions_and_the_command(files):
    assert TrainPlan.read(files.path / "plan.toml") == PLAN
    assert (files.path / "command.txt").read_text() == "coarsegrad train --config plan.toml\n"
    found = json.loads((files.path / "versions.json").read_text())
    assert (
        found["torch"] == torch.__version__ and found["seed"] == PLAN.seed and found["plan_id"] == PLAN.id()
    )


def test_the_last_two_checkpoints_are_kept(files):
    for number in (1, 2, 3):
        files.save(state(number))
    assert files.load()["rows"][-1] == {"epoch": 3}
    assert unpacked(files.previous.read_bytes(), files.previous)["rows"][-1] == {"epoch": 2}


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(files, damage):
    files.save(state(1))
    files.save(state(2))
    content = files.last.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    spoilt = {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "flipped": bytes(flipped),
        "foreign": b"PK not ours",
    }
    files.last.write_bytes(spoilt[damage])
    with pytest.warns(
        UserWarning, match=r"checkpoint\.pt is (cut short|damaged).*continuing from checkpoint\.previous\.pt"
    ):
        assert files.load(PLAN)["rows"] == [{"epoch": 1}]


def test_two_damaged_checkpoints_are_an_error_that_names_the_mend(files):
    files.save(state(1))
    files.save(state(2))
    files.last.write_bytes(b"")
    files.previous.write_bytes(b"")
    before = written(files)
    with pytest.raises(CheckpointError, match="start over with resume=False"):
        files.open(PLAN, resume=True)
    assert written(files) == before


def test_every_single_byte_of_a_checkpoint_is_guarded():
    content = packed(state(1))
    for place in range(0, len(content), 7):
        wrong = bytearray(content)
        wrong[place] ^= 0x20
        with pytest.raises(CheckpointError):
            unpacked(bytes(wrong), Path("x"))


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/coarsegrad-was-here",))


def test_nothing_in_a_checkpoint_can_run(tmp_path):
    content = packed({**state(1), "extra": Evil()})
    with pytest.raises(CheckpointError, match="more than tensors, numbers and text"):
        unpacked(content, tmp_path / "x")
    for name, blob in {"w.pt": content, "p.pt": pickle.dumps(Evil())}.items():
        (tmp_path / name).write_bytes(blob)
        with pytest.raises(ValueError, match="damaged, or holds more than a state dict"):
            read_weights(tmp_path / name)
    assert not os.path.exists("/tmp/coarsegrad-was-here")


def test_another_plan_is_refused_by_what_differs_and_nothing_is_touched(files):
    files.save(state(1))
    before = written(files)
    other = replace(PLAN, recipe="w4a4", lr=0.1)
    with pytest.raises(
        CheckpointError, match=r"another plan \(recipe='w2a2' there, 'w4a4' here; lr=0.05 there, 0.1 here\)"
    ):
        files.open(other, resume=True)
    assert written(files) == before


def test_another_plan_is_refused_also_before_the_first_checkpoint(files):
    with pytest.raises(CheckpointError, match="another plan"):
        files.open(replace(PLAN, seed=1), resume=True)


def test_another_place_is_the_same_plan(files):
    files.save(state(1))
    assert files.open(replace(PLAN, data_folder="elsewhere"), resume=True) is not None


def test_starting_over_removes_the_old_run(files):
    files.save(state(1))
    assert files.open(replace(PLAN, seed=1), resume=False) is None
    assert not files.last.exists()
    assert TrainPlan.read(files.path / "plan.toml").seed == 1


def test_rows_after_a_kill_are_those_of_the_checkpoint(files):
    files.save(state(2))
    (files.path / "rows.jsonl").write_text('{"epoch": 1}\n{"epo')
    (files.path / ".checkpoint.pt.abc.part").write_bytes(b"half")
    files.open(PLAN, resume=True)
    assert (files.path / "rows.jsonl").read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
    assert not list(files.path.glob(".*"))


@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_clear_error_and_the_earlier_checkpoint_stays(files, monkeypatch, call, error):
    files.save(state(1))
    files.save(state(2))
    before = written(files)

    def full(*args, **kwargs):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(checkpoint.os, call, full)
    if call == "link":
        monkeypatch.setattr(checkpoint.os, "replace", full)
    with pytest.raises(
        OSError, match=r"checkpoint\.pt in .* could not be written; make room and run again"
    ) as raised:
        files.save(state(3))
    assert raised.value.errno == error
    assert written(files) == before


def test_a_real_limit_on_file_size_is_met_the_same_way(files):
    import signal

    files.save(state(1))
    before = written(files)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(OSError, match="make room and run again"):
            files.save(state(2, size=200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, was)
    assert written(files) == before


def test_a_file_system_without_links_still_keeps_both(files, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(checkpoint.os, "link", refuse)
    files.save(state(1))
    files.save(state(2))
    assert files.load()["rows"][-1] == {"epoch": 2}
    assert len(unpacked(files.previous.read_bytes(), files.previous)["rows"]) == 1


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def interrupted():
        with replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_weights_are_read_from_torch_files_safetensors_and_checkpoints(tmp_path, files):
    safetensors = pytest.importorskip(
        "safetensors.torch", reason="needs safetensors: pip install safetensors"
    )
    weights = {
        "a": torch.randn(2, 3),
        "b": torch.arange(4),
        "c": torch.randn(3).bfloat16(),
        "d": torch.tensor(True),
    }
    torch.save(weights, tmp_path / "a.pt")
    safetensors.save_file(weights, tmp_path / "a.safetensors", metadata={"from": "elsewhere"})
    files.save({**state(1), "model": weights})
    for path in (tmp_path / "a.pt", tmp_path / "a.safetensors", files.last):
        found = read_weights(path)
        assert found.keys() == weights.keys()
        for name, value in weights.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 62) + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}       ' + b"1234",
        struct.pack("<Q", 61) + b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}      ' + b"1234",
        struct.pack("<Q", 61) + b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}       ' + b"1234",
    ],
)
def test_a_broken_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="no whole safetensors file"):
        read_weights(tmp_path / "a.safetensors")


def test_a_file_of_something_else_is_no_weights(tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_weights(tmp_path / "a.pt")
