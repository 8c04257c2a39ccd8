"""The items of figures from any numbers: ``view`` settles them into tuples; the type checker is told here."""

from typing import Any

from coarsegrad.measure import proportion_interval
from coarsegrad.view import Bars, Figure, Line, Points


def line(x: Any, y: Any, label: str, low: Any = None, high: Any = None, **style: Any) -> Line:
    """`coarsegrad.view.Line`."""
    return Line(x, y, label, low, high, **style)


def dots(x: Any, y: Any, label: str, low: Any = None, high: Any = None, **style: Any) -> Points:
    """`coarsegrad.view.Points`."""
    return Points(x, y, label, low, high, **style)


def bars(categories: Any, heights: Any, label: str = "", **style: Any) -> Bars:
    """`coarsegrad.view.Bars`."""
    return Bars(categories, heights, label, **style)


def figure(title: str, x_label: str, y_label: str, items: Any, **more: Any) -> Figure:
    """`coarsegrad.view.Figure`."""
    return Figure(title, x_label, y_label, items, **more)


def reach(runs: int) -> str:
    """How far shares of so many runs may be off, for a caption where intervals would hide one another.

    >>> reach(40)
    '40 or more each: 95 % intervals reach ±0.15 at most.'
    """
    middle = proportion_interval(runs // 2, runs)
    return f"{runs:,} or more each: 95 % intervals reach ±{(middle.high - middle.low) / 2:.2g} at most."
