"""Laws of the inputs: what each sample's m x n numbers are drawn from. Samples are independent.

A law fills an array, and says mean and variance of an entry. Your own is such an object, and so is a law made
of another (``Standardized``, ``Normalized``). Here are those with independent entries, and the catalogue.

>>> draw, z = np.random.default_rng(0), np.empty((1000, 3, 4))
>>> Exponential().fill(draw, z)
>>> bool(z.min() > 0), Exponential().mean, Standardized(Exponential()).mean
(True, 1.0, 0.0)
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from coarsegrad.problem.features import Bimodal, Correlated, Equicorrelated, Spread
from coarsegrad.problem.law import finite, parts, positive
from coarsegrad.problem.normalized import Normalized, Standardized


@dataclass(frozen=True)
class Gaussian:
    """Independent normal entries."""

    mean: float = 0.0
    scale: float = 1.0
    name: ClassVar[str] = "gaussian"

    def __post_init__(self):
        finite(self, "mean")
        positive(self, "scale")

    @property
    def variance(self) -> float:
        """The scale's square."""
        return self.scale**2

    def fill(self, draw, out):
        """In place, in the array's own precision."""
        draw.standard_normal(out=out, dtype=out.dtype)
        if self != Gaussian():
            out *= self.scale
            out += self.mean


@dataclass(frozen=True)
class Rademacher:
    """Entries -1 and 1, each with probability 1/2: arithmetic on them is exact."""

    name: ClassVar[str] = "rademacher"
    mean: ClassVar[float] = 0.0
    variance: ClassVar[float] = 1.0

    def fill(self, draw, out):
        """A bit an entry."""
        bits = np.unpackbits(np.frombuffer(draw.bytes(-(-out.size // 8)), np.uint8), count=out.size)
        out[...] = bits.reshape(out.shape)
        out *= 2
        out -= 1


@dataclass(frozen=True)
class Uniform:
    """Entries between ``low`` and ``high``."""

    low: float = -1.0
    high: float = 1.0
    name: ClassVar[str] = "uniform"

    def __post_init__(self):
        finite(self, "low", "high")
        if not self.low < self.high:
            raise ValueError(f"Uniform(low=..., high=...) needs low < high, got {self.low}, {self.high}")

    @property
    def mean(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def variance(self) -> float:
        """A twelfth of the width's square."""
        return (self.high - self.low) ** 2 / 12

    def fill(self, draw, out):
        """In place."""
        draw.random(out=out, dtype=out.dtype)
        out *= self.high - self.low
        out += self.low


@dataclass(frozen=True)
class Laplace:
    """Tails like exp(-|x|/scale)."""

    scale: float = 1.0
    name: ClassVar[str] = "laplace"
    mean: ClassVar[float] = 0.0

    def __post_init__(self):
        positive(self, "scale")

    @property
    def variance(self) -> float:
        """Twice the scale's square."""
        return 2 * self.scale**2

    def fill(self, draw, out):
        """Drawn in float64."""
        for part in parts(out):
            part[...] = draw.laplace(scale=self.scale, size=part.shape)


@dataclass(frozen=True)
class StudentT:
    """Tails like |x|^-(df+1): no variance for df <= 2, no mean for df <= 1 (df = 1 is Cauchy's law)."""

    df: float = 3.0
    name: ClassVar[str] = "student_t"

    def __post_init__(self):
        positive(self, "df")

    @property
    def mean(self) -> float:
        """Zero, where it exists; else nan."""
        return 0.0 if self.df > 1 else math.nan

    @property
    def variance(self) -> float:
        """df/(df-2), or infinite."""
        return self.df / (self.df - 2) if self.df > 2 else math.inf

    def fill(self, draw, out):
        """Drawn in float64."""
        for part in parts(out):
            part[...] = draw.standard_t(self.df, size=part.shape)


@dataclass(frozen=True)
class Exponential:
    """Positive and skewed."""

    scale: float = 1.0
    name: ClassVar[str] = "exponential"

    def __post_init__(self):
        positive(self, "scale")

    @property
    def mean(self) -> float:
        """The scale."""
        return self.scale

    @property
    def variance(self) -> float:
        """The scale's square."""
        return self.scale**2

    def fill(self, draw, out):
        """In place."""
        draw.standard_exponential(out=out, dtype=out.dtype)
        out *= self.scale


@dataclass(frozen=True)
class LogNormal:
    """exp(sigma x) of a standard normal x: positive, skewed, heavy tail."""

    sigma: float = 1.0
    name: ClassVar[str] = "lognormal"

    def __post_init__(self):
        positive(self, "sigma")

    @property
    def mean(self) -> float:
        """exp(sigma^2/2)."""
        return float(np.exp(self.sigma**2 / 2))

    @property
    def variance(self) -> float:
        """The mean's square times exp(sigma^2) - 1."""
        return float(np.exp(self.sigma**2) * np.expm1(self.sigma**2))

    def fill(self, draw, out):
        """In place."""
        draw.standard_normal(out=out, dtype=out.dtype)
        out *= self.sigma
        np.exp(out, out=out)


@dataclass(frozen=True)
class HalfNormal:
    """The absolute value of a normal entry."""

    scale: float = 1.0
    name: ClassVar[str] = "half_normal"

    def __post_init__(self):
        positive(self, "scale")

    @property
    def mean(self) -> float:
        """The scale times sqrt(2/pi)."""
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> float:
        """The scale's square times 1 - 2/pi."""
        return self.scale**2 * (1 - 2 / math.pi)

    def fill(self, draw, out):
        """In place."""
        draw.standard_normal(out=out, dtype=out.dtype)
        np.abs(out, out=out)
        out *= self.scale


@dataclass(frozen=True)
class Bernoulli:
    """Entries 1 with probability ``p``, else 0."""

    p: float = 0.5
    name: ClassVar[str] = "bernoulli"

    def __post_init__(self):
        if not 0 < self.p < 1:
            raise ValueError(f"Bernoulli(p=...) must lie between 0 and 1, got {self.p}")

    @property
    def mean(self) -> float:
        """The probability."""
        return self.p

    @property
    def variance(self) -> float:
        """p(1 - p)."""
        return self.p * (1 - self.p)

    def fill(self, draw, out):
        """In place."""
        draw.random(out=out, dtype=out.dtype)
        np.less(out, self.p, out=out)


@dataclass(frozen=True)
class Poisson:
    """Counts."""

    rate: float = 1.0
    name: ClassVar[str] = "poisson"

    def __post_init__(self):
        positive(self, "rate")

    @property
    def mean(self) -> float:
        """The rate."""
        return self.rate

    @property
    def variance(self) -> float:
        """The rate."""
        return self.rate

    def fill(self, draw, out):
        """Drawn as whole numbers."""
        for part in parts(out):
            part[...] = draw.poisson(self.rate, size=part.shape)


STANDARD = Gaussian()
LAWS: dict[str, type] = {
    law.name: law
    for law in (
        Gaussian, Rademacher, Uniform, Laplace, StudentT, Exponential, LogNormal, HalfNormal, Bernoulli,
        Poisson, Correlated, Equicorrelated, Bimodal, Spread, Standardized, Normalized,
    )
}  # fmt: skip
