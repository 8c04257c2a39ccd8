"""Intervals: how far a number from a few runs can be trusted. Plain floats, no SciPy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_POWER = 0.8
_MOST_SEEDS = 1_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its confidence interval; an end is infinite where the data set no limit."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class PairedDifference:
    """What paired runs say about ``mean(a) - mean(b)``; see `paired_difference`."""

    difference: float
    low: float
    high: float
    p_value: float
    resolved: bool
    seeds_needed: int | None


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Student t interval of the mean of independent values. One value alone has infinite ends.

    >>> print(mean_interval([1.0, 2.0, 3.0]))
    2 [-0.4841, 4.484]
    """
    mean, error, n = _mean_and_error(_numbers(values, "mean_interval(values)"))
    if n == 1:
        _check_confidence(confidence)
        return Interval(mean, -math.inf, math.inf)
    reach = student_t_quantile((1 + _check_confidence(confidence)) / 2, n - 1) * error
    return Interval(mean, mean - reach, mean + reach)


def paired_difference(a: Iterable[float], b: Iterable[float], confidence: float = 0.95) -> PairedDifference:
    """Paired t test: ``a[i]`` and ``b[i]`` come from the same seed.

    ``difference`` is mean(a - b) with its interval, ``p_value`` two-sided, ``resolved`` whether the interval
    excludes 0. ``seeds_needed`` is how many *more* pairs give power 0.8 if the true difference and its sd
    are the observed ones: 0 when resolved, None when that cannot be said (one pair only, no difference, or
    more than a million). It is a plan for a *new* comparison of that size: adding seeds until a difference
    shows, and testing after each, raises the false-alarm rate above ``1 - confidence``.

    >>> result = paired_difference([0.91, 0.93, 0.90, 0.94], [0.90, 0.93, 0.91, 0.91])
    >>> result.resolved, result.seeds_needed
    (False, 39)
    """
    a, b = _numbers(a, "paired_difference(a)"), _numbers(b, "paired_difference(b)")
    if len(a) != len(b):
        raise ValueError(f"paired_difference needs one b for each a (same seeds), got {len(a)} and {len(b)}")
    confidence = _check_confidence(confidence)
    mean, error, n = _mean_and_error(a - b)
    if n == 1:
        return PairedDifference(mean, -math.inf, math.inf, 1.0, False, None)
    if error == 0:  # every pair differs by the same amount
        return PairedDifference(mean, mean, mean, float(mean == 0), mean != 0, None if mean == 0 else 0)
    reach = student_t_quantile((1 + confidence) / 2, n - 1) * error
    p_value = student_t_tail(abs(mean) / error, n - 1) * 2
    resolved = abs(mean) > reach
    more = 0 if resolved else _seeds_to_resolve(abs(mean) / (error * math.sqrt(n)), confidence, n)
    return PairedDifference(mean, mean - reach, mean + reach, p_value, resolved, more)


def proportion_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson interval of a share, within [0, 1]; useful also at 0 and at all successes.

    Wilson 1927, doi:10.1080/01621459.1927.10502953.

    >>> print(proportion_interval(0, 20))
    0 [0, 0.1611]
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"proportion_interval needs 0 <= successes <= trials and 1 <= trials, got {successes}, {trials}"
        )
    z = NormalDist().inv_cdf((1 + _check_confidence(confidence)) / 2)
    share = successes / trials
    center = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    low = 0.0 if successes == 0 else max(center - reach, 0.0)
    high = 1.0 if successes == trials else min(center + reach, 1.0)
    return Interval(share, low, high)


def holm(p_values: Iterable[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given: reject those at or below the family's error rate.

    Holds the chance of any false rejection whatever the dependence. Holm 1979, Scand. J. Statist. 6, 65-70.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    p_values = [float(p) for p in p_values]
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"holm(p_values) takes numbers in [0, 1], got {p_values}")
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def student_t_tail(t: float, df: float) -> float:
    """P(T > t) of Student's t law with ``df`` degrees of freedom, through the incomplete beta function.

    >>> round(student_t_tail(1.0, df=1), 12)
    0.25
    """
    if not df > 0:
        raise ValueError(f"student_t_tail(df=...) must be positive, got {df}")
    if math.isinf(t):
        return float(t < 0)
    half = 0.5 * _incomplete_beta(df, t)
    return half if t >= 0 else 1 - half


def student_t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p: bracketed, then bisected to the last bit.

    >>> round(student_t_quantile(0.975, df=10), 6)
    2.228139
    """
    if not 0 < p < 1:
        raise ValueError(f"student_t_quantile(p=...) must be in (0, 1), got {p}")
    if p < 0.5:
        return -_upper_quantile(p, df)
    return _upper_quantile(1 - p, df) if p > 0.5 else 0.0


def _upper_quantile(tail: float, df: float) -> float:
    low, high = 0.0, 1.0
    while student_t_tail(high, df) > tail:
        low, high = high, 2 * high
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            return middle
        low, high = (middle, high) if student_t_tail(middle, df) > tail else (low, middle)


def _incomplete_beta(df: float, t: float) -> float:
    """I_x(df/2, 1/2) at x = df / (df + t^2), which is P(|T| > |t|)."""
    a, b = 0.5 * df, 0.5
    x, rest = df / (df + t * t), t * t / (df + t * t)
    if rest == 0:
        return 1.0
    # lgamma loses digits by cancellation where it is large; the series takes over (Stirling).
    ratio = (
        math.lgamma(a + 0.5) - math.lgamma(a)
        if a < 1000
        else 0.5 * math.log(a) - 1 / (8 * a) + 1 / (192 * a**3)
    )
    log_x = -math.log1p(t * t / df)
    front = math.exp(ratio - 0.5 * math.log(math.pi) + a * log_x + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, rest) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction of I_x(a, b). Abramowitz and Stegun 26.5.8."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / (1 + even * d), 1 + even / c
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / (1 + odd * d), 1 + odd / c
        value *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return value


def paired_power(effect: float, n: int, confidence: float = 0.95) -> float:
    """Chance that the t interval of ``n`` pairs excludes 0 when mean / sd of the differences is ``effect``.

    The noncentral t law, as the mean over the sample sd ``s`` of two normal tails (Gauss-Legendre).

    >>> round(paired_power(0.5, n=34), 3)
    0.808
    """
    if n < 2:
        raise ValueError(f"paired_power(n=...) needs two pairs or more, got {n}")
    df, shift = n - 1, effect * math.sqrt(n)
    critical = student_t_quantile((1 + _check_confidence(confidence)) / 2, df)
    reach = 9 / math.sqrt(2 * df)
    low, high = max(0.0, 1 - reach), 1 + reach
    nodes, weights = np.polynomial.legendre.leggauss(160)
    s = 0.5 * (high - low) * nodes + 0.5 * (high + low)
    log_density = (
        math.log(2)
        + 0.5 * df * math.log(0.5 * df)
        - math.lgamma(0.5 * df)
        + (df - 1) * np.log(s)
        - 0.5 * df * s * s
    )
    beyond = [
        0.5 * math.erfc((critical * v - shift) / math.sqrt(2))
        + 0.5 * math.erfc((critical * v + shift) / math.sqrt(2))
        for v in s
    ]
    return float(min(1.0, 0.5 * (high - low) * np.sum(weights * np.exp(log_density) * beyond)))


def _seeds_to_resolve(effect: float, confidence: float, n: int) -> int | None:
    if effect == 0:
        return None
    low, high = n, 2 * n
    while paired_power(effect, high, confidence) < _POWER:
        low, high = high, 2 * high
        if low > _MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if paired_power(effect, middle, confidence) >= _POWER else (middle, high)
    return high - n


def _numbers(values: Iterable[float], name: str) -> np.ndarray:
    numbers = np.array([float(v) for v in values], dtype=np.float64)
    if numbers.size == 0:
        raise ValueError(f"{name} is empty; give at least one number")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} holds NaN or infinity; drop or repair those runs first, and say so")
    return numbers


def _mean_and_error(values: np.ndarray) -> tuple[float, float, int]:
    """Mean, standard error of the mean, count. Equal values have error exactly 0."""
    n = len(values)
    if (values == values[0]).all():
        return float(values[0]), 0.0, n
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(n)), n


def _check_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), for example 0.95, got {confidence}")
    return confidence
