"""Fits: known laws come back, intervals cover, and hard cases stay finite or say that they know nothing."""

import math

import numpy as np
import pytest

from coarsegrad.measure.fits import logistic_threshold, power_law


@pytest.mark.parametrize("exponent", [-2.0, -0.5, 0.0, 1.5])
def test_an_exact_power_law_comes_back(exponent):
    x = np.array([1.0, 3.0, 10.0, 200.0])
    fit = power_law(x, 0.7 * x**exponent)
    assert fit.exponent.estimate == pytest.approx(exponent, abs=1e-12)
    assert fit.prefactor.estimate == pytest.approx(0.7)
    assert fit.predict(50.0) == pytest.approx(0.7 * 50.0**exponent)
    assert fit.exponent.high - fit.exponent.low < 1e-10


def test_power_law_is_scipys_regression_of_the_logarithms():
    stats = pytest.importorskip("scipy.stats", reason="the oracle for fits is SciPy: pip install scipy")
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 100, 8)
    y = 2 * x**-0.5 * np.exp(0.1 * rng.normal(size=8))
    ours, oracle = power_law(x, y), stats.linregress(np.log(x), np.log(y))
    t = stats.t.ppf(0.975, 6)
    assert ours.exponent.estimate == pytest.approx(oracle.slope)
    assert ours.exponent.high - ours.exponent.estimate == pytest.approx(t * oracle.stderr, rel=1e-9)
    assert math.log(ours.prefactor.high) == pytest.approx(oracle.intercept + t * oracle.intercept_stderr)


def test_the_exponents_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    x, trials = np.geomspace(1, 64, 7), 1000
    covered = 0
    for noise in rng.normal(0, 0.3, (trials, 7)):
        interval = power_law(x, x**-1.0 * np.exp(noise), 0.9).exponent
        covered += interval.low <= -1 <= interval.high
    assert abs(covered / trials - 0.9) < 5 * math.sqrt(0.09 / trials)  # 5 sd: false alarm below 1e-6


def test_two_points_fix_a_line_but_no_interval():
    fit = power_law([1, 2], [1, 4])
    assert fit.exponent.estimate == pytest.approx(2.0)
    assert (fit.exponent.low, fit.exponent.high) == (-math.inf, math.inf)
    assert (fit.prefactor.low, fit.prefactor.high) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("x", "y"), [([1, 2], [1, 0]), ([1, 1], [1, 2]), ([1, 2, 3], [1, 2]), ([], []), ([1, -2], [1, 1])]
)
def test_a_power_law_without_an_answer_is_refused(x, y):
    with pytest.raises(ValueError, match="power_law"):
        power_law(x, y)


SIZES = np.array([10, 20, 40, 80, 160])


def success(n, n50=40.0, slope=3.0):
    return 1 / (1 + (n50 / n) ** slope)


def test_plenty_of_runs_recover_the_threshold():
    trials = np.full(5, 1_000_000)
    fit = logistic_threshold(SIZES, np.round(trials * success(SIZES)), trials)
    assert fit.n50.estimate == pytest.approx(40, rel=1e-3)
    assert fit.n90.estimate == pytest.approx(40 * 9 ** (1 / 3), rel=1e-3)
    assert fit.slope == pytest.approx(3, rel=1e-3)
    assert fit.probability(40) == pytest.approx(0.5, abs=1e-3)
    assert fit.n50.high / fit.n50.low < 1.01


def test_the_fit_is_the_maximum_of_firths_likelihood():
    won, tried = [1, 4, 12, 17, 20], [20] * 5
    fit = logistic_threshold(SIZES, won, tried)

    def likelihood(intercept, slope):
        x = np.log(SIZES)
        p = 1 / (1 + np.exp(-(intercept + slope * x)))
        weight = 20 * p * (1 - p)
        information = np.array(
            [[weight.sum(), (weight * x).sum()], [(weight * x).sum(), (weight * x * x).sum()]]
        )
        return (
            np.sum(won * np.log(p) + (20 - np.array(won)) * np.log1p(-p))
            + 0.5 * np.linalg.slogdet(information)[1]
        )

    best = likelihood(fit.intercept, fit.slope)
    for da, db in [(1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)]:
        assert likelihood(fit.intercept + da, fit.slope + db) < best


def test_the_threshold_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(2)
    repeats, covered50, covered90 = 100, 0, 0
    for won in rng.binomial(20, success(SIZES), (repeats, 5)):
        fit = logistic_threshold(SIZES, won, [20] * 5, confidence=0.9)
        covered50 += fit.n50.low <= 40 <= fit.n50.high
        covered90 += fit.n90.low <= 40 * 9 ** (1 / 3) <= fit.n90.high
    for covered in (covered50, covered90):  # the profile interval is asymptotic: 3 points of grace on 5 sd
        assert abs(covered / repeats - 0.9) < 5 * math.sqrt(0.09 / repeats) + 0.03


def test_a_clean_jump_has_its_threshold_in_the_gap():
    fit = logistic_threshold([10, 20, 40, 80], [0, 0, 20, 20], [20] * 4)
    assert 20 < fit.n50.estimate < 40 and 20 < fit.n90.estimate < 80
    assert 10 < fit.n50.low < fit.n50.estimate < fit.n50.high < 80


def test_a_threshold_beyond_the_data_has_an_open_end():
    fit = logistic_threshold([10, 20, 40], [0, 1, 2], [20] * 3)
    assert fit.n90.low > 40
    assert fit.n90.high == math.inf or fit.n90.high > 1000


@pytest.mark.parametrize("share", [0, 20])
def test_all_or_none_says_that_it_does_not_know(share):
    fit = logistic_threshold(SIZES, [share] * 5, [20] * 5)
    assert math.isnan(fit.n50.estimate) and (fit.n90.low, fit.n90.high) == (0.0, math.inf)


def test_the_unit_of_size_does_not_matter():
    won = [0, 2, 11, 18, 20]
    one, thousand = (logistic_threshold(SIZES * unit, won, [20] * 5) for unit in (1, 1000))
    for a, b in [(one.n50, thousand.n50), (one.n90, thousand.n90)]:
        assert (1000 * a.estimate, 1000 * a.low, 1000 * a.high) == pytest.approx(
            (b.estimate, b.low, b.high), rel=1e-6
        )


@pytest.mark.parametrize(
    ("sizes", "won", "tried"),
    [
        ([10], [1], [2]),
        ([10, 10], [1, 2], [3, 3]),
        ([0, 10], [1, 2], [3, 3]),
        ([1, 2], [4, 2], [3, 3]),
        ([1, 2], [1], [3]),
    ],
)
def test_a_threshold_without_an_answer_is_refused(sizes, won, tried):
    with pytest.raises(ValueError, match="logistic_threshold"):
        logistic_threshold(sizes, won, tried)
