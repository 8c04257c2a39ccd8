"""Processes of the pool: their rows, their end."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coarsegrad.train.compare import Comparison
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.pool import side_by_side


def count(top):
    for number in range(top):
        yield {"number": number, "process": os.getpid()}
    if top == 5:
        raise ZeroDivisionError("five")


def forever(piece):
    while True:
        time.sleep(0.01)
        yield {"process": os.getpid()}


def test_rows_of_a_piece_come_in_order_and_then_its_end():
    pieces = [3, 0, 4, 1]
    found = list(side_by_side(count, pieces, 2))
    for index, top in enumerate(pieces):
        rows = [row for i, row, _ in found if i == index]
        assert rows.pop() is None
        assert [row["number"] for row in rows] == list(range(top))
    processes = {row["process"] for _, row, _ in found if row}
    assert len(processes) <= 2 and os.getpid() not in processes


def test_what_the_work_raises_is_raised_here():
    with pytest.raises(ZeroDivisionError, match="five"):
        list(side_by_side(count, [1, 5], 2))


class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def fails(piece):
    yield {"piece": piece}
    if piece == "odd":
        raise Odd(1, 2)
    if piece == "exit":
        sys.exit(3)


@pytest.mark.parametrize(("piece", "says"), [("odd", "Odd: 1 and 2"), ("exit", "SystemExit: 3")])
def test_what_cannot_be_sent_is_said_in_words(piece, says):
    with pytest.raises(RuntimeError, match=says) as caught:
        list(side_by_side(fails, [piece, "fine"], 2))
    assert "in a process of its own" in caught.value.__notes__[0] and "fails" in caught.value.__notes__[0]


@pytest.mark.parametrize(("work", "pieces"), [(lambda piece: [], [1, 2]), (count, [lambda: 0, 1])])
def test_what_cannot_be_pickled_is_raised_and_nothing_hangs(work, pieces):
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        list(side_by_side(work, pieces, 2))


def killed_early(piece):
    os.kill(os.getpid(), signal.SIGKILL)
    yield {}


def test_a_process_that_dies_before_its_first_row_is_said():
    with pytest.raises(ChildProcessError, match="was killed; if memory was short"):
        list(side_by_side(killed_early, [0, 1], 2))


def test_a_process_that_dies_between_pieces_is_said():
    going = side_by_side(count, [1, 1, 1, 1, 1], 2)
    process = next(row["process"] for _, row, _ in going if row)
    for _, row, _ in going:
        if row is None:
            os.kill(process, signal.SIGKILL)
            break
    with pytest.raises(ChildProcessError, match="was killed"):
        list(going)


def test_processes_end_when_the_caller_stops_asking():
    going = side_by_side(forever, [0, 1, 2], 2)
    process = next(going)[1]["process"]
    going.close()
    assert not alive(process)


def test_a_process_that_is_killed_is_said():
    going = side_by_side(forever, [0, 1], 2)
    os.kill(next(going)[1]["process"], signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="fewer --jobs"):
        list(going)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_is_stopped_takes_its_processes_along(tmp_path, how):
    base = TrainPlan(data="gaussian(dim=6,samples=120,test_samples=60)", model="mlp(widths=(8,))",
                     recipe="w1a2", epochs=300, batch_size=40)  # fmt: skip
    long = Comparison(base=base, surrogates=("relu",), seeds=2)
    (tmp_path / "c.toml").write_text(long.write())
    folder = tmp_path / "out"
    words = [sys.executable, "-m", "coarsegrad", "compare", "--jobs=2", "--config", str(tmp_path / "c.toml")]
    main = subprocess.Popen(
        [*words, "--out", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(5):
        main.stdout.readline()
    below = children(main.pid)
    main.send_signal(how)
    said = main.communicate(timeout=60)[1].decode()
    assert main.returncode == (130 if how == signal.SIGINT else -9)
    assert how == signal.SIGKILL or ("resume with: " in said and "Traceback" not in said)
    until = time.monotonic() + 30
    while any(map(alive, below)) and time.monotonic() < until:
        time.sleep(0.05)
    assert below and not any(map(alive, below))
    assert list((folder / "runs").glob("*/checkpoint.pt"))


def children(pid):
    return [int(p) for f in Path(f"/proc/{pid}/task").glob("*/children") for p in f.read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
