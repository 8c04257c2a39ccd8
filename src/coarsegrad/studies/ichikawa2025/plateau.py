"""What counts as a plateau, by formula."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

BAND = 1.1
FALL = 2.0


class Plateau(NamedTuple):
    """A stretch over which a curve hardly changes, and the fall that ends it; all 0 where there is none."""

    length: float
    begin: float
    level: float
    """The least value on it."""
    fall: float
    """The time from its end until half of the way to the least value that comes later is done."""

    @property
    def middle(self) -> float:
        """When half of the fall is done."""
        return self.begin + self.length + self.fall

    @property
    def sharpness(self) -> float:
        """Length over fall; of an exponential decay to 0, at any rate, log(1.1) / log(2) = 0.14."""
        return self.length / self.fall if self.fall else 0.0


def plateau(times: Sequence[float], values: Sequence[float]) -> Plateau:
    """The longest stretch with largest <= 1.1 least, after which the curve falls to half of that or lower.

    Times as sampled, nothing is interpolated. A plateau that ends in a rise is one of the reciprocals.

    >>> plateau([0, 1, 2, 3, 4, 5, 6], [2.0, 1.0, 1.0, 0.95, 0.6, 0.2, 0.2])
    Plateau(length=2, begin=1, level=0.95, fall=2)
    >>> plateau([0, 1, 2, 3], [1.0, 1.0, 0.9, 0.8]).length
    0.0
    """
    if len(times) != len(values) or not all(value > 0 for value in values):
        raise ValueError("plateau needs as many positive values as times")
    later = [*accumulate(reversed(values), min)][::-1]
    best, first = Plateau(0.0, 0.0, 0.0, 0.0), 0
    for last in range(len(values)):
        while max(values[first : last + 1]) > BAND * min(values[first : last + 1]):
            first += 1
        level, length = min(values[first : last + 1]), times[last] - times[first]
        if later[last] <= level / FALL and length > best.length * (1 + 1e-9):
            half = (level + later[last]) / 2
            end = next(k for k in range(last, len(values)) if values[k] <= half)
            best = Plateau(length, times[first], level, times[end] - times[last])
    return best
