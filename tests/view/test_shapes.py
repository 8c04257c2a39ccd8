"""Shapes: each kind of item draws all of its numbers, inside the frame, and says them in tooltips."""

import math
import re

import pytest

from coarsegrad.view.figure import Bars, Figure, Histogram, Line, Marks, Points
from coarsegrad.view.shapes import DARK, LIGHT, marker, shapes, swatch
from coarsegrad.view.ticks import Axis

X, Y = Axis(0, 10, 100, 600), Axis(0, 10, 300, 20)
ITEMS = [
    Line([1, 2, 3], [1, 2, 3], "a line", [0, 1, 2], [2, 3, 4]),
    Line([1, 2], [1, 2], "dashed", dashed=True),
    Points([1, 2], [1, 2], "points", [0, 1], [2, math.inf]),
    Bars(["a", "b"], [1, 2], "bars", [0, 1], [2, 3]),
    Histogram([1, 2], [0, 1, 2], "histogram"),
    Marks([1, 2], "marks"),
    Marks([1, 2], "marks", axis="y"),
]


def drawn(item, x=X, y=Y, color=0):
    return shapes(Figure("t", "x", "y", [item]), item, color, x, y)


def coordinates(markup):
    for path in re.findall(r' d="([^"]*)"', markup):
        for px, py in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path):
            yield float(px), float(py)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{type(item).__name__}-{item.label}")
def test_every_shape_stays_in_the_frame_and_names_itself(item):
    markup = drawn(item)
    for px, py in coordinates(markup):
        assert 95 <= px <= 605 and 15 <= py <= 305
    assert f"<title>{item.label}" in markup


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{type(item).__name__}-{item.label}")
def test_every_item_has_a_swatch_22_wide(item):
    places = list(coordinates(swatch(item, 1, (0.0, 10.0))))
    assert all(0 <= px <= 22 and 0 <= py <= 20 for px, py in places)


def test_a_nan_breaks_a_line_and_lone_points_are_still_seen():
    markup = drawn(Line([1, 2, 3, 4, 5], [1, 2, math.nan, 4, math.nan]))
    assert markup.count("<path") == 1
    assert markup.count("<circle") == 3


def test_a_lone_point_of_a_long_line_is_drawn():
    y = [math.nan] * 100
    y[50] = 5.0
    assert 'r="2.4"' in drawn(Line(range(100), y))


def test_a_long_line_is_thinned_and_keeps_its_peak():
    n = 100_000
    y = [0.0] * n
    y[31_234] = 9.0
    markup = drawn(Line([10 * i / n for i in range(n)], y))
    assert len(markup) < 60_000
    assert min(py for _, py in coordinates(markup)) == pytest.approx(Y(9.0), abs=0.01)


def test_very_many_points_are_one_per_pixel():
    markup = drawn(Points([5 + 1e-6 * i for i in range(10_000)], [5] * 10_000))
    assert markup.count("<circle") <= 2


def test_bars_of_a_group_stand_side_by_side():
    one, two = Bars(["a"], [1]), Bars(["a"], [2])
    figure = Figure("t", "x", "y", [one, two])
    x = Axis(-0.5, 0.5, 0, 100)
    spans = []
    for item in (one, two):
        (left, width) = re.search(r'x="([\d.]+)" .*?width="([\d.]+)"', shapes(figure, item, 0, x, Y)).groups()
        spans.append((float(left), float(left) + float(width)))
    assert spans[0][1] <= spans[1][0]


def test_negative_bars_hang_from_zero():
    y = Axis(-10, 10, 200, 0)
    markup = drawn(Bars(["a"], [-5]), Axis(-0.5, 0.5, 0, 100), y)
    assert 'y="100"' in markup and 'height="50"' in markup


def test_markers_differ_in_shape_for_five_colours():
    assert len({re.sub(r'(class|fill)="[^"]*"', "", marker(i, (0.0, 0.0))) for i in range(5)}) == 5


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_stand_out_from_the_page():
    # Orange and sky blue are Okabe and Ito's own; on white they stay below 3:1, so they come last.
    for color in LIGHT[:5]:
        assert 1.05 / (luminance(color) + 0.05) > 2.8
    for color in DARK:
        assert (luminance(color) + 0.05) / (luminance("#171b22") + 0.05) > 4.5
