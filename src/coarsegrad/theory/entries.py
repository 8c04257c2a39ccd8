r"""What is known of one entry of Z: its density, or its masses. ``general`` adds such entries up.

A law of ``problem.laws`` is found by its name in ``ENTRIES``. A law of your own brings along what is known:
an attribute ``entry``, a ``Density`` or ``Masses``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

_BESIDE = 1e-11  # a density that jumps is taken in the middle of its jump: as the mean of both sides


@dataclass(frozen=True)
class Density:
    r"""\(\text{shift} + \text{scale}\,Y\), Y with this ``density``.

    ``tail(L)`` is \((P(Y > L), E[Y; Y > L])\); the left one mirrors it, if Y is ``symmetric``, else Y has
    none. ``breaks`` are where the density jumps or bends; between them it is smooth.
    """

    density: Callable[[Tensor], Tensor]
    tail: Callable[[float], tuple[float, float]]
    symmetric: bool = False
    breaks: tuple[float, ...] = ()
    shift: float = 0.0
    scale: float = 1.0

    def moved(self, shift: float, scale: float) -> "Density":
        """``shift`` plus ``scale`` (positive) times it."""
        return replace(self, shift=shift + scale * self.shift, scale=scale * self.scale)

    def at(self, x: Tensor) -> Tensor:
        """The density at these places."""
        y = (x - self.shift) / self.scale
        return (self.density(y - _BESIDE) + self.density(y + _BESIDE)) / (2 * self.scale)

    def beyond(self, x: float) -> tuple[float, float]:
        """Mass and mean of what is above x; for x < 0, of what is below."""
        y = (x - self.shift) / self.scale
        if x < 0 and not self.symmetric:
            return 0.0, 0.0
        mass, mean = self.tail(abs(y))
        return mass, self.shift * mass + math.copysign(self.scale, x) * mean

    def reach(self, number: int) -> float:
        """How far out one entry is looked at: two of so many are never beyond it, or nearly so."""
        far = 8.0
        while far < 2**12 and number * math.prod(self.tail(far)) > 1e-13:
            far *= 2
        return abs(self.shift) + self.scale * far

    def unit(self) -> float:
        """A length of which all breaks are multiples. Raises ``ValueError`` where there is none."""
        breaks = [
            b for b in (self.shift + self.scale * y for y in self.breaks) if abs(b) > 1e-12 * self.scale
        ]
        if not breaks:
            return self.scale
        ratios = [Fraction(b / breaks[0]).limit_denominator(4096) for b in breaks]
        unit = abs(breaks[0]) / math.lcm(*(ratio.denominator for ratio in ratios))
        if any(abs(b - ratio * breaks[0]) > 1e-12 * abs(b) for b, ratio in zip(breaks, ratios, strict=True)):
            raise ValueError(
                f"the density has breaks at {', '.join(f'{b:.6g}' for b in breaks)}, which are no multiples "
                "of a common length: round them, or sample the law with sim.hidden"
            )
        return unit


@dataclass(frozen=True)
class Masses:
    r"""\(\text{shift} + \text{scale}\,Y\), Y in 0, 1, 2, ... with these ``masses``."""

    masses: tuple[float, ...]
    shift: float = 0.0
    scale: float = 1.0

    def moved(self, shift: float, scale: float) -> "Masses":
        """``shift`` plus ``scale`` (positive) times it."""
        return replace(self, shift=shift + scale * self.shift, scale=scale * self.scale)


def entry(law: Any) -> Density | Masses:
    """What is known of an entry of this law.

    Raises ``ValueError`` for a law without a mean, and one whose entries are not known, or not independent.

    >>> from coarsegrad.problem.laws import Exponential, StudentT
    >>> entry(Exponential(2.0)).scale
    2.0
    >>> entry(StudentT(df=1))
    Traceback (most recent call last):
    ...
    ValueError: StudentT(df=1): an entry has no mean, so there is no expected gradient; sample it with sim
    """
    if not math.isfinite(getattr(law, "mean", 0.0)):
        raise ValueError(f"{law}: an entry has no mean, so there is no expected gradient; sample it with sim")
    own = getattr(law, "entry", None)
    if own is not None:
        return own
    make = ENTRIES.get(getattr(law, "name", ""))
    if make is None:
        raise ValueError(
            f"{law!r}: not a law of independent entries that is known here; known: {', '.join(ENTRIES)}; "
            "sample it with sim.hidden, or give it an attribute `entry`"
        )
    return make(law)


def _normal(y):
    return torch.exp(-y.square() / 2) / math.sqrt(2 * math.pi)


def _normal_tail(far):
    return math.erfc(far / math.sqrt(2)) / 2, math.exp(-far * far / 2) / math.sqrt(2 * math.pi)


def _half_normal_tail(far):
    mass, mean = _normal_tail(far)
    return 2 * mass, 2 * mean


def _exponential_tail(far):
    return math.exp(-far), (1 + far) * math.exp(-far)


def _laplace_tail(far):
    mass, mean = _exponential_tail(far)
    return mass / 2, mean / 2


def _student(df: float) -> Density:
    """Tails by the series in df/L^2 of the density's power law; L is at least 8, far out for usual df."""
    front = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    power = (df + 1) / 2

    def density(y):
        return front * (1 + y.square() / df) ** -power

    def tail(far):
        mean = front * (1 + far * far / df) ** -power * (df + far * far) / (df - 1)
        t = torch.linspace(
            0, 1, 2001, dtype=torch.float64
        )  # mass: by x = sqrt(df) sinh(arcsinh + s), Simpson
        start = math.asinh(far / math.sqrt(df))
        s = start + 40 / df * t
        values = front * math.sqrt(df) * torch.exp(-df * torch.log(torch.cosh(s)))
        weight = torch.ones_like(t)
        weight[1:-1:2], weight[2:-1:2] = 4, 2
        return float((values * weight).sum()) * 40 / df / 2000 / 3, mean

    return Density(density, tail, symmetric=True)


def _lognormal(sigma: float) -> Density:
    def density(y):
        log = torch.log(y.clamp(min=1e-300))
        value = torch.exp(-(log / sigma).square() / 2 - log) / (sigma * math.sqrt(2 * math.pi))
        return torch.where(y > 0, value, 0.0)

    def tail(far):
        at = math.log(far) / sigma
        mean = math.exp(sigma * sigma / 2) * math.erfc((at - sigma) / math.sqrt(2)) / 2
        return math.erfc(at / math.sqrt(2)) / 2, mean

    return Density(density, tail)


def _poisson(rate: float) -> Masses:
    most = int(rate + 12 * math.sqrt(rate)) + 25
    return Masses(tuple(math.exp(k * math.log(rate) - rate - math.lgamma(k + 1)) for k in range(most)))


_NORMAL = Density(_normal, _normal_tail, symmetric=True)
_UNIFORM = Density(lambda y: ((y > 0) & (y < 1)).to(y.dtype), lambda far: (0.0, 0.0), breaks=(0.0, 1.0))
_LAPLACE = Density(lambda y: torch.exp(-y.abs()) / 2, _laplace_tail, symmetric=True, breaks=(0.0,))
_EXPONENTIAL = Density(
    lambda y: torch.where(y > 0, torch.exp(-y.clamp(min=0)), 0.0), _exponential_tail, breaks=(0.0,)
)
_HALF_NORMAL = Density(lambda y: torch.where(y > 0, 2 * _normal(y), 0.0), _half_normal_tail, breaks=(0.0,))

ENTRIES: dict[str, Callable[[Any], Density | Masses]] = {
    "gaussian": lambda law: _NORMAL.moved(law.mean, law.scale),
    "rademacher": lambda law: Masses((0.5, 0.5)).moved(-1.0, 2.0),
    "uniform": lambda law: _UNIFORM.moved(law.low, law.high - law.low),
    "laplace": lambda law: _LAPLACE.moved(0.0, law.scale),
    "student_t": lambda law: _student(law.df),
    "exponential": lambda law: _EXPONENTIAL.moved(0.0, law.scale),
    "lognormal": lambda law: _lognormal(law.sigma),
    "half_normal": lambda law: _HALF_NORMAL.moved(0.0, law.scale),
    "bernoulli": lambda law: Masses((1 - law.p, law.p)),
    "poisson": lambda law: _poisson(law.rate),
    "standardized": lambda law: entry(law.law).moved(-law.law.mean, 1.0).moved(0.0, law.law.variance**-0.5),
}
"""By the name of the law; each law has ``mean`` and ``variance``, too."""
