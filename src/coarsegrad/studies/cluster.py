"""The same work on a Dask cluster: its workers compute, this process alone hears the rows and keeps them."""

import asyncio
import functools
import hashlib
import logging
import re
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

Row = dict[str, Any]
_PATIENCE = 5.0  # seconds that a scheduler has to answer


class Cluster:
    """A Dask cluster, reached at the address of its scheduler; leaving its ``with`` drops what is not done.

    Args:
        address: such as ``tcp://host:8786``.

    Raises ``ValueError`` where no scheduler answers within seconds, or a worker there has another coarsegrad
    or several threads; ``ImportError`` without ``distributed``.
    """

    def __init__(self, address: str) -> None:
        if re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", address) is None:
            raise ValueError(f"a scheduler's address is like tcp://host:8786, got {address!r}")
        dask = _dask()
        try:
            _knock(address)
            self._client = dask.Client(address, timeout=_PATIENCE, set_as_default=False)
        except Exception as error:  # a port where something else speaks gives errors of every kind
            raise ValueError(
                f"no Dask scheduler answers at {address} within {_PATIENCE:.0f} s; start one with "
                f"`dask scheduler --port {address.rpartition(':')[2]}`, or give the address that it prints"
            ) from error
        self.address = address
        try:
            self._look_at_the_workers()
        except BaseException:
            self._client.close()
            raise
        if not self._client.nthreads():
            warnings.warn(f"no worker at {address} yet; start one with `dask worker {address}`", stacklevel=2)
        logging.getLogger("distributed.client").addFilter(_worth_saying)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()  # the scheduler forgets what nobody waits for
        logging.getLogger("distributed.client").removeFilter(_worth_saying)

    def side_by_side(
        self, work: Callable[[Path, Any], Iterable[Row]], pieces: Sequence[Any]
    ) -> Iterator[tuple[int, Row | None, Row]]:
        """``work(folder, piece)`` for each piece, on as many workers as there are, or will be.

        Yields ``(index of the piece, row, {})`` for its rows in order, then ``(index, None, about)`` with
        ``seconds``, ``jobs`` (workers now), ``threads`` and ``worker``, pieces as they are finished.
        ``folder`` is on the worker and this piece's alone; it goes with it. A piece whose worker dies is done
        again by another. What ``work`` raises is raised here, and ends the rest.

        Raises ``ChildProcessError`` for a piece that takes one worker after another down, ``ConnectionError``
        where the scheduler is gone.
        """
        dask, name = _dask(), f"coarsegrad-{uuid.uuid4().hex[:8]}"
        there = functools.partial(_there, work, edition())
        futures = [
            self._client.submit(there, piece, key=f"{name}-{index}") for index, piece in enumerate(pieces)
        ]
        place = {future.key: index for index, future in enumerate(futures)}
        for future in dask.as_completed(futures, loop=self._client.loop):
            try:
                rows, about = future.result()
            except dask.KilledWorker as error:
                raise ChildProcessError(
                    f"one worker after another died over the same piece of work ({error}). If memory was "
                    "short, start workers with a larger --memory-limit. The same command goes on from what "
                    "is finished"
                ) from error
            except CancelledError as error:
                raise ConnectionError(
                    f"the scheduler at {self.address} is gone; start it and its workers again. The same "
                    "command goes on from what is finished"
                ) from error
            index = place[future.key]
            future.release()
            yield from ((index, row, {}) for row in rows)
            yield index, None, {**about, "jobs": max(1, len(self._client.nthreads()))}

    def _look_at_the_workers(self) -> None:
        for worker, fault in self._client.run(_fault, edition(), on_error="return").items():
            if isinstance(fault, OSError):  # it has just died
                continue
            if isinstance(fault, Exception):
                fault = f"it cannot load this coarsegrad ({fault}); install the same on every machine"
            if fault:
                raise ValueError(f"the worker {worker} cannot help: {fault}")


@functools.cache
def edition() -> str:
    """A digest of this coarsegrad's source: two that differ may find other rows for the same task."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _fault(expected: str, dask_worker: Any) -> str:
    """Why this worker may not do a piece; empty where it may. Dask fills ``dask_worker``."""
    if edition() != expected:
        return (
            f"its coarsegrad differs (source {edition()}, here {expected}); install the same on every "
            "machine, and start the workers again"
        )
    if (threads := dask_worker.state.nthreads) != 1:
        return (
            f"it does {threads} pieces at once in one process, where they would share one random generator; "
            f"start it with --nworkers {threads} --nthreads 1"
        )
    return ""


def _there(work: Callable[[Path, Any], Iterable[Row]], expected: str, piece: Any) -> tuple[list[Row], Row]:
    """The piece's rows, and what it took; asks again, for a worker may join late."""
    from distributed import get_worker

    worker = get_worker()
    if fault := _fault(expected, worker):
        raise ValueError(f"the worker {worker.address} cannot help: {fault}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="coarsegrad-", dir=worker.local_directory) as folder:
        rows = list(work(Path(folder), piece))
    about = {"threads": torch.get_num_threads(), "worker": worker.address}
    return rows, {"seconds": time.monotonic() - started, **about}


def _worth_saying(record: logging.LogRecord) -> bool:
    """All but tracebacks of what Dask cancels when its scheduler is gone: our own error says that."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _knock(address: str) -> None:
    """Ask who is there: a ``Client`` waits forever for one that is mute; one that failed hangs the next."""
    dask = _dask()

    async def ask() -> Any:
        how = dask.Security().get_connection_args("client")
        async with dask.rpc(address, connection_args=how) as there:
            return await there.identity()

    with ThreadPoolExecutor(1) as apart:  # a notebook has a loop of its own
        found = apart.submit(lambda: asyncio.run(asyncio.wait_for(ask(), _PATIENCE))).result()
    if found["type"] != "Scheduler":
        raise ValueError(f"a {found['type']} answers")


def _dask() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise ImportError("a scheduler needs Dask: pip install 'coarsegrad[cluster]'") from error
    return distributed
