"""Shapes: the SVG marks of each kind of item, inside a frame given by its two axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from .figure import Bars, Figure, Histogram, Item, Line, Marks, Points
from .svg import element, escaped, number
from .ticks import Axis

# Okabe and Ito's colours, told apart also by the colour-blind; the darkest first, for thin lines on white.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#1c2330", "#e69f00", "#56b4e9")
DARK = ("#56b4e9", "#f2834a", "#1fc79a", "#e3a3c8", "#e8eaee", "#f0b429", "#a9dbf8")

_INK = 4  # the colour nearest to text
_MARKED_LINE = 40
_TOOLTIPS = 400
_MOST_POINTS = 4000

Place = tuple[float, float]


def shapes(figure: Figure, item: Item, color: int, x: Axis, y: Axis) -> str:
    """Markup of one item."""
    return "".join(_SHAPES[type(item)](figure, item, color, x, y))


def stroke(color: int, width: float = 2, dashed: bool = False) -> dict[str, object]:
    """Attributes of a line of this colour; -1 is the colour of axes."""
    return {
        "class_": "cg-sa" if color < 0 else f"cg-s{color % len(LIGHT)}",
        "stroke": "#6b7482" if color < 0 else LIGHT[color % len(LIGHT)],
        "stroke_width": f"{width:g}",
        "stroke_dasharray": "6 4" if dashed else None,
        "fill": "none",
    }


def fill(color: int, opacity: float = 1) -> dict[str, object]:
    """Attributes of an area of this colour."""
    return {
        "class_": f"cg-f{color % len(LIGHT)}",
        "fill": LIGHT[color % len(LIGHT)],
        "fill_opacity": None if opacity == 1 else f"{opacity:g}",
    }


def marker(color: int, at: Place, tooltip: str = "", size: float = 3.6) -> str:
    """A point; its shape tells the colours apart once more."""
    title = [element("title", escaped(tooltip))] if tooltip else []
    px, py = at
    kind = color % 5
    if kind == 0:
        return element("circle", *title, cx=px, cy=py, r=f"{size:g}", **fill(color))
    s = size * (0.9, 0.9, 1.2, 1.25, 1.2)[kind]
    corners = {
        1: [(-s, -s), (s, -s), (s, s), (-s, s)],
        2: [(0, -s), (s, 0.8 * s), (-s, 0.8 * s)],
        3: [(0, -s), (s, 0), (0, s), (-s, 0)],
        4: [(0, s), (s, -0.8 * s), (-s, -0.8 * s)],
    }[kind]
    return element("path", *title, d=_path([(px + dx, py + dy) for dx, dy in corners]) + "Z", **fill(color))


def swatch(item: Item, color: int, at: Place) -> str:
    """The item in small, 22 wide, for the legend; ``at`` is its left middle."""
    px, py = at
    if isinstance(item, Marks):
        ends = [(px + 11, py - 7), (px + 11, py + 7)] if item.axis == "x" else [(px, py), (px + 22, py)]
        return element("path", d=_path(ends), **stroke(-1, 1.2, dashed=True))
    if isinstance(item, Bars | Histogram):
        opacity = 0.55 if isinstance(item, Histogram) else 1
        return element("rect", x=px + 4, y=py - 6, width="14", height="12", rx="2", **fill(color, opacity))
    if isinstance(item, Points):
        return marker(color, (px + 11, py), size=4.2)
    line = element("path", d=_path([(px, py), (px + 22, py)]), **stroke(color, 2, item.dashed))
    return line + (marker(color, (px + 11, py)) if _has_markers(item) else "")


def _line(figure: Figure, item: Line, color: int, x: Axis, y: Axis) -> Iterator[str]:
    for run in _runs(item.x, item.low or (), item.high or (), x, y):
        edge = [(px, low) for px, low, _ in run] + [(px, high) for px, _, high in reversed(run)]
        yield element("path", d=_path(edge) + "Z", **fill(color, 0.16))
    places = [
        (x(a), y(b)) if math.isfinite(a) and math.isfinite(b) else None
        for a, b in zip(item.x, item.y, strict=True)
    ]
    places = [p if p and not math.isnan(p[0] + p[1]) else None for p in places]
    for run in _split(places):
        if len(run) == 1 and not _has_markers(item):
            yield marker(color, run[0], size=2.4)
        elif len(run) > 1:
            yield element(
                "path", d=_path(_thinned(run)), stroke_linejoin="round", **stroke(color, 2, item.dashed)
            )
    if len(places) <= _TOOLTIPS:
        for place, a, b in zip(places, item.x, item.y, strict=True):
            if place and _has_markers(item):
                yield marker(color, place, _tooltip(item.label, a, b))
            elif place:
                title = element("title", escaped(_tooltip(item.label, a, b)))
                yield element("circle", title, cx=place[0], cy=place[1], r="5", fill_opacity="0")


def _points(figure: Figure, item: Points, color: int, x: Axis, y: Axis) -> Iterator[str]:
    seen = set()
    for i, (a, b) in enumerate(zip(item.x, item.y, strict=True)):
        place = (x(a), y(b))
        if not (math.isfinite(a) and math.isfinite(b)) or math.isnan(place[0] + place[1]):
            continue
        if len(item.x) > _MOST_POINTS:  # one marker per pixel is enough for the eye
            if (pixel := (round(place[0]), round(place[1]))) in seen:
                continue
            seen.add(pixel)
        yield from _error_bar(item, i, place[0], color, y)
        name = item.names[i] if item.names else item.label
        tooltip = _tooltip(name, a, b) if len(item.x) <= _TOOLTIPS else ""
        yield marker(color, place, tooltip, size=3.6 if len(item.x) <= 200 else 2)


def _bars(figure: Figure, item: Bars, color: int, x: Axis, y: Axis) -> Iterator[str]:
    group = [other for other in figure.items if isinstance(other, Bars)]
    slot = 0.8 / len(group)
    number_in_group = next(i for i, other in enumerate(group) if other is item)
    for i, (category, height) in enumerate(zip(item.categories, item.heights, strict=True)):
        left = figure.categories.index(category) - 0.4 + number_in_group * slot
        start, end = x(left), x(left + slot)
        if not math.isfinite(height) or math.isnan(y(height)):
            continue
        base, top = (y.start if y.log else y(0.0)), y(height)
        title = element(
            "title", escaped(f"{item.label + ', ' if item.label else ''}{category}: {height:.6g}")
        )
        gap = min(1.5, 0.1 * (end - start))
        yield element(
            "rect",
            title,
            x=start + gap,
            y=min(base, top),
            width=end - start - 2 * gap,
            height=abs(base - top),
            **fill(color, 0.9),
        )
        yield from _error_bar(item, i, 0.5 * (start + end), _INK, y)


def _histogram(figure: Figure, item: Histogram, color: int, x: Axis, y: Axis) -> Iterator[str]:
    base = y.start if y.log else y(0.0)
    outline = _path(list(_steps(item, x, y, base)))
    if outline:
        yield element("path", d=outline + "Z", **fill(color, 0.4))
        yield element("path", d=outline, **stroke(color, 1.5))
    if len(item.counts) > _TOOLTIPS:
        return
    for count, a, b in zip(item.counts, item.edges, item.edges[1:], strict=False):
        text = f"{item.label + ', ' if item.label else ''}{a:.4g} to {b:.4g}: {count:.6g}"
        start, end = _inside(x, a), _inside(x, b)
        title = element("title", escaped(text))
        # Unseen and as high as the frame, so that small bins can be pointed at.
        yield element(
            "rect", title, x=start, y=y.end, width=end - start, height=y.start - y.end, fill_opacity="0"
        )


def _steps(item: Histogram, x: Axis, y: Axis, base: float) -> Iterator[Place]:
    if not item.counts:
        return
    yield _inside(x, item.edges[0]), base
    for count, a, b in zip(item.counts, item.edges, item.edges[1:], strict=False):
        top = base if math.isnan(y(count)) else y(count)
        yield _inside(x, a), top
        yield _inside(x, b), top
    yield _inside(x, item.edges[-1]), base


def _marks(figure: Figure, item: Marks, color: int, x: Axis, y: Axis) -> Iterator[str]:
    axis = x if item.axis == "x" else y
    for position in item.positions:
        if not math.isfinite(position) or math.isnan(axis(position)):
            continue
        at = axis(position)
        ends = [(at, y.start), (at, y.end)] if item.axis == "x" else [(x.start, at), (x.end, at)]
        title = element("title", escaped(f"{item.label + ': ' if item.label else ''}{position:.6g}"))
        yield element("path", title, d=_path(ends), **stroke(-1, 1.2, dashed=True))


_SHAPES: dict[type, Callable[..., Iterator[str]]] = {
    Line: _line,
    Points: _points,
    Bars: _bars,
    Histogram: _histogram,
    Marks: _marks,
}


def _has_markers(item: Line) -> bool:
    return not item.dashed and len(item.x) <= _MARKED_LINE


def _error_bar(item: Points | Bars, i: int, px: float, color: int, y: Axis) -> Iterator[str]:
    if item.low is None or item.high is None or math.isnan(item.low[i]) or math.isnan(item.high[i]):
        return
    low, high = _inside(y, item.low[i]), _inside(y, item.high[i])
    caps = [(px - 3, low), (px + 3, low), (px, low), (px, high), (px - 3, high), (px + 3, high)]
    yield element("path", d=_path(caps), **stroke(color, 1.3))


def _inside(axis: Axis, value: float) -> float:
    """Place of ``value``, held inside the frame; the low end for what a logarithm cannot place."""
    place = axis(value)
    if math.isnan(place):
        return axis.start
    return min(max(place, min(axis.start, axis.end)), max(axis.start, axis.end))


def _runs(xs: tuple, lows: tuple, highs: tuple, x: Axis, y: Axis) -> list[list[tuple[float, float, float]]]:
    """Stretches of a band without a gap, as (x, low, high) on the page."""
    places = [
        None
        if math.isnan(x(a) + low + high) or not math.isfinite(a)
        else (x(a), _inside(y, low), _inside(y, high))
        for a, low, high in zip(xs, lows, highs, strict=False)
    ]
    return [run for run in _split(places) if len(run) > 1]


def _split(places: list) -> list[list]:
    runs: list[list] = [[]]
    for place in places:
        if place is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return [run for run in runs if run]


def _thinned(run: list[Place]) -> list[Place]:
    """A long curve with, per pixel column, its first, lowest, highest and last place: it looks the same."""
    if len(run) <= _MOST_POINTS:
        return run
    kept: list[Place] = []
    column: list[Place] = []
    for place in [*run, (math.inf, 0.0)]:
        if column and (math.isinf(place[0]) or round(place[0]) != round(column[0][0])):
            wanted = {0, len(column) - 1}
            wanted |= {
                min(range(len(column)), key=lambda i: column[i][1]),
                max(range(len(column)), key=lambda i: column[i][1]),
            }
            kept += [column[i] for i in sorted(wanted)]
            column = []
        column.append(place)
    return kept


def _path(places: list[Place]) -> str:
    return "".join(f"{'L' if i else 'M'}{number(px)} {number(py)}" for i, (px, py) in enumerate(places))


def _tooltip(label: str, x: float, y: float) -> str:
    return f"{label}: {x:.6g}, {y:.6g}" if label else f"{x:.6g}, {y:.6g}"
