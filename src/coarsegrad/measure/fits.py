"""Fits with intervals: the exponent of a power law, and the size at which success becomes likely."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .intervals import Interval, student_t_quantile


@dataclass(frozen=True)
class PowerLaw:
    """``y = prefactor * x ** exponent``; ``residual_sd`` is in natural-log units of y."""

    exponent: Interval
    prefactor: Interval
    residual_sd: float

    def predict(self, x: float) -> float:
        """The fitted y at ``x > 0``."""
        return self.prefactor.estimate * x**self.exponent.estimate


@dataclass(frozen=True)
class LogisticThreshold:
    """Success ``1 / (1 + exp(-(intercept + slope * log n)))``; n50, n90: where it is 1/2, 9/10."""

    n50: Interval
    n90: Interval
    intercept: float
    slope: float

    def probability(self, n: float) -> float:
        """The fitted success probability at size ``n > 0``, in [0, 1]."""
        return float(_sigmoid(np.array(self.intercept + self.slope * math.log(n))))


def power_law(x: Iterable[float], y: Iterable[float], confidence: float = 0.95) -> PowerLaw:
    """Least squares of ``log y`` on ``log x``, with Student t intervals; two points give infinite ends.

    The intervals take the residuals as independent and of one size in log y: look at a plot before leaning
    on them. Raises ValueError for values that are not positive (a logarithm would drop them silently).

    >>> fit = power_law([1, 2, 4, 8], [3.0, 1.5, 0.75, 0.375])
    >>> round(fit.exponent.estimate, 12), round(fit.prefactor.estimate, 12)
    (-1.0, 3.0)
    """
    log_x, log_y = _logs(x, "power_law(x)"), _logs(y, "power_law(y)")
    n = len(log_x)
    if n != len(log_y):
        raise ValueError(f"power_law needs one y for each x, got {n} and {len(log_y)}")
    if np.unique(log_x).size < 2:
        raise ValueError("power_law(x) needs two different values or more")
    center = log_x.mean()
    spread = np.square(log_x - center).sum()
    exponent = float(((log_x - center) * log_y).sum() / spread)
    intercept = float(log_y.mean() - exponent * center)
    residual = log_y - intercept - exponent * log_x
    if n == 2:
        sd, reach = 0.0, math.inf
    else:
        sd = float(np.sqrt(np.square(residual).sum() / (n - 2)))
        reach = student_t_quantile((1 + confidence) / 2, n - 2) * sd
    side = reach / math.sqrt(spread)
    foot = reach * math.sqrt(1 / n + center**2 / spread)
    return PowerLaw(
        exponent=Interval(exponent, exponent - side, exponent + side),
        prefactor=Interval(*(_exp(v) for v in (intercept, intercept - foot, intercept + foot))),
        residual_sd=sd,
    )


def logistic_threshold(
    n: Iterable[float], successes: Iterable[int], trials: Iterable[int], confidence: float = 0.95
) -> LogisticThreshold:
    """Fit the success probability as a logistic function of ``log n``; n50 and n90 with profile intervals.

    ``successes[i]`` of ``trials[i]`` runs succeeded at size ``n[i]``. The fit maximises the likelihood with
    Jeffreys' prior (Firth 1993, doi:10.1093/biomet/80.1.27), so it stays finite where plain maximum
    likelihood runs away: at a clean jump from never to always. The intervals hold the thresholds whose
    profile of that likelihood is not rejected; an end that the data cannot limit is 0 or infinite. When
    every run or no run succeeded, estimates are NaN and the intervals (0, inf).

    >>> fit = logistic_threshold([10, 20, 40, 80, 160], [0, 2, 11, 18, 20], [20] * 5)
    >>> print(fit.n50, "|", fit.n90)
    38.64 [31.39, 47.55] | 76.41 [57.39, 114.1]
    """
    log_n = _logs(n, "logistic_threshold(n)")
    won = np.array([float(v) for v in successes])
    tried = np.array([float(v) for v in trials])
    if not len(log_n) == len(won) == len(tried):
        raise ValueError(
            f"logistic_threshold needs as many successes and trials as sizes, got {len(won)}, {len(tried)} "
            f"and {len(log_n)}"
        )
    if not ((won >= 0) & (won <= tried) & (tried >= 1)).all():
        raise ValueError("logistic_threshold needs 0 <= successes <= trials and 1 <= trials at every size")
    if np.unique(log_n).size < 2:
        raise ValueError("logistic_threshold(n) needs two different sizes or more")
    center, spread = log_n.mean(), log_n.std()
    data = _Trials((log_n - center) / spread, won, tried)
    (a, b), best = data.fit()
    slope = b / spread
    intercept = a - slope * center
    drop = 0.5 * NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    known = 0 < won.sum() < tried.sum()

    def interval(probability: float) -> Interval:
        logit = math.log(probability / (1 - probability))
        if not known or b == 0:
            return Interval(math.nan, 0.0, math.inf)
        at = (logit - a) / b

        def rejected(t: float) -> bool:
            return best - data.profile(t, logit) > drop

        low, high = (_edge(rejected, at, direction) for direction in (-1, 1))
        return Interval(*(_exp(center + spread * t) for t in (at, low, high)))

    return LogisticThreshold(
        n50=interval(0.5), n90=interval(0.9), intercept=float(intercept), slope=float(slope)
    )


@dataclass(frozen=True)
class _Trials:
    x: np.ndarray
    won: np.ndarray
    tried: np.ndarray

    def likelihood(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Log-likelihood plus half the log-determinant of the information; ``a`` and ``b`` of any shape."""
        eta = np.asarray(a)[..., None] + np.asarray(b)[..., None] * self.x
        p = _sigmoid(eta)
        weight = self.tried * p * (1 - p)
        s0, s1, s2 = (np.sum(weight * self.x**k, -1) for k in range(3))
        value = np.sum(self.won * eta - self.tried * np.logaddexp(0, eta), -1)
        with np.errstate(divide="ignore"):
            return value + 0.5 * np.log(np.maximum(s0 * s2 - s1 * s1, 0))

    def fit(self) -> tuple[np.ndarray, float]:
        """Newton steps on Firth's modified score, halved until the likelihood does not fall."""
        design = np.stack([np.ones_like(self.x), self.x], 1)
        theta = np.zeros(2)
        value = float(self.likelihood(theta[0], theta[1]))
        for _ in range(200):
            p = _sigmoid(design @ theta)
            weight = self.tried * p * (1 - p)
            covariance = np.linalg.inv(design.T * weight @ design)
            leverage = weight * np.einsum("ij,jk,ik->i", design, covariance, design)
            step = covariance @ (design.T @ (self.won - self.tried * p + leverage * (0.5 - p)))
            while True:
                trial = float(self.likelihood(*(theta + step)))
                if trial >= value or np.abs(step).max() < 1e-13:
                    break
                step = step / 2
            if trial >= value:
                theta, value = theta + step, trial
            if np.abs(step).max() < 1e-12:
                break
        return theta, value

    def profile(self, t: float, logit: float) -> float:
        """Best likelihood among curves that pass ``logit`` at ``t``: a grid of slopes, refined thrice."""
        grid = np.geomspace(1e-4, 1e4, 81) / (1 + abs(t))
        grid = np.concatenate([-grid[::-1], [0.0], grid])
        values = self.likelihood(logit - grid * t, grid)
        top = int(np.argmax(values))
        low, high = grid[max(top - 1, 0)], grid[min(top + 1, len(grid) - 1)]
        best = float(values[top])
        for _ in range(3):  # each pass shrinks the bracket by a factor of 10
            slopes = np.linspace(low, high, 21)
            values = self.likelihood(logit - slopes * t, slopes)
            top = int(np.argmax(values))
            best = max(best, float(values[top]))
            low, high = slopes[max(top - 1, 0)], slopes[min(top + 1, 20)]
        return best


def _edge(rejected: Callable[[float], bool], start: float, direction: int) -> float:
    """Where ``rejected`` becomes true, going from ``start``; infinite if not within 10^6 of it."""
    step = 0.01
    while not rejected(start + direction * step):
        step *= 2
        if step > 1e6:
            return direction * math.inf
    inside, outside = step / 2 if step > 0.01 else 0.0, step
    for _ in range(32):
        middle = 0.5 * (inside + outside)
        inside, outside = (inside, middle) if rejected(start + direction * middle) else (middle, outside)
    return start + direction * inside


def _sigmoid(eta: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * eta))


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf


def _logs(values: Iterable[float], name: str) -> np.ndarray:
    numbers = np.array([float(v) for v in values], dtype=np.float64)
    if numbers.size == 0 or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"{name} must be positive finite numbers, got {numbers.tolist()}")
    return np.log(numbers)
