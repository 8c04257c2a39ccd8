"""A study on a Dask cluster gives what it gives here, whoever dies meanwhile."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import chain, repeat
from pathlib import Path

import pytest

import coarsegrad.studies
from coarsegrad.cli import main
from coarsegrad.studies import cluster as cluster_module
from coarsegrad.studies.cluster import Cluster
from coarsegrad.studies.study import cost, run, table_of
from studies import toy
from studies.toy import far_study

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'coarsegrad[cluster]'")
HERE = {"processes": False, "protocol": "tcp", "dashboard_address": ":0"}
PATHS = os.pathsep.join([str(Path(cluster_module.__file__).parents[2]), str(Path(__file__).parents[1])])


@pytest.fixture(scope="module")
def address():
    """The scheduler of two workers that live in this process."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **HERE) as made:
        yield made.scheduler_address


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 0.3)


def by_task(folder):
    return sorted(table_of(folder).records(), key=lambda row: (row["task_id"], row["step"]))


def numbers(log):
    return [int(line) for line in log.read_text().split()]


def test_a_cluster_gives_the_rows_of_one_process(tmp_path, address):
    study = far_study(6, tmp_path / "log.txt")
    told = list(run(study, "quick", tmp_path / "there", scheduler=address))
    assert [row["done"] for row in told] == [1, 2, 3, 4, 5, 6] and all(row["seconds"] >= 0 for row in told)
    list(run(study, "quick", tmp_path / "here"))
    assert by_task(tmp_path / "there") == by_task(tmp_path / "here")
    assert cost(study, "quick", tmp_path / "there")["far"]["cores"] >= 2
    assert not (tmp_path / "there" / "work").exists()  # what a task kept, it kept at the worker


def test_what_is_there_is_not_asked_for_again(tmp_path, address):
    list(run(far_study(3, tmp_path / "log.txt"), "quick", tmp_path))
    told = list(run(far_study(5, tmp_path / "log.txt"), "quick", tmp_path, scheduler=address))
    assert [row.get("known", False) for row in told] == [True] * 3 + [False] * 2
    assert sorted(numbers(tmp_path / "log.txt")) == [0, 1, 2, 3, 4]


def test_what_a_task_raises_comes_through_once_and_what_was_finished_stands(tmp_path, address):
    study = far_study(3, tmp_path / "log.txt", fails_at=1)
    with pytest.raises(ArithmeticError, match="not finite, on purpose"):
        list(run(study, "quick", tmp_path, scheduler=address))
    assert numbers(tmp_path / "log.txt").count(1) == 1 and waiting(address) == 0
    assert all(row["number"] != 1 for row in table_of(tmp_path).records())


def waiting(address):
    with distributed.Client(address, set_as_default=False) as client:
        return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def test_who_stops_asking_leaves_nothing_waiting(tmp_path, address):
    going = run(far_study(50, tmp_path / "log.txt", pause=0.05), "quick", tmp_path, scheduler=address)
    next(going)
    going.close()
    assert waiting(address) == 0
    assert len(numbers(tmp_path / "log.txt")) < 50


def test_the_command_line_sends_a_study_there(tmp_path, address, monkeypatch, capsys):
    monkeypatch.setitem(coarsegrad.studies.STUDIES, "toy", "studies.toy")
    monkeypatch.setattr(toy, "STUDY", far_study(2, tmp_path / "log.txt"))
    words = ["study", "toy", "--out", str(tmp_path / "out"), "--scheduler", address]
    assert main([*words, "--workers", "2"]) == 2
    assert "give workers or scheduler, not both" in capsys.readouterr().err
    main([*words, "--json"])
    assert '"done": 2' in capsys.readouterr().out and len(table_of(tmp_path / "out").tasks()) == 2


@pytest.fixture
def heard():
    """What Dask's client logs from here on: the exception of a traceback, else the text."""
    told, logger = [], logging.getLogger("distributed.client")
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.exc_info[1] if record.exc_info else record.getMessage())
    logger.addHandler(handler)
    yield told
    logger.removeHandler(handler)


def test_what_dask_cancels_is_no_traceback_and_other_errors_are(address, heard):
    def log(error):
        try:
            raise error
        except BaseException:
            logging.getLogger("distributed.client").exception("")

    cancelled, other = asyncio.CancelledError(), OSError("the disk is full")
    with Cluster(address):
        log(cancelled)
        log(other)
    assert heard == [other]
    log(cancelled)
    assert heard == [other, cancelled]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as line:
        return line.getsockname()[1]


def test_a_scheduler_that_is_not_there_is_refused_at_the_door(tmp_path, impatient, monkeypatch, capsys):
    monkeypatch.setitem(coarsegrad.studies.STUDIES, "toy", "studies.toy")
    out = tmp_path / "out"
    assert main(["study", "toy", "--out", str(out), "--scheduler", f"tcp://127.0.0.1:{free_port()}"]) == 2
    error = capsys.readouterr().err
    assert "start one with `dask scheduler --port" in error and error.count("\n") == 1
    assert not out.exists()


def test_a_port_where_nobody_speaks_is_not_waited_for(impatient):
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(ValueError, match="no Dask scheduler"):
        Cluster(f"tcp://127.0.0.1:{mute.getsockname()[1]}")


def test_a_port_where_somebody_else_speaks_is_refused(impatient):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet():
            for _ in range(2):
                line, _ = other.accept()
                line.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 4)

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(ValueError, match="no Dask scheduler"):
            Cluster(f"tcp://127.0.0.1:{other.getsockname()[1]}")


def test_a_worker_is_not_taken_for_the_scheduler(address):
    with distributed.Client(address, set_as_default=False) as client:
        worker = min(client.nthreads())
    with pytest.raises(ValueError, match="no Dask scheduler"):
        Cluster(worker)


@pytest.mark.parametrize("address", ["127.0.0.1:8786", "tcp://host", "http://host:80", "", "tcp://:8786"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="like tcp://host:8786, got"):
        Cluster(address)


def test_workers_with_another_coarsegrad_are_refused_at_the_door_and_later(address, monkeypatch):
    editions = chain(["mine"], repeat("theirs"))
    monkeypatch.setattr(cluster_module, "edition", lambda: next(editions))
    with pytest.raises(ValueError, match=r"source theirs, here mine.*install the same on every machine"):
        Cluster(address)
    monkeypatch.undo()
    with Cluster(address) as cluster:
        editions = chain(["mine"], repeat("theirs"))
        monkeypatch.setattr(cluster_module, "edition", lambda: next(editions))
        with pytest.raises(ValueError, match="source theirs, here mine"):
            list(cluster.side_by_side(rows_of, [1]))


def test_workers_of_several_threads_are_refused():
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=3, **HERE) as made,
        pytest.raises(ValueError, match="--nworkers 3 --nthreads 1"),
    ):
        Cluster(made.scheduler_address)


def rows_of(folder, piece):
    yield {"value": piece}


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"coarsegrad\[cluster\]"):
        Cluster("tcp://127.0.0.1:8786")


class Processes:
    """A scheduler and workers, each a process of this machine."""

    def __init__(self, folder):
        self.folder, self.started, self.port = folder, [], free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        quiet = ["--host", "127.0.0.1", "--no-dashboard"]
        self.start("-m", "distributed.cli.dask_scheduler", *quiet, "--port", self.port)

    def start(self, *words, path=PATHS):
        env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        with open(self.folder / "processes.txt", "a") as log:
            command = [sys.executable, *map(str, words)]
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=self.folder)
        self.started.append(process)
        return process

    def worker(self, **options):
        quiet = ["--no-nanny", "--no-dashboard", "--nthreads", 1]
        return self.start("-m", "distributed.cli.dask_worker", self.address, *quiet, **options)

    def client(self, out, count, pause):
        made = f"far_study({count}, {str(self.folder / 'log.txt')!r}, {pause})"
        code = f"list(run({made}, 'paper', {str(out)!r}, scheduler={self.address!r}))"
        return self.start(
            "-c", f"from studies.toy import far_study\nfrom coarsegrad.studies.study import run\n{code}"
        )


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()


def until(holds, process=None):
    """Wait for it; a minute or two, where the machine has other work."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end and (process is None or process.poll() is None)
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_client_change_nothing(tmp_path, processes):
    count, out, log = 60, tmp_path / "there", tmp_path / "log.txt"
    table = table_of(out)
    workers = [processes.worker() for _ in range(4)]
    first = processes.client(out, count, 0.3)
    until(lambda: len(table.tasks()) >= 8, first)
    workers[0].send_signal(signal.SIGKILL)
    before = len(table.tasks())
    until(lambda: len(table.tasks()) >= before + 8, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    finished, noted = {row["number"] for row in table.records()}, len(numbers(log))
    assert 16 <= len(finished) < count

    second = processes.client(out, count, 0.3)
    until(lambda: second.poll() is not None)
    assert second.returncode == 0
    list(run(far_study(count, tmp_path / "alone.txt"), "paper", tmp_path / "here"))
    assert by_task(out) == by_task(tmp_path / "here")
    again = numbers(log)[noted:]
    assert finished.isdisjoint(again)
    assert len(numbers(log)) <= count + 1 + 2 * 4  # the killed worker's task, and what was under way


@pytest.mark.slow
def test_a_task_that_takes_every_worker_down_is_an_error(tmp_path, processes):
    workers = [processes.worker() for _ in range(5)]
    with distributed.Client(processes.address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(5, timeout=120)
    with pytest.raises(ChildProcessError, match="one worker after another died"):
        list(run(far_study(1, tmp_path / "log.txt", dies_at=0), "quick", tmp_path / "out",
                 scheduler=processes.address))  # fmt: skip
    assert sum(worker.poll() is None for worker in workers) <= 1
    assert numbers(tmp_path / "log.txt") == [0, 0, 0, 0]


@pytest.mark.slow
def test_a_worker_without_this_coarsegrad_and_a_scheduler_that_goes_are_said(tmp_path, processes, heard):
    (tmp_path / "old" / "coarsegrad").mkdir(parents=True)
    (tmp_path / "old" / "coarsegrad" / "__init__.py").touch()
    old = processes.worker(path=str(tmp_path / "old"))
    with distributed.Client(processes.address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=120)
    with pytest.raises(ValueError, match=r"cannot load this coarsegrad.*install the same on every machine"):
        Cluster(processes.address)
    old.kill()
    processes.worker()
    until(lambda: not refused(processes.address))
    going = run(
        far_study(9, tmp_path / "log.txt", 0.2), "quick", tmp_path / "out", scheduler=processes.address
    )
    next(going)
    processes.started[0].kill()
    heard.clear()
    with pytest.raises(ConnectionError, match="is gone; start it and its workers again"):
        list(going)
    assert [text for text in heard if not isinstance(text, str)] == []


def refused(address):
    try:
        with Cluster(address) as cluster:
            return not cluster._client.nthreads()
    except ValueError:
        return True
