"""Axes: places are monotone, ranges hold the data, ticks are round, in range, distinct and few."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coarsegrad.view.ticks import Axis, fit_range, linear_ticks

SIZES = st.floats(-1e12, 1e12)


def test_an_axis_maps_its_ends_to_the_ends_of_the_frame():
    assert Axis(0, 10, 100, 300)(5) == 200
    assert Axis(1, 100, 300, 100, log=True)(10) == pytest.approx(200)


def test_what_has_no_place_is_nan_and_what_is_far_stays_near():
    axis = Axis(1, 10, 0, 100, log=True)
    assert math.isnan(axis(0)) and math.isnan(axis(-1)) and math.isnan(axis(math.nan))
    assert axis(math.inf) == 200 and axis(1e-300) == -100


@given(st.lists(SIZES, min_size=1), st.booleans())
def test_a_range_holds_its_data_and_has_width(values, zero):
    low, high = fit_range(values, log=False, zero=zero)
    assert low < high
    assert low <= min(values) and max(values) <= high
    assert not zero or low <= 0 <= high
    assert low >= 0 or min(values) < 0 or zero


@given(st.lists(st.floats(1e-200, 1e200), min_size=1))
def test_a_logarithmic_range_holds_its_data_and_stays_positive(values):
    low, high = fit_range(values, log=True)
    assert 0 < low < high
    assert low <= min(values) * (1 + 1e-9) and max(values) <= high * (1 + 1e-9)


def test_values_that_cannot_be_drawn_do_not_stretch_the_range():
    assert fit_range([1.0, 2.0, math.inf, math.nan], log=False) == fit_range([1.0, 2.0], log=False)
    assert fit_range([1.0, 2.0, 0.0, -5.0], log=True) == fit_range([1.0, 2.0], log=True)


@given(SIZES, st.floats(1e-9, 1e12), st.integers(3, 12))
def test_linear_ticks_are_few_in_range_and_differ(low, width, most):
    if width < 1e-6 * abs(low):
        return
    ticks = linear_ticks(low, low + width, most)
    assert 1 <= len(ticks) <= most + 1
    assert all(low - 1e-6 * width <= v <= low + width * (1 + 1e-6) for v, _ in ticks)


@given(st.integers(-12, 12), st.integers(3, 9))
def test_texts_of_ticks_differ_and_read_back(power, most):
    ticks = linear_ticks(0, 3.7 * 10.0**power, most)
    assert len({text for _, text in ticks}) == len(ticks)
    for value, text in ticks:
        number, _, exponent = text.partition("×10")
        exponent = exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        assert float(number) * 10.0 ** int(exponent or 0) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1, 1000, ["1", "10", "100", "1000"]),
        (0.9, 11, ["1", "2", "5", "10"]),
        (1e-9, 1e-5, ["10⁻⁹", "10⁻⁸", "10⁻⁷", "10⁻⁶", "10⁻⁵"]),
        (1, 1e6, ["10⁰", "10¹", "10²", "10³", "10⁴", "10⁵", "10⁶"]),
    ],
)
def test_logarithmic_ticks_are_decades(low, high, texts):
    assert [text for _, text in Axis(low, high, 0, 1, log=True).ticks(7)] == texts


def test_very_many_decades_are_thinned():
    assert len(Axis(1e-100, 1e100, 0, 1, log=True).ticks(7)) <= 8


def test_negative_numbers_have_a_true_minus_sign():
    assert linear_ticks(-1, 1, 3)[0][1] == "−1"


def test_whole_numbers_have_whole_ticks():
    assert [text for _, text in Axis(1.9, 4.1, 0, 1, whole=True).ticks(8)] == ["2", "3", "4"]
    assert [text for _, text in Axis(1.9, 4.1, 0, 1).ticks(8)][:2] == ["2.0", "2.5"]
    assert [value for value, _ in Axis(0, 1000, 0, 1, whole=True).ticks(6)] == [0, 200, 400, 600, 800, 1000]
