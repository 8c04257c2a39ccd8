"""Looking into a folder of results: which kinds there are, rows chosen, and files for other programs."""

import argparse
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from coarsegrad.table import Table, write_csv

Row = dict[str, Any]


def table_in(folder: str | Path) -> Table:
    """The table in a folder of results, or the table itself where its file is named.

    Raises ``FileNotFoundError`` where there is none.
    """
    folder = Path(folder)
    path = folder / "results.sqlite" if folder.is_dir() else folder
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no results; give the folder of a study or a comparison, or its results.sqlite "
            "(a single training keeps its rows in rows.jsonl)"
        )
    return Table(path)


def kinds(table: Table) -> list[Row]:
    """A row per kind of task: ``tasks``, ``rows``, ``seconds`` added up, ``columns`` of the rows."""
    found: dict[str, Row] = {}
    for task in table.tasks():
        sums = found.setdefault(task["kind"], {"kind": task["kind"], "tasks": 0, "rows": 0, "seconds": 0.0})
        sums["tasks"] += 1
        sums["rows"] += task["rows"]
        sums["seconds"] += task["meta"].get("seconds", 0.0)
    for kind, sums in found.items():
        sums["columns"] = _columns(table.rows(kind=kind))
    return list(found.values())


def chosen(
    table: Table, kind: str | None = None, where: Sequence[str] = (), columns: Sequence[str] = ()
) -> list[Row]:
    """The rows, ``task_id`` and ``kind`` among them, of this kind and with these values, of these columns.

    Each ``where`` is like ``"n=50"`` and is true of a row with that number, or that text, in that column.
    Raises ``ValueError`` for a kind or column that no row has.
    """
    rows = table.records()
    _known("kind", [kind] if kind else [], list(dict.fromkeys(str(row["kind"]) for row in rows)))
    rows = [row for row in rows if kind in (None, row["kind"])]
    wanted = [_condition(text) for text in where]
    _known("column", [*(name for name, _ in wanted), *columns], _columns(rows))
    rows = [row for row in rows if all(row.get(n, _NOTHING) in values for n, values in wanted)]
    return [{name: row.get(name) for name in columns} for row in rows] if columns else rows


def write(rows: Sequence[Row], path: str | Path) -> Path:
    """Write rows as CSV or Parquet, by the ending of ``path``, whole or not at all; returns the path.

    Parquet has one type per column: a column of several, such as numbers and texts, becomes one of texts.
    Raises ``ValueError`` for another ending, ``ImportError`` where Parquet is asked for without pyarrow.
    """
    from coarsegrad.view.whole import write_whole

    path = Path(path)
    if path.suffix == ".csv":
        write_csv(rows, path)
        return path
    if path.suffix == ".parquet":
        return write_whole(path, _parquet(rows))
    raise ValueError(f"--out ends in .csv or .parquet, got {path}")


def _parquet(rows: Sequence[Row]) -> bytes:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow: pip install 'coarsegrad[parquet]', or write a .csv"
        ) from error

    def column(name: str) -> Any:
        values = [row.get(name) for row in rows]
        try:
            return pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):
            return pyarrow.array([None if value is None else str(value) for value in values])

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({name: column(name) for name in _columns(rows)}), file)
    return file.getvalue()


_NOTHING = object()


def _condition(text: str) -> tuple[str, list[Any]]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"--where {text}: write --where COLUMN=VALUE")
    try:
        return name.strip(), [json.loads(value), value]
    except json.JSONDecodeError:
        return name.strip(), [value]


def _known(what: str, names: Iterable[str], there: Sequence[str]) -> None:
    for name in names:
        if name not in there:
            raise ValueError(f"there is no {what} {name!r}; there is: {', '.join(there) or 'none'}")


def _columns(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


# The command `coarsegrad results`.


def options(it: argparse.ArgumentParser) -> None:
    """What it takes."""
    it.add_argument("folder", help="of a study or a comparison, or a results.sqlite")
    it.add_argument("--kind", help="rows of this kind of task")
    said = "rows with this value; may be repeated, then all must hold"
    it.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help=said)
    it.add_argument("--columns", metavar="A,B", help="of these columns, in this order")
    it.add_argument("--out", metavar="FILE", help="write the rows there: .csv or .parquet")
    said = "first add the tasks of another folder that are missing here"
    it.add_argument("--merge", action="append", default=[], metavar="OTHER", help=said)
    it.add_argument("--json", action="store_true", help="for machines")


def command(words: argparse.Namespace) -> None:
    """Print the kinds of tasks, or rows where some are chosen."""
    from coarsegrad.train.screen import finite, text_table

    others = [table_in(other) for other in words.merge]
    folder = Path(words.folder)
    if others and not folder.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        table = Table(folder / "results.sqlite")
    else:
        table = table_in(folder)
    for other in others:
        added = table.merge(other.path)
        if not words.json:
            print(f"added {added} of {len(other.tasks())} tasks of {other.path}")
    columns = [name.strip() for name in (words.columns or "").split(",") if name.strip()]
    if words.out:
        rows = chosen(table, words.kind, words.where, columns)
        write(rows, words.out)
        print(json.dumps({"rows": len(rows), "out": words.out}) if words.json else words.out)
        return
    picked = words.kind or words.where or columns
    rows = chosen(table, words.kind, words.where, columns) if picked else kinds(table)
    if words.json:
        print(json.dumps(finite(rows)))
    elif not rows:
        print("no rows" if picked else "no tasks yet")
    elif picked:
        print(text_table(rows))
    else:
        print(text_table([{**row, "columns": ", ".join(row["columns"])} for row in rows]))
