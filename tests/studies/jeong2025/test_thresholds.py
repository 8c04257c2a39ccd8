"""Thresholds and their growth, on rows made of known ones."""

import pytest

from coarsegrad.studies.jeong2025 import thresholds
from studies.jeong2025.cell_rows import grid


def test_the_exponent_of_the_threshold_is_found():
    rows = {"grid": grid(1.4, 2.0) + grid(1.4, 1.0, "identity")}
    fit = thresholds.growth(rows, "relu", "ergodic")
    assert fit.exponent.estimate == pytest.approx(1.4, abs=0.02)
    found = dict(thresholds.thresholds(rows, "relu", "last"))
    assert found[50].n50.estimate == pytest.approx(2 * 50**1.4, rel=0.02)


def test_the_right_shape_fits_best():
    found = thresholds.thresholds({"far": grid(2.0, 0.5)}, "relu", "ergodic", "far")
    misfits = [thresholds.misfit(found, shape) for shape in (lambda n: n, lambda n: n**2, lambda n: n**4)]
    assert misfits[1] == pytest.approx(1, abs=0.03) and min(misfits[0], misfits[2]) > 3


def test_where_nothing_or_everything_succeeds_there_is_no_threshold():
    rows = [{"samples": n, "runs": 5, "last": 0} for n in (10, 20)]
    assert thresholds.fitted(rows, "last") is None
    assert thresholds.fitted([{**row, "last": 5} for row in rows], "last") is None
    assert thresholds.growth({"grid": []}, "relu", "last") is None
