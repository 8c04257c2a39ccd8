"""How a cell is told: its share of runs, its steps, a line of several surrogates, a curve with intervals."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from coarsegrad.measure import proportion_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.long2021.grid import changed
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row
from coarsegrad.view import Bars, Line, Points

Point = tuple[float, float, float, float]
_WORDS = {"relu": "ReLU", "log_tailed_relu": "log-tailed ReLU"}


def word(surrogate: str) -> str:
    """A surrogate's name, for a reader."""
    return _WORDS.get(surrogate, surrogate.replace("_", " "))


def nothing(title: str) -> Chapter:
    """The chapter where nothing was measured."""
    return Chapter(title, "Nothing was measured yet.")


def share(row: Row) -> str:
    """Of runs at zero loss with all points right."""
    return f"{row['right'] / row['runs']:.2f}"


def mean_steps(row: Row) -> tuple[float, float, float]:
    """The geometric mean of steps to zero loss, and its interval."""
    mean, low, high = (math.exp(row[key]) - 1 for key in ("log_mean", "log_low", "log_high"))
    return mean, low, high


def steps(row: Row) -> str:
    """Their geometric mean with its interval, or how many were made without success."""
    if row["solved"] == 0:
        return f"none in {row['steps']}"
    mean, low, high = mean_steps(row)
    return f"{'at least ' if row['solved'] < row['runs'] else ''}{mean:.0f} ({low:.0f} to {high:.0f})"


def said(row: Row) -> str:
    """What is changed in its problem."""
    told = {key.replace("_", " "): value for key, value in changed(row).items()}
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in told.items()
    )


def lines(found: Iterable[Row], name: Any, cell: Any) -> list[Row]:
    """A line per ``name(row)``, a dict of its first columns; then ``cell(row)``, surrogate by surrogate."""
    table: dict[tuple, Row] = {}
    for row in found:
        first = name(row)
        table.setdefault(tuple(first.values()), first)[word(row["surrogate"])] = cell(row)
    return list(table.values())


def curve(points: Sequence[Point], surrogate: str, color: int) -> list[Line | Points]:
    """A line with bars, through (x, y, low, high)."""
    x, y, low, high = zip(*sorted(points), strict=True) if points else ((), (), (), ())
    return [drawn.line(x, y, word(surrogate), color=color), drawn.dots(x, y, "", low, high, color=color)]


def shares(found: Sequence[Row], categories: Sequence[str], label: str, color: int) -> Bars:
    """Shares of runs, all points right, as bars with Wilson intervals."""
    ends = [proportion_interval(row["right"], row["runs"]) for row in found]
    y, low, high = ([getattr(end, part) for end in ends] for part in ("estimate", "low", "high"))
    return drawn.bars(categories, y, label, low=low, high=high, color=color)
