"""What a reader at a terminal, or a program, is told while work goes on: lines, a bar, a table, JSON."""

import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Row = dict[str, Any]


def epoch_line(row: Row) -> str:
    """A row of `coarsegrad.train.loop.train` in words."""
    flips = f"  flips {row['flips']:.3f}" if "flips" in row else ""
    return (
        f"epoch {row['epoch']}  loss {row['train_loss']:.4f} / {row['test_loss']:.4f}  "
        f"accuracy {row['train_accuracy']:.2f} / {row['test_accuracy']:.2f} %{flips}  "
        f"{row['samples_per_second']:.0f} images/s"
    )


def task_line(row: Row) -> str:
    """A row of `coarsegrad.train.compare.compare` in words."""
    arm = " ".join(filter(None, (row["bits"], row.get("activation_surrogate"), row.get("weight_surrogate"))))
    kinds = {"run": "", "ptq": "calibrated only: ", "trial": f"trial of lr {row.get('rate')}: "}
    what = f"{kinds.get(row['kind'], row['kind'] + ': ')}{arm}, seed {row['seed']}"
    if row.get("known"):
        return f"{what}: known"
    epoch = f", epoch {row['epoch']}" if row.get("epoch") else ""
    return f"{what}{epoch}: " + (row["reason"] if "reason" in row else f"{row['test_accuracy']:.2f} %")


def study_line(row: Row) -> str:
    """A row of `coarsegrad.studies.study.run` in words."""
    return f"{row['text']}  |  {row['glance']}" if row.get("glance") else row["text"]


@contextmanager
def progress(total: int, as_json: bool = False, unit: str = "epochs") -> Iterator[Callable]:
    """``show(done, text, row, total)`` per row: a bar on a terminal, else lines; JSON lines if asked for.

    The rate counts the rows of epochs, or with another ``unit`` all rows that are not ``known``.
    """
    clock = [time.monotonic(), 0]  # since when, and how many were done since then

    def left(done: int, row: Row, total: int) -> str:
        clock[1] += "train_loss" in row if unit == "epochs" else not row.get("known")
        rate = clock[1] / (time.monotonic() - clock[0])
        return f"{rate:.2f} {unit}/s, {_duration((total - done) / rate)} left" if rate else "known so far"

    def lines(done: int, text: str, row: Row, total: int = total) -> None:
        if as_json:
            print(json.dumps(finite(row)), flush=True)
        else:
            print(f"[{done}/{total}, {left(done, row, total)}] {text}", flush=True)

    if as_json or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}  {task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=total or None, left="")
        yield lambda done, text, row, total=total: bar.update(
            task, completed=done, total=total, description=text, left=left(done, row, total)
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def finite(thing: Any) -> Any:
    """JSON has no infinity: None in its place."""
    if isinstance(thing, dict):
        return {k: finite(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [finite(v) for v in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def text_table(rows: Iterable[Row]) -> str:
    """Rows below one another, columns aligned; a column for every key met."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.2f}"
        if isinstance(value, float) and abs(value) >= 1
        else f"{value:.4g}"
        if isinstance(value, float)
        else str(value)
    )
