"""Several pieces of work at a time, each in a process of its own, their rows told as they come."""

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import torch

from coarsegrad import own

Row = dict[str, Any]


def side_by_side(
    work: Callable[[Any], Iterable[Row]], pieces: Sequence[Any], jobs: int
) -> Iterator[tuple[int, Row | None, float]]:
    """Run ``work(piece)`` for each piece, ``jobs`` of them at a time.

    Yields ``(index of the piece, row, 0)`` for every row, those of one piece in order, and ``(index, None,
    seconds)`` when a piece is finished. Each process has its share of torch's threads, and knows the user's
    own surrogates. The processes end when this generator does, whatever ends it, a ``kill -9`` of this
    process too. ``work`` and ``pieces`` are pickled; what ``work`` raises is raised here. Raises
    ``ChildProcessError`` where a process died.
    """
    context = multiprocessing.get_context("spawn")
    jobs = min(jobs, len(pieces))
    threads = max(1, torch.get_num_threads() // max(jobs, 1))
    ahead = list(enumerate(pieces))[::-1]
    lines: list[Connection] = []
    workers: dict[Connection, _Worker] = {}
    try:
        for _ in range(jobs):
            line, theirs = context.Pipe()
            lines.append(line)
            process = context.Process(target=_obey, args=(theirs, work, threads, own.sources()), daemon=True)
            with theirs, _deaf_to_ctrl_c():
                process.start()
            workers[line] = _Worker(line, process)
            workers[line].give(ahead.pop())
        busy = dict(workers)
        while busy:
            for line in cast(list[Connection], wait(busy)):
                index, told, seconds = busy[line].hear()
                yield index, told, seconds
                if told is None and ahead:
                    busy[line].give(ahead.pop())
                elif told is None:
                    del busy[line]
    finally:
        for line in lines:
            line.close()
        for worker in workers.values():
            worker.process.join()


@dataclass
class _Worker:
    """A process and the line to it; what goes wrong on the line is said as what it means."""

    line: Connection
    process: Any
    heard: bool = False

    def give(self, piece: Any) -> None:
        try:
            self.line.send(piece)
        except OSError:
            raise self.died() from None

    def hear(self) -> tuple[int, Row | None, float]:
        try:
            index, told, seconds = self.line.recv()
        except (EOFError, OSError):
            raise self.died() from None
        self.heard = True
        if isinstance(told, _Raised):
            told.error.add_note(f"in a process of its own:\n{told.text}")
            raise told.error
        return index, told, seconds

    def died(self) -> ChildProcessError:
        self.process.join(10)
        code = self.process.exitcode
        why = f"ended with exit code {code}"
        if code == -signal.SIGKILL:
            why = "was killed; if memory was short, take fewer --jobs, or --workers"
        elif not self.heard:
            why += ' before its first row; a script that calls this needs if __name__ == "__main__"'
        return ChildProcessError(
            f"a process that did part of the work {why}. The same command goes on from what is finished"
        )


@dataclass(frozen=True)
class _Raised:
    """What the work raised, and where, as the other process saw it."""

    error: Exception
    text: str

    @classmethod
    def of(cls, error: BaseException) -> "_Raised":
        """In its own type where that survives pickling."""
        text = "".join(traceback.format_exception(error))
        try:
            again = pickle.loads(pickle.dumps(error))
            if isinstance(error, Exception) and type(again) is type(error):
                return cls(error, text)
        except Exception:
            pass
        return cls(RuntimeError(f"{type(error).__name__}: {error}"), text)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """A process started here never hears Ctrl-C: it reaches the parent, which says what it means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _obey(
    line: Connection, work: Callable[[Any], Iterable[Row]], threads: int, files: list[own.Source]
) -> None:
    """Do the pieces that come over the line; end at once when its other end is closed or gone."""
    torch.set_num_threads(threads)
    own.use_again(files)
    given: queue.SimpleQueue = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                given.put(line.recv())
        except (EOFError, OSError):
            os._exit(1)

    def tell(*message: Any) -> None:
        try:
            line.send(message)
        except OSError:
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        (index, piece), started = given.get(), time.monotonic()
        try:
            for row in work(piece):
                tell(index, row, 0.0)
            tell(index, None, time.monotonic() - started)
        except BaseException as error:
            tell(index, _Raised.of(error), 0.0)
