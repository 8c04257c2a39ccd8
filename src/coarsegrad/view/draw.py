"""Draw: a figure becomes an SVG text, with no library in between, or a file.

The legend stands below the frame, where it covers no data. Colours suit the colour-blind and follow the
reader's light or dark page; point at a mark to read its numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from .figure import Bars, Figure, Histogram, Line, Marks, Points, coordinates, item_colors, ranges, whole_x
from .shapes import DARK, shapes, swatch
from .svg import element, escaped, shortened, text_width, wrapped
from .ticks import Axis
from .whole import write_whole

_EDGE = 16.0
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
_TITLE, _TEXT, _SMALL = 15.0, 12.5, 11.5
_INK, _MUTED, _GRID, _AXIS = "#1c2330", "#566070", "#e4e7ec", "#6b7482"

_STYLE = (
    "@media screen and (prefers-color-scheme:dark){"
    ".cg-bg{fill:#171b22}.cg-ink{fill:#e8eaee}.cg-muted{fill:#a5aebb}.cg-grid{stroke:#2b323d}.cg-sa{stroke:#8e98a6}"
    + "".join(f".cg-s{i}{{stroke:{c}}}.cg-f{i}{{fill:{c}}}" for i, c in enumerate(DARK))
    + "}"
)


def draw(figure: Figure, caption: bool = True, width: int = 640) -> str:
    """The figure as one ``<svg>`` element, ``width`` pixels wide, 320 at least.

    ``caption=False`` leaves the caption to the page around it.

    What has no place is counted in a line under the figure: infinities, and values at or below 0 on a
    logarithmic axis.

    >>> from coarsegrad.view.figure import Line
    >>> draw(Figure("A <title>", "x", "y", [Line([1, 2], [3, 4])]))[:60]
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 ...'
    """
    if width < 320:
        raise ValueError(f"draw(width=...) must be at least 320, got {width}")
    frame_height = min(max(0.44 * width, 210.0), 330.0)
    top = _EDGE
    parts: list[str] = []
    room = width - 2 * _EDGE
    for line in wrapped(figure.title, 1.12 * _TITLE, room):  # bold is wider
        top += _TITLE + 4
        parts.append(_text(line, _EDGE, top, _TITLE, font_weight="600"))
    for line in wrapped(figure.y_label, _TEXT, room):
        top += _TEXT + 6
        parts.append(_text(line, _EDGE, top, _TEXT, muted=True))
    top += 14

    x_range, y_range = ranges(figure)
    y = Axis(*y_range, start=top + frame_height, end=top, log=figure.log_y)
    y_ticks = y.ticks(7)
    left = _EDGE + 8 + max((text_width(text, _SMALL) for _, text in y_ticks), default=0)
    slot = (width - _EDGE - 8 - left) / max(len(figure.categories), 1)
    names = _turned(figure.categories, slot)
    if names:
        left = max(
            [left, *(0.78 * text_width(name, _SMALL) + 8 - (i + 0.4) * slot for i, name in enumerate(names))]
        )
    x = Axis(*x_range, start=left, end=width - _EDGE - 8, log=figure.log_x, whole=whole_x(figure))
    parts += _grid(y_ticks, x, y)
    axis_parts, bottom = _x_axis(figure, names, x, y)
    parts += axis_parts

    colors = item_colors(figure.items)
    # Areas first, thin marks and points last, whatever the order given.
    depth = {Histogram: 0, Bars: 0, Marks: 1, Line: 2, Points: 3}
    for item, color in sorted(zip(figure.items, colors, strict=True), key=lambda pair: depth[type(pair[0])]):
        parts.append(element("g", shapes(figure, item, color, x, y)))
    if not any(coordinates(figure)):
        middle = 0.5 * (x.start + x.end)
        parts.append(
            _text("no data", middle, top + frame_height / 2, _TEXT, muted=True, text_anchor="middle")
        )

    legend, bottom = _legend(figure, colors, bottom, room)
    parts += legend
    notes = [(line, _SMALL) for line in wrapped(_left_out(figure), _SMALL, room)]
    if caption:
        notes += [(line, _TEXT) for line in wrapped(figure.caption, _TEXT, room)]
    for line, size in notes:
        bottom += size + 5
        parts.append(_text(line, _EDGE, bottom, size, muted=True))
    height = bottom + _EDGE
    return element(
        "svg",
        element("style", _STYLE),
        element("rect", width="100%", height="100%", fill="#ffffff", class_="cg-bg"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height:.0f}",
        width=width,
        height=round(height),
        role="img",
        aria_label=spoken(figure),
        font_family=_FONT,
        class_="cg-figure",
    )


def save(figure: Figure, path: str | os.PathLike) -> Path:
    """Write the figure to ``path``, as its ending says: ``.svg``, or ``.png`` (needs ``coarsegrad[plots]``).

    The file is written whole or not at all; returns its path.
    """
    path = Path(path)
    if path.suffix.lower() == ".svg":
        return write_whole(path, draw(figure))
    if path.suffix.lower() == ".png":
        from .png import render

        return write_whole(path, render(figure))
    raise ValueError(f"save(figure, {str(path)!r}): the ending must be .svg or .png")


def _text(text: str, px: float, py: float, size: float, muted: bool = False, **attributes: object) -> str:
    return element(
        "text",
        escaped(text),
        x=px,
        y=py,
        font_size=f"{size:g}",
        fill=_MUTED if muted else _INK,
        class_="cg-muted" if muted else "cg-ink",
        **attributes,
    )


def _grid(y_ticks: list[tuple[float, str]], x: Axis, y: Axis) -> Iterator[str]:
    for value, text in y_ticks:
        at = y(value)
        yield element("line", x1=x.start, x2=x.end, y1=at, y2=at, stroke=_GRID, class_="cg-grid")
        yield _text(text, x.start - 8, at + 4, _SMALL, muted=True, text_anchor="end")
    yield element("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, stroke=_AXIS, class_="cg-sa")


def _turned(categories: tuple[str, ...], slot: float) -> list[str]:
    """Names to be set aslant: all, shortened, if a word of one is wider than its place; else none."""
    widest = max((text_width(word, _SMALL) for name in categories for word in name.split()), default=0.0)
    return [shortened(name, _SMALL, 150) for name in categories] if widest > slot - 6 else []


def _x_axis(figure: Figure, names: list[str], x: Axis, y: Axis) -> tuple[list[str], float]:
    """Ticks or categories and the label; also where they end."""
    parts, bottom = [], y.start + 18
    slot = (x.end - x.start) / max(len(figure.categories), 1)
    if names:
        for i, name in enumerate(names):
            px, py = x(i) + 4, y.start + 14
            turn = f"rotate(-40 {px:.1f} {py:.1f})"
            title = element("title", escaped(figure.categories[i]))
            parts.append(
                element("g", title, _text(name, px, py, _SMALL, True, text_anchor="end", transform=turn))
            )
        bottom += 0.643 * max(text_width(name, _SMALL) for name in names) - 4
    elif figure.categories:
        for i, name in enumerate(figure.categories):
            for row, line in enumerate(wrapped(name, _SMALL, slot - 6)):
                parts.append(_text(line, x(i), y.start + 18 + 14 * row, _SMALL, True, text_anchor="middle"))
                bottom = max(bottom, y.start + 18 + 14 * row)
    else:
        ticks = x.ticks(max(4, round((x.end - x.start) / 70)))
        while len(ticks) > 2 and sum(text_width(t, _SMALL) + 14 for _, t in ticks) > x.end - x.start:
            ticks = ticks[::2]
        for value, text in ticks:
            at = x(value)
            parts.append(
                element("line", x1=at, x2=at, y1=y.start, y2=y.start + 4, stroke=_AXIS, class_="cg-sa")
            )
            parts.append(_text(text, at, y.start + 18, _SMALL, muted=True, text_anchor="middle"))
    for line in wrapped(figure.x_label, _TEXT, x.end - x.start):
        bottom += _TEXT + 7
        parts.append(_text(line, 0.5 * (x.start + x.end), bottom, _TEXT, muted=True, text_anchor="middle"))
    return parts, bottom


def _legend(figure: Figure, colors: list[int], bottom: float, room: float) -> tuple[list[str], float]:
    """One entry per labelled item, in rows below; also where they end."""
    parts, px = [], _EDGE
    named = [(item, color) for item, color in zip(figure.items, colors, strict=True) if item.label]
    if named:
        bottom += 26
    for item, color in named:
        label = shortened(item.label, _TEXT, room - 30)
        width = 28 + text_width(label, _TEXT) + 16
        if px > _EDGE and px + width - 16 > _EDGE + room:
            px, bottom = _EDGE, bottom + 20
        title = [element("title", escaped(item.label))] if label != item.label else []
        parts.append(
            element("g", *title, swatch(item, color, (px, bottom - 4)), _text(label, px + 28, bottom, _TEXT))
        )
        px += width
    return parts, bottom + (6 if named else 0)


def _left_out(figure: Figure) -> str:
    """What is in the figure's numbers and not in its picture, in words."""
    infinite = logarithm = 0
    for a, b in coordinates(figure):
        if math.isinf(a) or math.isinf(b):
            infinite += 1
        elif (figure.log_x and a <= 0) or (figure.log_y and b <= 0):
            logarithm += 1
    counts = [(infinite, "infinite"), (logarithm, "at or below 0 (the axis is logarithmic)")]
    parts = [f"{n} {why}" for n, why in counts if n]
    return f"Values not shown: {', '.join(parts)}." if parts else ""


def spoken(figure: Figure) -> str:
    """What a figure shows, for who cannot see it: title, axes, labels, caption.

    >>> spoken(Figure("Does it fall?", "epoch", "loss", [Line([1], [2], "float")], caption="Means."))
    'Does it fall? loss against epoch. float. Means.'
    """
    labels = ", ".join(item.label for item in figure.items if item.label)
    axes = f"{figure.y_label} against {figure.x_label}" if figure.x_label else figure.y_label
    parts = [part for part in (figure.title, axes, labels, figure.caption) if part]
    return " ".join(part if part[-1] in ".?!" else f"{part}." for part in parts)
