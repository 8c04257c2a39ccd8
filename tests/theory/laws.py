"""Laws for the tests of ``entries`` and ``general``: those of the catalogue, and one of a user's own."""

from dataclasses import dataclass
from typing import ClassVar

from coarsegrad.problem.laws import (
    Exponential,
    Gaussian,
    Laplace,
    LogNormal,
    Rademacher,
    Standardized,
    StudentT,
    Uniform,
)
from coarsegrad.theory.entries import Masses


@dataclass(frozen=True)
class Like:
    """A law by its name and numbers alone: what ``theory`` asks of it."""

    name: str
    mean: float
    variance: float
    scale: float = 1.0
    p: float = 0.3
    rate: float = 1.5

    def fill(self, draw, out):
        match self.name:
            case "half_normal":
                out[...] = self.scale * abs(draw.standard_normal(out.shape))
            case "bernoulli":
                out[...] = draw.random(out.shape) < self.p
            case "poisson":
                out[...] = draw.poisson(self.rate, out.shape)


@dataclass(frozen=True)
class Own:
    """A user's own, of three values."""

    entry: ClassVar = Masses((0.2, 0.5, 0.3), shift=-1.0, scale=0.5)
    mean: ClassVar[float] = 0.2 * -1.0 + 0.5 * -0.5
    variance: ClassVar[float] = 0.2 + 0.5 * 0.25 - mean**2

    def fill(self, draw, out):
        out[...] = draw.choice([-1.0, -0.5, 0.0], out.shape, p=[0.2, 0.5, 0.3])


HALF_NORMAL = Like("half_normal", 2 * 0.7978845608028654, 4 * (1 - 0.6366197723675814), scale=2.0)
BERNOULLI, POISSON = Like("bernoulli", 0.3, 0.21), Like("poisson", 1.5, 1.5)
DENSITIES = (
    Gaussian(), Gaussian(0.5, 2.0), Uniform(), Uniform(0, 1), Uniform(-1, 0.3), Laplace(2.0), StudentT(5.0),
    Exponential(3.0), LogNormal(0.5), HALF_NORMAL, Standardized(Exponential()), Standardized(Uniform(0, 1)),
    Standardized(HALF_NORMAL),
)  # fmt: skip
MASSES = (Rademacher(), BERNOULLI, POISSON, Own(), Standardized(Rademacher()), Standardized(BERNOULLI))
