"""PNG pictures of figures, through matplotlib: the one file that imports it."""

from __future__ import annotations

import io
import textwrap

from .figure import Bars, Figure, Histogram, Item, Line, Marks, Points, item_colors, ranges, whole_x
from .shapes import LIGHT
from .ticks import Axis

_MARKERS = "os^Dv"


def render(figure: Figure, dots_per_inch: int = 160) -> bytes:
    """The figure as the bytes of a PNG file, on white. Raises ImportError where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Picture
    except ImportError as error:
        raise ImportError(
            "PNG pictures need matplotlib: pip install 'coarsegrad[plots]', or save the figure as .svg"
        ) from error

    picture = Picture(figsize=(6.4, 4.6), dpi=dots_per_inch, layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.add_subplot()
    for item, color in zip(figure.items, item_colors(figure.items), strict=True):
        _plot(axes, figure, item, color)
    axes.set_title(_plain(figure.title), loc="left", fontsize=11, fontweight="bold", wrap=True)
    axes.set_xlabel(_plain(figure.x_label))
    axes.set_ylabel(_plain(figure.y_label))
    x_range, y_range = ranges(figure)
    x = Axis(*x_range, start=0, end=1, log=figure.log_x, whole=whole_x(figure))
    y = Axis(*y_range, start=0, end=1, log=figure.log_y)
    for name, shown, most in (("x", x, 8), ("y", y, 7)):  # as in the SVG
        if shown.log:
            getattr(axes, f"set_{name}scale")("log", nonpositive="mask")
        ticks = shown.ticks(most)
        getattr(axes, f"set_{name}ticks")([value for value, _ in ticks], [text for _, text in ticks])
        getattr(axes, f"set_{name}ticks")([], minor=True)
    axes.set(xlim=x_range, ylim=y_range)
    if figure.categories:
        longest = max(len(word) for name in figure.categories for word in [*name.split(), ""])
        turned = longest * len(figure.categories) > 70
        room = 200 if turned else max(longest, 70 // len(figure.categories))
        axes.set_xticks(
            range(len(figure.categories)),
            [textwrap.fill(_plain(name), room) for name in figure.categories],
            rotation=40 if turned else 0,
            ha="right" if turned else "center",
        )
    axes.grid(axis="y", color="#e4e7ec")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    lines = textwrap.wrap(_plain(figure.caption), 110)
    picture.set_figheight(picture.get_figheight() + 0.15 * len(lines))
    below = 0.16 * len(lines) / picture.get_figheight()
    picture.text(0.01, 0.005, "\n".join(lines), fontsize=8, color="#566070", verticalalignment="bottom")
    if handles:
        columns = 3 if max(map(len, labels)) <= 24 else 1
        legend = picture.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, below),
            ncols=columns,
            frameon=False,
            fontsize=9,
        )
        picture.draw_without_rendering()
        below = legend.get_window_extent().transformed(picture.transFigure.inverted()).y1
    picture.get_layout_engine().set(rect=(0, below, 1, 1 - below))  # pyright: ignore
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def _plot(axes, figure: Figure, item: Item, color: int) -> None:
    paint = {"color": LIGHT[color % len(LIGHT)], "label": _plain(item.label) or None}
    if isinstance(item, Marks):
        line = axes.axvline if item.axis == "x" else axes.axhline
        for i, position in enumerate(item.positions):
            line(
                position,
                color="#6b7482",
                linestyle="--",
                linewidth=1,
                label=paint["label"] if i == 0 else None,
            )
    elif isinstance(item, Line):
        marker = "" if item.dashed or len(item.x) > 40 else _MARKERS[color % 5]
        axes.plot(item.x, item.y, "--" if item.dashed else "-", marker=marker, markersize=4, **paint)
        if item.low is not None:
            axes.fill_between(item.x, item.low, item.high, color=paint["color"], alpha=0.16, linewidth=0)
    elif isinstance(item, Points):
        axes.plot(item.x, item.y, linestyle="", marker=_MARKERS[color % 5], markersize=4.5, **paint)
        if item.low is not None:
            axes.vlines(item.x, item.low, item.high, color=paint["color"], linewidth=1.3)
    elif isinstance(item, Bars):
        group = [other for other in figure.items if isinstance(other, Bars)]
        slot = 0.8 / len(group)
        shift = -0.4 + slot * (next(i for i, other in enumerate(group) if other is item) + 0.5)
        places = [figure.categories.index(name) + shift for name in item.categories]
        axes.bar(places, item.heights, width=0.92 * slot, **paint)
        if item.low is not None:
            axes.vlines(places, item.low, item.high, color="#1c2330", linewidth=1.3)
    elif isinstance(item, Histogram) and item.counts:
        axes.stairs(item.counts, item.edges, fill=True, alpha=0.4, **paint)
        axes.stairs(item.counts, item.edges, color=paint["color"], linewidth=1.5)


def _plain(text: str) -> str:
    """A dollar sign is money here, not the start of a formula; a leading underscore hides nothing."""
    text = text.replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text
