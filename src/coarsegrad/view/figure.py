"""Figures are data: what is to be seen, in plain numbers. `draw` and `save` turn them into pictures.

Every item takes lists, arrays or CPU tensors and keeps tuples of floats. NaN is a gap. Each item gets the
next colour; items with the same ``color`` (a number from 0) share one, as a prediction and its observation
should.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import count

from .ticks import fit_range

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Line:
    """A curve through ``(x[i], y[i])``; ``low`` and ``high`` are the edges of a band around it.

    By custom a ``dashed`` line is a prediction and a solid one an observation.
    """

    x: Numbers
    y: Numbers
    label: str = ""
    low: Numbers | None = None
    high: Numbers | None = None
    dashed: bool = False
    color: int | None = None

    def __post_init__(self) -> None:
        _settle(self, "x", "y", "low", "high")


@dataclass(frozen=True)
class Points:
    """Points at ``(x[i], y[i])``; ``low`` to ``high`` are their error bars, ``names`` their tooltips."""

    x: Numbers
    y: Numbers
    label: str = ""
    low: Numbers | None = None
    high: Numbers | None = None
    names: tuple[str, ...] | None = None
    color: int | None = None

    def __post_init__(self) -> None:
        _settle(self, "x", "y", "low", "high")
        if self.names is not None:
            object.__setattr__(self, "names", tuple(map(str, self.names)))
            if len(self.names) != len(self.x):
                raise ValueError(f"Points needs one name for each x, got {len(self.names)} and {len(self.x)}")


@dataclass(frozen=True)
class Bars:
    """One bar from 0 to ``heights[i]`` per category; several `Bars` in a figure stand side by side."""

    categories: tuple[str, ...]
    heights: Numbers
    label: str = ""
    low: Numbers | None = None
    high: Numbers | None = None
    color: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(map(str, self.categories)))
        _settle(self, "heights", "low", "high")
        if len(self.categories) != len(self.heights):
            raise ValueError(
                f"Bars needs one height for each category, got {len(self.heights)} and {len(self.categories)}"
            )
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"Bars needs categories that differ, got {', '.join(self.categories)}")


@dataclass(frozen=True)
class Histogram:
    """``counts[i]`` between ``edges[i]`` and ``edges[i + 1]``."""

    counts: Numbers
    edges: Numbers
    label: str = ""
    color: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", _floats(self.counts))
        object.__setattr__(self, "edges", _floats(self.edges))
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError(
                f"Histogram needs one edge more than counts, got {len(self.edges)} and {len(self.counts)}"
            )
        if any(not a < b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("Histogram(edges=...) must rise")


@dataclass(frozen=True)
class Marks:
    """Lines across: vertical at ``positions`` on x (quantizer levels), or horizontal, ``axis="y"``."""

    positions: Numbers
    label: str = ""
    axis: str = "x"

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", _floats(self.positions))
        if self.axis not in ("x", "y"):
            raise ValueError(f'Marks(axis=...) must be "x" or "y", got {self.axis!r}')


Item = Line | Points | Bars | Histogram | Marks


@dataclass(frozen=True)
class Figure:
    """What one picture shows. With `Bars` the x axis holds categories, at 0, 1, 2, ..., and has no logarithm.

    >>> figure = Figure("Loss", "epoch", "loss", [Line([1, 2], [0.5, 0.25], "float")], log_y=True)
    >>> figure.items[0].y
    (0.5, 0.25)
    """

    title: str
    x_label: str
    y_label: str
    items: tuple[Item, ...]
    log_x: bool = False
    log_y: bool = False
    caption: str = ""

    def __post_init__(self) -> None:
        items = (self.items,) if isinstance(self.items, Item) else tuple(self.items)
        object.__setattr__(self, "items", items)
        for item in items:
            if not isinstance(item, Item):
                raise ValueError(
                    "Figure(items=...) holds Line, Points, Bars, Histogram and Marks, "
                    f"got {type(item).__name__}"
                )
        if self.log_x and any(isinstance(item, Bars) for item in items):
            raise ValueError("Figure(log_x=True) has no meaning with Bars: their x axis holds categories")

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories of all `Bars`, in the order met; empty without `Bars`."""
        return tuple(
            dict.fromkeys(name for item in self.items if isinstance(item, Bars) for name in item.categories)
        )


def item_colors(items: Iterable[Item]) -> list[int]:
    """Colour number of each item: its own, or the next that no item has asked for. `Marks` have none: -1.

    >>> item_colors([Line([], [], color=1), Points([], []), Marks([0]), Points([], [])])
    [1, 0, -1, 2]
    """
    items = tuple(items)
    taken = {item.color for item in items if not isinstance(item, Marks)}
    free = (number for number in count() if number not in taken)
    return [
        -1 if isinstance(item, Marks) else next(free) if item.color is None else item.color for item in items
    ]


def _floats(values: Iterable[float]) -> Numbers:
    return tuple(float(v) for v in values)


def _settle(item: Line | Points | Bars, *names: str) -> None:
    """Turn the named fields into tuples of floats of one length."""
    given = {f.name: getattr(item, f.name) for f in fields(item) if f.name in names}
    if (given["low"] is None) != (given["high"] is None):
        raise ValueError(f"{type(item).__name__} takes low and high together, or neither")
    lengths = {}
    for name, values in given.items():
        if values is not None:
            object.__setattr__(item, name, _floats(values))
            lengths[name] = len(getattr(item, name))
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise ValueError(f"{type(item).__name__} needs as many values in each list, got {counts}")


def ranges(figure: Figure) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ends of both axes."""
    xs = [v for v, _ in coordinates(figure)]
    ys = [v for _, v in coordinates(figure)]
    for item in figure.items:
        if isinstance(item, Marks):
            (xs if item.axis == "x" else ys).extend(item.positions)
        elif isinstance(item, Line | Points | Bars):
            ys += [*(item.low or ()), *(item.high or ())]
    zero = any(isinstance(item, Bars | Histogram) for item in figure.items)
    if figure.categories:
        x_range = min([-0.5, *xs]), max([len(figure.categories) - 0.5, *xs])
    else:
        x_range = fit_range(xs, figure.log_x)
    return x_range, fit_range(ys, figure.log_y, zero=zero and not figure.log_y)


def whole_x(figure: Figure) -> bool:
    """Whether all that is shown stands at whole numbers, so that ticks between them would say nothing."""
    return all(float(x).is_integer() for x, _ in coordinates(figure))


def coordinates(figure: Figure) -> Iterator[tuple[float, float]]:
    """Every (x, y) that is drawn; categories stand at 0, 1, 2, ..."""
    for item in figure.items:
        if isinstance(item, Line | Points):
            yield from zip(item.x, item.y, strict=True)
        elif isinstance(item, Bars):
            yield from (
                (float(figure.categories.index(c)), h)
                for c, h in zip(item.categories, item.heights, strict=True)
            )
        elif isinstance(item, Histogram) and item.counts:
            yield from zip(item.edges, (*item.counts, item.counts[-1]), strict=True)
