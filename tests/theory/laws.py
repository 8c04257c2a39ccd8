"""Laws for the tests of ``entries`` and ``general``: those of the catalogue, and one of a user's own."""

from dataclasses import dataclass
from typing import ClassVar

from coarsegrad.problem.laws import (
    Bernoulli,
    Exponential,
    Gaussian,
    HalfNormal,
    Laplace,
    LogNormal,
    Poisson,
    Rademacher,
    Standardized,
    StudentT,
    Uniform,
)
from coarsegrad.theory.entries import Masses


@dataclass(frozen=True)
class Own:
    """A user's own, of three values."""

    entry: ClassVar = Masses((0.2, 0.5, 0.3), shift=-1.0, scale=0.5)
    mean: ClassVar[float] = 0.2 * -1.0 + 0.5 * -0.5
    variance: ClassVar[float] = 0.2 + 0.5 * 0.25 - mean**2

    def fill(self, draw, out):
        out[...] = draw.choice([-1.0, -0.5, 0.0], out.shape, p=[0.2, 0.5, 0.3])


HALF_NORMAL, BERNOULLI, POISSON = HalfNormal(2.0), Bernoulli(0.3), Poisson(1.5)
DENSITIES = (
    Gaussian(), Gaussian(0.5, 2.0), Uniform(), Uniform(0, 1), Uniform(-1, 0.3), Laplace(2.0), StudentT(5.0),
    Exponential(3.0), LogNormal(0.5), HALF_NORMAL, Standardized(Exponential()), Standardized(Uniform(0, 1)),
    Standardized(HALF_NORMAL),
)  # fmt: skip
MASSES = (Rademacher(), BERNOULLI, POISSON, Own(), Standardized(Rademacher()), Standardized(BERNOULLI))
