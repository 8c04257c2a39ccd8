"""Intervals: the laws against SciPy, the coverage against simulation, the edges against common sense."""

import math

import numpy as np
import pytest

from coarsegrad.measure.intervals import (
    Interval,
    holm,
    mean_interval,
    paired_difference,
    paired_power,
    proportion_interval,
    student_t_quantile,
    student_t_tail,
)

stats = pytest.importorskip("scipy.stats", reason="the oracle for intervals is SciPy: pip install scipy")


@pytest.mark.parametrize("df", [1, 2, 3, 4.5, 9, 30, 200, 1999, 2001, 1e5])
@pytest.mark.parametrize("p", [1e-6, 0.01, 0.025, 0.3, 0.5, 0.7, 0.9, 0.975, 0.9995])
def test_student_quantile_is_that_of_scipy(df, p):
    assert student_t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("df", [1, 2, 7, 60, 3000])
@pytest.mark.parametrize("t", [-30.0, -1.5, -1e-3, 0.0, 0.4, 1.0, 2.5, 12.0, math.inf])
def test_student_tail_is_that_of_scipy(df, t):
    assert student_t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("t", [1e-12, 1e-9, 1e-6, 0.5, 1e6])
def test_one_degree_of_freedom_is_the_cauchy_law(t):
    assert student_t_tail(t, 1) == pytest.approx(math.atan2(1, t) / math.pi, rel=1e-12)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_mean_interval_is_that_of_scipy(confidence):
    values = [0.3, 1.7, -0.2, 5.0, 0.9]
    ours = mean_interval(values, confidence)
    low, high = stats.t.interval(confidence, 4, np.mean(values), stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-10)


def test_one_value_limits_nothing():
    assert mean_interval([2.5]) == Interval(2.5, -math.inf, math.inf)
    alone = paired_difference([2.0], [1.0])
    assert alone.difference == 1.0 and not alone.resolved and alone.seeds_needed is None


def test_paired_difference_is_the_paired_t_test():
    a, b = [0.91, 0.93, 0.90, 0.94, 0.95], [0.90, 0.91, 0.895, 0.91, 0.945]
    ours, oracle = paired_difference(a, b), stats.ttest_rel(a, b)
    interval = oracle.confidence_interval(0.95)
    assert ours.p_value == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert ours.resolved and ours.seeds_needed == 0


def test_swapping_the_arms_turns_the_sign():
    a, b = [1.0, 2.0, 4.0], [1.5, 1.0, 2.0]
    ab, ba = paired_difference(a, b), paired_difference(b, a)
    assert (ab.difference, ab.low, ab.high) == (-ba.difference, -ba.high, -ba.low)
    assert (ab.p_value, ab.seeds_needed) == (ba.p_value, ba.seeds_needed)


def test_equal_arms_are_never_resolved_and_a_constant_gain_is():
    same = paired_difference([1, 2, 3], [1, 2, 3])
    assert (same.p_value, same.resolved, same.seeds_needed) == (1.0, False, None)
    gain = paired_difference([2, 3, 4], [1, 2, 3])
    assert (gain.low, gain.high, gain.p_value, gain.resolved, gain.seeds_needed) == (1.0, 1.0, 0.0, True, 0)


def test_seeds_needed_reach_the_power_and_one_fewer_does_not():
    a, b = np.array([0.1, 0.5, -0.2, 0.3, -0.1]), np.zeros(5)
    needed = paired_difference(a, b).seeds_needed
    effect = a.mean() / a.std(ddof=1)
    assert paired_power(effect, 5 + needed) >= 0.8 > paired_power(effect, 5 + needed - 1)


def test_a_difference_of_a_millionth_of_its_noise_is_never_resolved():
    assert paired_difference([1.0, -1.0, 1e-9], [0, 0, 0]).seeds_needed is None


@pytest.mark.parametrize("n", [2, 3, 10, 100, 5000])
@pytest.mark.parametrize("effect", [0.0, 0.05, 0.5, 2.0])
def test_power_is_that_of_the_noncentral_t_law(effect, n):
    critical = stats.t.ppf(0.975, n - 1)
    law = stats.nct(n - 1, effect * math.sqrt(n))
    other_tail = np.nan_to_num(law.cdf(-critical))  # SciPy gives NaN where it underflows
    assert paired_power(effect, n) == pytest.approx(law.sf(critical) + other_tail, abs=1e-7)


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    trials = 2000
    covered = 0
    for values in rng.normal(1.0, 2.0, (trials, 4)):
        interval = mean_interval(values, 0.9)
        covered += interval.low <= 1.0 <= interval.high
    assert abs(covered / trials - 0.9) < 5 * math.sqrt(0.09 / trials)  # 5 sd: false alarm below 1e-6


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (1, 1), (997, 1000)])
def test_proportion_interval_is_wilsons(successes, trials):
    ours = proportion_interval(successes, trials)
    oracle = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert 0 <= ours.low <= ours.estimate <= ours.high <= 1


def test_holm_steps_down_keeps_the_order_given_and_never_exceeds_one():
    assert holm([0.04, 0.001, 0.03, 0.9]) == pytest.approx((0.09, 0.004, 0.09, 0.9))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([]),
        lambda: mean_interval([1.0, math.nan]),
        lambda: mean_interval([1.0, 2.0], confidence=95),
        lambda: paired_difference([1.0], [1.0, 2.0]),
        lambda: proportion_interval(3, 2),
        lambda: proportion_interval(0, 0),
        lambda: holm([1.2]),
        lambda: student_t_quantile(1.0, 3),
        lambda: student_t_tail(1.0, 0),
        lambda: paired_power(1.0, 1),
    ],
)
def test_what_has_no_answer_is_refused_at_the_door(call):
    with pytest.raises(ValueError, match=r"must|needs|takes|empty|NaN"):
        call()
