"""PNG pictures: every kind of item draws, and without matplotlib the error names the mend."""

import math
import sys
import warnings

import pytest

from coarsegrad.view.figure import Bars, Figure, Histogram, Line, Marks, Points
from coarsegrad.view.png import render

ITEMS = [
    Line([1, 2, 3], [1, math.nan, 3], "a $label$", [0, 1, 2], [2, 3, 4]),
    Line([1, 2], [1, 2], "_dashed", dashed=True),
    Points([1, 2], [1, 2], "points", [0, 1], [2, 3]),
    Bars(["a", "a much longer name of a category"], [1, 2], "bars", [0, 1], [2, 3]),
    Histogram([1, 2], [0, 1, 2], "histogram"),
    Marks([1, 2], "marks"),
    Marks([1, 2], axis="y"),
]


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{type(item).__name__}-{item.label}")
def test_every_item_gives_a_picture_without_warning(item, log_y):
    pytest.importorskip("matplotlib", reason="PNG pictures need matplotlib: pip install 'coarsegrad[plots]'")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = render(Figure("t", "x", "y", [item], log_y=log_y, caption="words " * 50), dots_per_inch=40)
    assert picture.startswith(b"\x89PNG") and len(picture) > 1000


def test_an_empty_figure_is_still_a_picture():
    pytest.importorskip("matplotlib", reason="PNG pictures need matplotlib: pip install 'coarsegrad[plots]'")
    assert render(Figure("t", "x", "y", []), dots_per_inch=40).startswith(b"\x89PNG")


def test_without_matplotlib_the_error_names_the_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'coarsegrad\[plots\]', or save the figure as \.svg"):
        render(Figure("t", "x", "y", []))
