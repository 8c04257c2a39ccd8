r"""The law of the weights in online training, over time: a Kolmogorov equation on a grid, no sampling.

With the drift \(a = -\eta g (\nu Q - \kappa w^*)\) and \(D = \eta^2 \nu (\varepsilon + s^2)/2\) of
`coarsegrad.theory.online`, the density obeys
\(\partial_\tau p = -\partial_w (a p) + \partial_w^2 (D g^2 p)\), one equation for each value of the teacher,
joined by \(\varepsilon\). Finite volumes with exponentially fitted fluxes (Scharfetter & Gummel 1969), the
breaks of Q on nodes, so that a constant drift is met exactly. Time steps are implicit, extrapolated from one
whole and two halves, as long as their difference allows.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import Identity
from coarsegrad.problem.online import Online
from coarsegrad.theory import online

_EDGE = 1e-13  # the mass that the last node may hold before the grid is made wider
_FROZEN = 1e-100  # in place of a slope of 0, in divisions
_COLD = 1e-14  # the least D: a law that has stopped would divide by it


class Law(NamedTuple):
    """The weights' law at one time."""

    w: Tensor
    """The nodes ``[M]``."""
    mass: Tensor
    """``[teacher's values, M]``: within half a spacing of each node; a value's masses sum to 1."""

    @property
    def density(self) -> Tensor:
        """``[teacher's values, M]``, per unit of w."""
        return self.mass / (self.w[1] - self.w[0])


class Limit(NamedTuple):
    """The student at each of the times, in the limit of large d; all float64."""

    error: Tensor
    """Generalization error ``[T]``."""
    doubt: Tensor
    """By how much it changed when the grid's spacing was halved, ``[T]``."""
    square: Tensor
    """<Q^2> ``[T]``."""
    overlap: Tensor
    """<Q w*> ``[T]``."""
    laws: list[Law]


def limit(
    problem: Online,
    times: Sequence[float],
    surrogate: Surrogate | None = None,
    *,
    spacing: float = 0.02,
    tolerance: float = 1e-4,
) -> Limit:
    """Quantized weights at ``times`` (ascending, steps / d), by a grid of ``spacing`` or finer.

    ``surrogate`` is the slope that stands in for Q's, 1 by default; its argument is w / reach, so that
    hardtanh is a window as wide as the levels. Where the slope is 0 weights stay for ever. ``tolerance`` is
    the mass that a step may misplace before extrapolation. The equation is also solved on twice the spacing:
    ``doubt`` is the change. It is larger than the error where D is not small against spacing times drift,
    and about it where it is.

    >>> from coarsegrad.problem.online import Even
    >>> found = limit(Online(Even(2, 2.0)), [0.0, 40.0], spacing=0.1, tolerance=1e-3)
    >>> [round(value, 2) for value in found.error.tolist()], round(float(found.doubt.max()), 2)
    ([2.09, 0.34], 0.03)
    """
    if problem.weights is None:
        raise ValueError("limit needs quantized weights; see unquantized for float ones")
    times = [float(time) for time in times]
    if not times or times[0] < 0 or any(a > b for a, b in pairwise(times)):
        raise ValueError(f"limit(times=...) must be ascending and not negative, got {times}")
    if not (spacing > 0 and tolerance > 0):
        raise ValueError(f"limit needs a positive spacing and tolerance, got {spacing}, {tolerance}")
    slope = surrogate or Identity()
    (coarse, _), (fine, laws) = (_solved(problem, times, slope, h, tolerance) for h in (2 * spacing, spacing))
    return Limit(fine[:, 2], (fine[:, 2] - coarse[:, 2]).abs(), fine[:, 0], fine[:, 1], laws)


def _solved(problem, times, slope, spacing, tolerance) -> tuple[Tensor, list[Law]]:
    grid = _Grid(problem, slope, spacing)
    mass, now, step, found, laws = grid.start(), 0.0, 1e-3, [], []
    for time in times:
        while now < time:
            size = min(step, time - now)
            rates = grid.rates(mass)
            both = torch.tensor([size, size / 2], dtype=torch.float64)[:, None, None]
            whole, half = implicit(*rates, both, mass.expand(2, -1, -1))
            half = implicit(*grid.rates(half), size / 2, half)
            off = float((half - whole).abs().sum(-1).mean())
            if off <= tolerance:
                now = time if size == time - now else now + size
                mass = grid.widened(2 * half - whole)
            step = size * min(4.0, max(0.2, 0.9 * math.sqrt(tolerance / max(off, 1e-16))))
        found.append(grid.orders(mass))
        laws.append(Law(grid.w, mass))
    return torch.tensor(found, dtype=torch.float64), laws


class _Grid:
    """Nodes, the drift between them, and the last known error."""

    def __init__(self, problem: Online, slope: Surrogate, spacing: float):
        assert problem.weights is not None
        self.problem, self.slope, self.quantizer = problem, slope, problem.weights
        self.kappa, self.nu = online.inputs(problem.inputs)
        # An odd number of nodes a spacing: breaks lie on nodes, and the ends of the range between two.
        self.h = self.quantizer.spacing / (2 * math.ceil((self.quantizer.spacing / spacing - 1) / 2) + 1)
        self.teacher = torch.tensor(problem.teacher, dtype=torch.float64)[:, None]
        self.error = problem.size
        self._lay(math.ceil((8 * problem.start + self.quantizer.reach) / self.h))

    def _lay(self, reach: int) -> None:
        nodes = torch.arange(-reach, reach + 1, dtype=torch.float64)
        self.w = self.h * (nodes[1:] - 0.5 if self.quantizer.zero else nodes)
        self.q = self.quantizer((self.w[1:] + self.w[:-1]) / 2)
        self.g = self.slope.slope(self.w / self.quantizer.reach)
        self.pull = self.problem.step_size * (self.kappa * self.teacher - self.nu * self.q)

    def start(self) -> Tensor:
        """The normal law's masses, ``[K, M]``."""
        edges = torch.cat([self.w - self.h / 2, self.w[-1:] + self.h / 2]) / self.problem.start
        mass = torch.special.ndtr(edges).diff()
        mass = (mass / mass.sum()).repeat(len(self.teacher), 1)
        for _ in range(20):
            self.orders(mass)
        return mass

    def widened(self, mass: Tensor) -> Tensor:
        """The masses, on a wider grid if they have come to its ends."""
        if float(mass[:, [0, -1]].abs().max()) <= _EDGE:
            return mass
        reach = len(self.w) // 2
        self._lay(reach + reach // 3)
        return torch.nn.functional.pad(mass, (reach // 3, reach // 3))

    def _warmth(self) -> float:
        return max(self.problem.step_size**2 * self.nu * (self.error + self.problem.noise**2) / 2, _COLD)

    def _peclet(self, pull: Tensor, g: Tensor) -> Tensor:
        return pull * self.h / (self._warmth() * g.clamp(min=_FROZEN))

    def orders(self, mass: Tensor) -> tuple[float, float, float]:
        """<Q^2>, <Q w*>, error. A break's mass is split by the side on which the fluxes have it.

        That makes the drift of the mean what the fluxes make it, also where the law is narrower than h.
        """
        left, right = (self._peclet(pull, self.g) for pull in _beside(self.pull))
        apart = right - left
        share = (fitted(-right) - fitted(-left)) / torch.where(apart == 0, 1.0, apart)
        q_left, q_right = _beside(self.q)
        on_right = share * (q_left != q_right)
        q, q2 = (a + on_right * (b - a) for a, b in ((q_left, q_right), (q_left**2, q_right**2)))
        square = float((mass * q2).sum(-1).mean())
        overlap = float(((mass * q).sum(-1, keepdim=True) * self.teacher).mean())
        self.error = self.nu * square - 2 * self.kappa * overlap + self.problem.size
        return square, overlap, self.error

    def rates(self, mass: Tensor) -> tuple[Tensor, Tensor]:
        """By which mass goes from each node to the next, and from the next back: ``[K, M - 1]`` each.

        Half of the way has the slope of either node, and D g^2 p is continuous between: 0 where one is 0,
        so that a slope of 0 absorbs.
        """
        self.orders(mass)
        left, right = self.g[:-1], self.g[1:]
        near, far = (self._peclet(self.pull, g) / 2 for g in (left, right))
        back = torch.where(left > 0, fitted(near), 1 / _FROZEN)
        on = torch.where(right > 0, fitted(-far), 1 / _FROZEN)
        speed = 2 * self._warmth() / self.h**2 / (back + on)
        return speed * left**2 * fitted(-near) * on, speed * right**2 * back * fitted(far)


def _beside(values: Tensor) -> tuple[Tensor, Tensor]:
    """What lies left and right of each node, from what lies between nodes; at the ends the same twice."""
    return torch.cat([values[..., :1], values], -1), torch.cat([values, values[..., -1:]], -1)


def fitted(x: Tensor) -> Tensor:
    """The Bernoulli function x / (e^x - 1), 1 at 0: the exponentially fitted weight of a flux.

    >>> [round(value, 6) for value in fitted(torch.tensor([-800.0, 0.0, 1.0, 800.0]).double()).tolist()]
    [800.0, 1.0, 0.581977, 0.0]
    """
    some = torch.where(x.abs() < 1e-6, 1.0, x.clamp(max=700))
    return torch.where(x.abs() < 1e-6, 1 - x / 2, some / torch.expm1(some))


def implicit(right: Tensor, left: Tensor, step: Tensor | float, mass: Tensor) -> Tensor:
    """An implicit Euler step of a chain: rates to the next node and back ``[..., M - 1]``, mass ``[..., M]``.

    >>> implicit(torch.tensor([1.0]), torch.tensor([1.0]), 0.5, torch.tensor([1.0, 0.0])).tolist()
    [0.75, 0.25]
    """
    pad = torch.nn.functional.pad
    diagonal = 1 + step * (pad(right, (0, 1)) + pad(left, (1, 0)))
    return tridiagonal(pad(-step * right, (1, 0)), diagonal, pad(-step * left, (0, 1)), mass)


def tridiagonal(below: Tensor, diagonal: Tensor, above: Tensor, right: Tensor) -> Tensor:
    """Solve tridiagonal systems, ``[..., M]`` each, by cyclic reduction: log2 M passes over all rows at once.

    ``below[0]`` and ``above[-1]`` are 0. Safe for the M-matrices of implicit steps, which need no pivots.

    >>> zero, one = torch.zeros(3), torch.ones(3)
    >>> tridiagonal(zero, 2 * one, zero, one).tolist()
    [0.5, 0.5, 0.5]
    """
    pad, gap = torch.nn.functional.pad, 1
    while gap < diagonal.shape[-1]:

        def up(t: Tensor, fill: float = 0.0, gap: int = gap) -> Tensor:
            return pad(t[..., :-gap], (gap, 0), value=fill)

        def down(t: Tensor, fill: float = 0.0, gap: int = gap) -> Tensor:
            return pad(t[..., gap:], (0, gap), value=fill)

        first, last = -below / up(diagonal, 1.0), -above / down(diagonal, 1.0)
        diagonal, right, below, above = (
            diagonal + first * up(above) + last * down(below),
            right + first * up(right) + last * down(right),
            first * up(below),
            last * down(above),
        )
        gap *= 2
    return right / diagonal
