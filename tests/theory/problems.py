"""Random problems of one hidden layer, and surrogates of a user's own, for the tests of `theory`."""

import math

import torch

from coarsegrad.core.quantizers import Binary, Nonuniform, QuantizedReLU, Uniform
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.theory.gauss import THRESHOLD, Staircase

STAIRCASES = {
    "threshold": THRESHOLD,
    "quantized_relu": Staircase.of(QuantizedReLU(bits=2), scale=0.6511),
    "ceil": Staircase.of(QuantizedReLU(bits=2, rounding="ceil"), scale=0.5),
    "binary": Staircase.of(Binary(), scale=0.8),
    "offset": Staircase.of(Uniform(bits=4, signed=False, zero_point=True), scale=0.2, offset=-0.6),
    "uneven": Staircase.of(Nonuniform(levels=(-1.0, -0.3, 0.1, 2.0)), scale=0.7),
}


def normal(*shape, seed):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def problem(seed, m=None, n=None, size=None):
    """(v, w, v_star, w_star) with m 1-8, n 2-12, |w| 0.3-5 and |w_star| = 1."""
    draw = torch.Generator().manual_seed(seed)
    m = m or int(torch.randint(1, 9, (), generator=draw))
    n = n or int(torch.randint(2, 13, (), generator=draw))
    span = float(torch.rand((), generator=draw, dtype=torch.float64))
    v, w, v_star, w_star = (torch.randn(k, generator=draw, dtype=torch.float64) for k in (m, n, m, n))
    size = size or 0.3 * (5 / 0.3) ** span
    return v, size * w / w.norm(), v_star, w_star / w_star.norm()


def sizes_and_angles(number, seed=0):
    """|w|, theta and |w_star|, the first with angles at and near the edges."""
    draw = torch.Generator().manual_seed(seed)
    size, size_star = torch.randn(2, number, generator=draw, dtype=torch.float64).exp()
    angle = torch.rand(number, generator=draw, dtype=torch.float64) * math.pi
    edges = [0.0, math.pi, 1e-14, 1e-9, 1e-6, 1e-3, math.pi / 2, math.pi - 1e-3, math.pi - 1e-7]
    angle[: len(edges)] = torch.tensor(edges[:number], dtype=torch.float64)
    return size, angle, size_star


class Undeclared(Surrogate):
    """Another surrogate's slope, without its declarations."""

    def __init__(self, inner, breaks=None):
        self.inner, self.breaks = inner, breaks

    def slope(self, x):
        return self.inner.slope(x)


class Hat(Surrogate):
    """A user's own: a triangle of height 1 on (-0.4, 1.1), and a step at 0.2; it declares nothing."""

    def curve(self, x):
        raise NotImplementedError

    def slope(self, x):
        hat = (1 - (x - 0.35).abs() / 0.75).clamp(min=0)
        return hat + 0.5 * (x > 0.2).to(x.dtype)
