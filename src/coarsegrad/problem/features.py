"""Laws of the inputs whose features, the n entries of a row, are not independent, or not alike."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from coarsegrad.problem.law import finite, parts


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
class Equicorrelated:
    """Normal with variance 1, and correlation ``rho`` of any two entries of a row: they share a part."""

    rho: float = 0.5
    name: ClassVar[str] = "equicorrelated"
    mean: ClassVar[float] = 0.0
    variance: ClassVar[float] = 1.0

    def __post_init__(self):
        if not 0 <= self.rho < 1:
            raise ValueError(f"Equicorrelated(rho=...) must be at least 0 and below 1, got {self.rho}")

    def fill(self, draw, out):
        """In place, then the common part."""
        draw.standard_normal(out=out, dtype=out.dtype)
        out *= math.sqrt(1 - self.rho)
        out += math.sqrt(self.rho) * draw.standard_normal((*out.shape[:-1], 1), dtype=out.dtype)


@dataclass(frozen=True)
class Bimodal:
    """Normal entries around -shift or shift; ``common``: one sign for all entries of a row."""

    shift: float = 2.0
    common: bool = False
    name: ClassVar[str] = "bimodal"
    mean: ClassVar[float] = 0.0

    def __post_init__(self):
        finite(self, "shift")

    @property
    def variance(self) -> float:
        """1 and the shift's square."""
        return 1 + self.shift**2

    def fill(self, draw, out):
        """In place, then the shifts."""
        draw.standard_normal(out=out, dtype=out.dtype)
        for part in parts(out):
            shape = (*part.shape[:-1], 1) if self.common else part.shape
            part += np.where(draw.random(shape, dtype=np.float32) < 0.5, -self.shift, self.shift)


@dataclass(frozen=True)
class Spread:
    """Normal entries; the features' scales grow geometrically, the last is ``ratio`` times the first.

    Their geometric mean is 1. Each feature has a variance of its own, so ``variance`` is nan.
    """

    ratio: float = 10.0
    name: ClassVar[str] = "spread"
    mean: ClassVar[float] = 0.0
    variance: ClassVar[float] = math.nan

    def __post_init__(self):
        if not 1 <= self.ratio < math.inf:
            raise ValueError(f"Spread(ratio=...) must be at least 1 and finite, got {self.ratio}")

    def fill(self, draw, out):
        """In place."""
        draw.standard_normal(out=out, dtype=out.dtype)
        out *= np.geomspace(self.ratio**-0.5, self.ratio**0.5, out.shape[-1], dtype=out.dtype)
