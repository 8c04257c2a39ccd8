"""Figures: plain numbers that can be compared, refused at the door when they do not fit together."""

import numpy as np
import pytest
import torch

from coarsegrad.view.figure import Bars, Figure, Histogram, Line, Marks, Points, item_colors


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_any_sequence_of_numbers_becomes_a_tuple_of_floats(kind):
    line = Line(kind([1, 2]), kind([3.0, 4.0]), low=kind([2.0, 3.0]), high=kind([4.0, 5.0]))
    assert line == Line((1.0, 2.0), (3.0, 4.0), low=(2.0, 3.0), high=(4.0, 5.0))
    assert type(line.x[0]) is float
    assert hash(line) is not None


@pytest.mark.parametrize(
    ("make", "mend"),
    [
        (lambda: Line([1, 2], [1]), "x: 2, y: 1"),
        (lambda: Line([1], [1], low=[0]), "low and high together"),
        (lambda: Points([1], [1], names=["a", "b"]), "one name for each x"),
        (lambda: Bars(["a"], [1, 2]), "one height for each category"),
        (lambda: Bars(["a", "a"], [1, 2]), "categories that differ"),
        (lambda: Histogram([1, 2], [0, 1]), "one edge more"),
        (lambda: Histogram([1, 2], [0, 1, 1]), "must rise"),
        (lambda: Marks([1], axis="z"), '"x" or "y"'),
        (lambda: Figure("t", "x", "y", ["line"]), "holds Line, Points"),
        (lambda: Figure("t", "x", "y", [Bars(["a"], [1])], log_x=True), "categories"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_mend(make, mend):
    with pytest.raises(ValueError, match=mend):
        make()


def test_a_single_item_needs_no_list():
    assert Figure("t", "x", "y", Line([1], [1])).items == (Line([1], [1]),)


def test_categories_are_those_of_all_bars_in_the_order_met():
    figure = Figure("t", "", "y", [Bars(["b", "a"], [1, 2]), Line([0], [1]), Bars(["a", "c"], [1, 2])])
    assert figure.categories == ("b", "a", "c")


def test_items_keep_the_colour_they_ask_for_and_others_avoid_it():
    items = [Points([], []), Line([], [], color=0), Marks([]), Bars([], []), Histogram([], [0], color=0)]
    assert item_colors(items) == [1, 0, -1, 2, 0]
