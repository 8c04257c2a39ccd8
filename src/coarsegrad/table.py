"""Results in one SQLite file: a task's rows are there whole or not at all, also after a kill.

A *task* is one unit of work with an id (its content id: the same work has the same id). A *row* is a dict
of plain numbers, strings, booleans and None. Tasks are only ever added. Numbers come back as they went in, to
the last bit, NaN and infinities included.
"""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

Cell = int | float | str | bool | None

_APPLICATION = 0x43475442  # "CGTB", in the file's header
_SCHEMA = 1
_STATEMENTS = (
    "CREATE TABLE tasks (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " meta TEXT NOT NULL)",
    "CREATE TABLE cells (task INTEGER NOT NULL REFERENCES tasks (number), row INTEGER NOT NULL,"
    " json TEXT NOT NULL, PRIMARY KEY (task, row)) WITHOUT ROWID",
    *(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table}"
        " BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END"
        for table in ("tasks", "cells")
        for verb in ("UPDATE", "DELETE")
    ),
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_SCHEMA}",
)
_BUSY_SECONDS = 60.0
_RESERVED = ("task_id", "kind")


class TableError(ValueError):
    """The file is not a readable coarsegrad table; the message says what to do about it."""


@dataclass(frozen=True)
class Table:
    """An append-only table of results at ``path``; the file appears with the first `append`.

    Each call opens and closes the file, so a table can be copied, pickled and used from threads and from
    several processes at once (on a disk of this machine: network file systems seldom lock properly).

    Raises `TableError` if the file is something else, damaged, or from a newer coarsegrad; OSError if it
    cannot be read or written.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> table = Table(Path(folder.name) / "results.db")
    >>> table.append("train-1", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}], kind="train")
    True
    >>> table.done("train-1"), table.rows(kind="train", epoch=2)
    (True, [{'epoch': 2, 'loss': 0.25}])
    >>> folder.cleanup()
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.path.exists():
            with self._open() as connection:
                _check_schema(connection, self.path)

    def append(
        self, task_id: str, rows: Iterable[dict[str, Cell]], *, kind: str, meta: dict | None = None
    ) -> bool:
        """Add all rows of one task in one transaction, on the disk when this returns.

        Returns True if they were added, False if the same kind and rows stand under ``task_id`` already (then
        ``meta``, where a duration or a host name may differ, stays that of the first time). Raises ValueError
        if other rows stand there. ``meta`` is any dict that JSON can hold.
        """
        texts = [_row_text(row, index) for index, row in enumerate(rows)]
        for name, value in (("task_id", task_id), ("kind", kind)):
            if not isinstance(value, str) or not value:
                raise ValueError(f"append({name}=...) must be a text that is not empty, got {value!r}")
        with self._open(create=True) as connection, _transaction(connection):
            _create_schema(connection, self.path)
            return _insert(connection, task_id, kind, json.dumps(meta or {}), texts)

    def done(self, task_id: str) -> bool:
        """Whether the rows of this task are in the table."""
        return bool(self._select("SELECT 1 FROM tasks WHERE id = ?", task_id))

    def rows(
        self, kind: str | None = None, task_id: str | None = None, **equals: Cell
    ) -> list[dict[str, Cell]]:
        """Rows in the order of their appending, each as it was given.

        Keeps those of this ``kind``, of this ``task_id``, and with these values in these columns. NaN equals
        NaN here; a row without the column equals nothing.
        """
        found = self._select(
            "SELECT cells.json FROM cells JOIN tasks ON tasks.number = cells.task"
            " WHERE (?1 IS NULL OR tasks.kind = ?1) AND (?2 IS NULL OR tasks.id = ?2)"
            " ORDER BY cells.task, cells.row",
            kind,
            task_id,
        )
        rows = (json.loads(text) for (text,) in found)
        return [row for row in rows if all(k in row and _same(row[k], v) for k, v in equals.items())]

    def tasks(self) -> list[dict]:
        """One dict per task, in order of appending: ``task_id``, ``kind``, ``rows`` (how many), ``meta``."""
        found = self._select(
            "SELECT id, kind, (SELECT count(*) FROM cells WHERE task = number), meta FROM tasks"
            " ORDER BY number"
        )
        return [{"task_id": i, "kind": k, "rows": n, "meta": json.loads(meta)} for i, k, n, meta in found]

    def merge(self, other_path: str | os.PathLike) -> int:
        """Add the tasks of another table that are missing here; returns how many. All of them, or none.

        Raises ValueError if a task id stands in both with different rows, FileNotFoundError if there is no
        such file.
        """
        other = Table(Path(other_path))
        if not other.path.exists():
            raise FileNotFoundError(errno.ENOENT, "no table to merge from at this path", str(other.path))
        with other._open() as source:
            if not _check_schema(source, other.path):
                return 0
            tasks = source.execute("SELECT number, id, kind, meta FROM tasks ORDER BY number").fetchall()
            texts = [
                [
                    text
                    for (text,) in source.execute(
                        "SELECT json FROM cells WHERE task = ? ORDER BY row", (task[0],)
                    )
                ]
                for task in tasks
            ]
        with self._open(create=True) as connection, _transaction(connection):
            _create_schema(connection, self.path)
            return sum(
                _insert(connection, task_id, kind, meta, rows)
                for (_, task_id, kind, meta), rows in zip(tasks, texts, strict=True)
            )

    def to_csv(self, path: str | os.PathLike, kind: str | None = None) -> None:
        """Write the rows as CSV: ``task_id``, ``kind``, then every column met; empty where a row has none.

        The file is written whole or not at all. Floats keep all their digits; None and a missing column look
        alike.
        """
        write_csv(self.records(kind), path)

    def records(self, kind: str | None = None) -> list[dict[str, Cell]]:
        """Rows in the order of their appending, each with its ``task_id`` and ``kind`` in front."""
        found = self._select(
            "SELECT tasks.id, tasks.kind, cells.json FROM cells JOIN tasks ON tasks.number = cells.task"
            " WHERE ?1 IS NULL OR tasks.kind = ?1 ORDER BY cells.task, cells.row",
            kind,
        )
        return [{"task_id": task_id, "kind": kind, **json.loads(text)} for task_id, kind, text in found]

    def _select(self, query: str, *values: Cell) -> list[tuple]:
        if not self.path.exists():
            return []
        with self._open() as connection:
            return (
                connection.execute(query, values).fetchall() if _check_schema(connection, self.path) else []
            )

    @contextmanager
    def _open(self, create: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection that is closed at the end; SQLite's errors come out as ours."""
        connection = None
        try:
            uri = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
            connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection
        except sqlite3.Error as error:
            raise _explained(error, self.path) from error
        finally:
            if connection is not None:
                connection.close()


def write_csv(rows: Sequence[dict[str, Cell]], path: str | os.PathLike) -> None:
    """Rows as CSV, every column met, empty where a row has none; the file is written whole or not at all."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with _replacing(Path(path)) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # after some errors SQLite has rolled back by itself
            connection.execute("ROLLBACK")
        raise


def _create_schema(connection: sqlite3.Connection, path: Path) -> None:
    if not _check_schema(connection, path):
        for statement in _STATEMENTS:
            connection.execute(statement)


def _check_schema(connection: sqlite3.Connection, path: Path) -> bool:
    """True if our schema is there, False in a new empty file; TableError otherwise."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == _APPLICATION and version == _SCHEMA:
        return True
    if application == _APPLICATION:
        raise TableError(
            f"{path} is a coarsegrad table of schema {version}, this coarsegrad reads schema {_SCHEMA}: "
            f"{'upgrade coarsegrad' if version > _SCHEMA else 'read it with the coarsegrad that wrote it'}, "
            "or start a new table at another path"
        )
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application or version or objects:
        raise TableError(
            f"{path} is another program's SQLite file; give the path of a coarsegrad table, or a new path"
        )
    return False


def _insert(connection: sqlite3.Connection, task_id: str, kind: str, meta: str, texts: list[str]) -> bool:
    found = connection.execute("SELECT number, kind FROM tasks WHERE id = ?", (task_id,)).fetchone()
    if found:
        number, old_kind = found
        old = [
            text
            for (text,) in connection.execute("SELECT json FROM cells WHERE task = ? ORDER BY row", (number,))
        ]
        if old_kind != kind or [*map(_canonical, old)] != [*map(_canonical, texts)]:
            raise ValueError(
                f"task {task_id!r} is in the table already, with other rows "
                f"(kind {old_kind!r}, {len(old)} rows; "
                f"now kind {kind!r}, {len(texts)} rows). A task id must name one result: "
                "put what differs (code version, device, seed) into the id"
            )
        return False
    number = connection.execute(
        "INSERT INTO tasks (id, kind, meta) VALUES (?, ?, ?)", (task_id, kind, meta)
    ).lastrowid
    connection.executemany(
        "INSERT INTO cells VALUES (?, ?, ?)", ((number, i, text) for i, text in enumerate(texts))
    )
    return True


def _row_text(row: dict[str, Cell], index: int) -> str:
    for name, value in row.items():
        if not isinstance(name, str) or name in _RESERVED:
            raise ValueError(
                f"row {index} has the column name {name!r}; take a text other than 'task_id' and 'kind'"
            )
        if not isinstance(value, int | float | str | None):
            raise ValueError(
                f"row {index}, column {name!r} holds a {type(value).__name__}; give a plain int, float, str, "
                "bool or None (a tensor or array scalar: .item())"
            )
    return json.dumps(row)


def _canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def _same(a: Cell, b: Cell) -> bool:
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return a == b or both_nan


def _explained(error: sqlite3.Error, path: Path) -> Exception:
    """The error a caller can act on. SQLite's wording is stable, its codes are not in every Python."""
    text = str(error)
    if "not a database" in text:
        return TableError(f"{path} is not an SQLite file; give the path of a coarsegrad table, or a new path")
    if any(sign in text for sign in ("malformed", "no such table", "no such column", "decode")):
        return TableError(
            f"{path} is damaged ({text}). Restore it from a copy; or move it away, save what "
            f"`sqlite3 {path.name} .recover` still reads, and run the missing tasks again"
        )
    if "readonly" in text:
        return PermissionError(
            errno.EACCES, "the table cannot be written; what is in it can be read", str(path)
        )
    if "full" in text:
        return OSError(
            errno.ENOSPC, "no space left; nothing of this task was written, earlier tasks stand", str(path)
        )
    if "locked" in text:
        return TimeoutError(
            errno.ETIMEDOUT,
            f"another process has been writing for more than {_BUSY_SECONDS:.0f} s",
            str(path),
        )
    if "unable to open" in text:
        reason = errno.ENOENT if not path.parent.exists() else errno.EACCES
        return OSError(
            reason, "the table cannot be opened; check that its folder exists and can be written", str(path)
        )
    return OSError(errno.EIO, f"the table cannot be read or written ({text}); earlier tasks stand", str(path))


@contextmanager
def _replacing(path: Path) -> Iterator:
    """A text file that takes its place at the end, or never."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
