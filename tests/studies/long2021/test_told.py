"""Words for a cell."""

import math

import pytest

from coarsegrad.measure import proportion_interval
from coarsegrad.studies.long2021.told import curve, lines, mean_steps, said, share, shares, steps, word

ROW = {
    "surrogate": "relu", "solved": 4, "right": 3, "runs": 4, "steps": 50, "log_mean": math.log(11),
    "log_low": math.log(9), "log_high": math.log(13), "angle": 45.0, "bits": 1,
}  # fmt: skip


def test_steps_are_those_after_the_start():
    assert mean_steps(ROW) == pytest.approx((10, 8, 12))
    assert steps(ROW) == "10 (8 to 12)" and share(ROW) == "0.75"
    assert steps({**ROW, "solved": 3}) == "at least 10 (8 to 12)"
    assert steps({**ROW, "solved": 0}) == "none in 50"


def test_only_what_is_changed_is_said():
    assert said(ROW) == "angle 45, bits 1"


def test_surrogates_stand_side_by_side():
    rows = [{**ROW, "surrogate": name, "angle": a} for a in (90.0, 45.0) for name in ("relu", "identity")]
    assert lines(rows, lambda row: {"angle": row["angle"]}, share) == [
        {"angle": 90.0, "ReLU": "0.75", "identity": "0.75"},
        {"angle": 45.0, "ReLU": "0.75", "identity": "0.75"},
    ]


def test_a_curve_is_in_the_order_of_x():
    line, dots = curve([(2.0, 5.0, 4.0, 6.0), (1.0, 7.0, 6.0, 8.0)], "log_tailed_relu", 1)
    assert (line.x, line.y, line.label) == ((1, 2), (7, 5), "log-tailed ReLU")
    assert (dots.low, dots.high, dots.label) == ((6, 4), (8, 6), "")
    assert curve([], "relu", 0)[0].x == ()


def test_shares_have_intervals():
    bars = shares([ROW], ["a"], word("reverse_exponential"), 0)
    interval = proportion_interval(3, 4)
    assert (bars.low, bars.high, bars.label) == ((interval.low,), (interval.high,), "reverse exponential")
