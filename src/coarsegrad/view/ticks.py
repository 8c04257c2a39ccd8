"""Axes: where a number stands on the page, and at which round numbers the ticks are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """Maps ``low .. high`` to ``start .. end`` in page units.

    ``log`` for a logarithmic one, ``whole`` where all that is shown are whole numbers: so are its ticks.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False

    def __call__(self, value: float) -> float:
        """Place of ``value``, at most one frame's width outside; NaN if it has none (NaN, or log of 0)."""
        if math.isnan(value) or (self.log and value <= 0):
            return math.nan
        value = min(max(value, -1e300), 1e300)
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        share = min(max((value - low) / (high - low), -1.0), 2.0)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round values in range with their texts, about ``most`` of them at the most."""
        if self.log and math.log10(self.high / self.low) >= 1:
            return _decades(self.low, self.high, most)
        return linear_ticks(self.low, self.high, most, self.whole)


def fit_range(values: Iterable[float], log: bool, zero: bool = False) -> tuple[float, float]:
    """Ends of an axis that shows the finite ``values`` with some air, and 0 if ``zero``.

    Values that are not negative do not get an axis that goes below 0.

    >>> fit_range([0.0, 10.0], log=False)
    (0.0, 10.5)
    >>> fit_range([], log=True)
    (0.1, 1.0)
    """
    values = [v for v in values if math.isfinite(v) and abs(v) < 1e300 and (v > 0 or not log)]
    if log:
        low, high = (min(values), max(values)) if values else (0.1, 1.0)
        if not values:
            return low, high
        low, high = math.log10(max(low, 1e-290)), math.log10(max(high, 1e-290))
        air = 0.05 * (high - low) if high - low > 1e-9 else 0.5
        return 10 ** max(low - air, -300), 10 ** min(high + air, 300)
    if zero:
        values.append(0.0)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    size = max(abs(low), abs(high))
    if high - low <= max(1e-12 * size, 1e-290):  # one value, to the eye
        air = 0.5 * size if size > 1e-290 else 0.5
    else:
        air = 0.05 * (high - low)
    bottom = 0.0 if 0 <= low <= 2 * air else low - air
    top = 0.0 if zero and high == 0 > low else high + air
    return bottom, top


def linear_ticks(low: float, high: float, most: int, whole: bool = False) -> list[tuple[float, str]]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten; of 1 at least if ``whole``.

    >>> [text for _, text in linear_ticks(0, 1, 6)]
    ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']
    """
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10, 20) if power * m >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [index * step for index in range(first, last + 1)]
    largest = max((abs(v) for v in values), default=0.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step / 10.0**-decimals - round(step / 10.0**-decimals)) > 1e-6:  # a step of 2.5 has one digit more
        decimals += 1
    if largest and (largest >= 1e5 or largest < 1e-3):
        exponent = math.floor(math.log10(largest))
        digits = max(0, decimals + exponent)
        return [(v, f"{v / 10.0**exponent:.{digits}f}×{_power(exponent)}" if v else "0") for v in values]
    return [(v, _minus(f"{v if abs(v) > step / 2 else 0:.{decimals}f}")) for v in values]


def _decades(low: float, high: float, most: int) -> list[tuple[float, str]]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    count = last - first + 1
    if count <= 2:
        # Less than three decades: also 2 and 5 where there is room.
        values = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
        values = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(values) > most:
            values = [10.0**e for e in range(first, last + 1)]
        return [(v, _minus(f"{v:g}") if 1e-4 <= v < 1e5 else _scientific(v)) for v in values]
    stride = max(1, math.ceil(count / most))
    exponents = [e for e in range(first, last + 1) if e % stride == 0]
    plain = exponents[0] >= -2 and exponents[-1] <= 3
    return [(10.0**e, f"{10.0**e:g}" if plain else _power(e)) for e in exponents]


def _power(exponent: int) -> str:
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def _scientific(value: float) -> str:
    exponent = math.floor(math.log10(value) + 1e-9)
    digit = f"{value / 10.0**exponent:.0f}"
    return _power(exponent) if digit == "1" else f"{digit}×{_power(exponent)}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
