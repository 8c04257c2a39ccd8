"""Several pieces of work at a time, each in a process of its own, their rows told as they come."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import torch

Row = dict[str, Any]


def side_by_side(
    work: Callable[[Any], Iterable[Row]], pieces: Sequence[Any], jobs: int
) -> Iterator[tuple[int, Row | None, float]]:
    """Run ``work(piece)`` for each piece, ``jobs`` of them at a time.

    Yields ``(index of the piece, row, 0)`` for every row, those of one piece in order, and ``(index, None,
    seconds)`` when a piece is finished. Each process has its share of torch's threads. The processes end when
    this generator does, whatever ends it, a ``kill -9`` of this process too. ``work`` and ``pieces`` are
    pickled; what ``work`` raises is raised here. Raises ``ChildProcessError`` where a process was killed.
    """
    context = multiprocessing.get_context("spawn")
    jobs = min(jobs, len(pieces))
    threads = max(1, torch.get_num_threads() // max(jobs, 1))
    ahead, busy, processes = list(enumerate(pieces))[::-1], set(), []
    try:
        for _ in range(jobs):
            line, theirs = context.Pipe()
            processes.append(context.Process(target=_obey, args=(theirs, work, threads), daemon=True))
            processes[-1].start()
            theirs.close()
            line.send(ahead.pop())
            busy.add(line)
        while busy:
            for line in cast(list[Connection], wait(busy)):
                try:
                    index, told, seconds = line.recv()
                except EOFError:
                    raise ChildProcessError(
                        "a process that did part of the work was killed; if memory was short, take fewer "
                        "--jobs. The same command goes on from what is finished"
                    ) from None
                if isinstance(told, Exception):
                    raise told
                yield index, told, seconds
                if told is None and ahead:
                    line.send(ahead.pop())
                elif told is None:
                    busy.remove(line)
                    line.close()
    finally:
        for line in busy:
            line.close()
        for process in processes:
            process.join()


def _obey(line: Connection, work: Callable[[Any], Iterable[Row]], threads: int) -> None:
    """Do the pieces that come over the line; end at once when its other end is closed or gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which says what it means
    torch.set_num_threads(threads)
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
        except Exception as error:
            tell(index, error, 0.0)
