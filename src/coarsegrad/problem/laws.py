"""Laws of the inputs: what each sample's m x n numbers are drawn from. Rows and samples are independent.

A law fills an array, and says mean and variance of an entry. Your own is such an object, and so is a law made
of another (``Standardized``).

>>> draw, z = np.random.default_rng(0), np.empty((1000, 3, 4))
>>> Exponential().fill(draw, z)
>>> bool(z.min() > 0), Exponential().mean, Standardized(Exponential()).mean
(True, 1.0, 0.0)
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np


class Law(Protocol):
    """What a problem asks of its inputs."""

    @property
    def mean(self) -> float:
        """Of an entry."""
        ...

    @property
    def variance(self) -> float:
        """Of an entry; infinite where it does not exist."""
        ...

    def fill(self, draw: np.random.Generator, out: np.ndarray) -> None:
        """Write a sample into ``out`` ``[N, m, n]``, float32 or float64."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Independent normal entries."""

    mean: float = 0.0
    scale: float = 1.0
    name: ClassVar[str] = "gaussian"

    def __post_init__(self):
        _finite(self, "mean")
        _positive(self, "scale")

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
        _finite(self, "low", "high")
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
        _positive(self, "scale")

    @property
    def variance(self) -> float:
        """Twice the scale's square."""
        return 2 * self.scale**2

    def fill(self, draw, out):
        """Drawn in float64."""
        for part in _parts(out):
            part[...] = draw.laplace(scale=self.scale, size=part.shape)


@dataclass(frozen=True)
class StudentT:
    """Tails like |x|^-(df+1): no variance for df <= 2, no mean for df <= 1 (df = 1 is Cauchy's law)."""

    df: float = 3.0
    name: ClassVar[str] = "student_t"

    def __post_init__(self):
        _positive(self, "df")

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
        for part in _parts(out):
            part[...] = draw.standard_t(self.df, size=part.shape)


@dataclass(frozen=True)
class Exponential:
    """Positive and skewed."""

    scale: float = 1.0
    name: ClassVar[str] = "exponential"

    def __post_init__(self):
        _positive(self, "scale")

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
        _positive(self, "sigma")

    @property
    def mean(self) -> float:
        """exp(sigma^2/2)."""
        return math.exp(self.sigma**2 / 2)

    @property
    def variance(self) -> float:
        """The mean's square times exp(sigma^2) - 1."""
        return self.mean**2 * math.expm1(self.sigma**2)

    def fill(self, draw, out):
        """In place."""
        draw.standard_normal(out=out, dtype=out.dtype)
        out *= self.sigma
        np.exp(out, out=out)


@dataclass(frozen=True)
class Correlated:
    """Normal with variance 1, and correlation rho^|i-j| of the entries i and j of a row (AR(1))."""

    rho: float = 0.5
    name: ClassVar[str] = "correlated"
    mean: ClassVar[float] = 0.0
    variance: ClassVar[float] = 1.0

    def __post_init__(self):
        if not -1 < self.rho < 1:
            raise ValueError(f"Correlated(rho=...) must lie between -1 and 1, got {self.rho}")

    def fill(self, draw, out):
        """In place, column after column."""
        draw.standard_normal(out=out, dtype=out.dtype)
        fresh = math.sqrt(1 - self.rho**2)
        for j in range(1, out.shape[-1]):
            out[..., j] *= fresh
            out[..., j] += self.rho * out[..., j - 1]


@dataclass(frozen=True)
class Standardized:
    """Another law, moved to mean 0 and variance 1 by its own moments, not by those of the sample.

    >>> Standardized(StudentT(df=2))
    Traceback (most recent call last):
    ...
    ValueError: Standardized(StudentT(df=2)): it has no finite variance to divide by; use one that has
    """

    law: Any
    name: ClassVar[str] = "standardized"
    mean: ClassVar[float] = 0.0
    variance: ClassVar[float] = 1.0

    def __post_init__(self):
        checked_law(self.law)
        if not (math.isfinite(self.law.mean) and math.isfinite(self.law.variance)):
            raise ValueError(
                f"Standardized({self.law}): it has no finite variance to divide by; use one that has"
            )

    def fill(self, draw, out):
        """The law's own sample, then moved."""
        self.law.fill(draw, out)
        out -= self.law.mean
        out /= math.sqrt(self.law.variance)


def checked_law(law: Any) -> None:
    """Raise ``ValueError`` unless it is a law."""
    if isinstance(law, type) or not all(hasattr(law, part) for part in ("fill", "mean", "variance")):
        known = ", ".join(cls.__name__ for cls in LAWS.values())
        raise ValueError(
            f"{law!r} is no law of inputs; give an object of problem.laws: {known}; or one with fill, "
            "mean and variance of your own"
        )


def _parts(out: np.ndarray) -> Iterator[np.ndarray]:
    """The samples, a few at a time: what is drawn in float64 should not take the memory of all of them."""
    few = max(1, 2**16 // max(1, out[:1].size))
    return (out[k : k + few] for k in range(0, len(out), few))


def _finite(law: Any, *names: str) -> None:
    for name in names:
        if not math.isfinite(getattr(law, name)):
            raise ValueError(f"{type(law).__name__}({name}=...) must be finite, got {getattr(law, name)}")


def _positive(law: Any, *names: str) -> None:
    for name in names:
        value = getattr(law, name)
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{type(law).__name__}({name}=...) must be positive and finite, got {value}")


STANDARD = Gaussian()
LAWS: dict[str, type] = {
    law.name: law
    for law in (
        Gaussian, Rademacher, Uniform, Laplace, StudentT, Exponential, LogNormal, Correlated, Standardized,
    )
}  # fmt: skip
