r"""Where online training ends in high dimension, with float weights and with quantized ones.

In the limit of large d, at time \(\tau\) = steps / d, the error of the student of `coarsegrad.problem.online`
is \(\varepsilon = \nu \langle Q^2\rangle - 2\kappa \langle Q w^*\rangle + \langle w^{*2}\rangle\), brackets
being means over the weights, with \(\kappa = \mathrm{E}\, x\phi(x)\) and \(\nu = \mathrm{E}\, \phi(x)^2\).
Given its teacher's value \(w^*\) a latent weight is a diffusion,

\[dw = -\eta g(w)\,(\nu Q(w) - \kappa w^*)\,d\tau + \eta g(w) \sqrt{\nu(\varepsilon + s^2)}\,dB,\]

s the label noise, g the slope; all weights share \(\varepsilon\). Derived here, for any symmetric quantizer
of the inputs, in the setting of Ichikawa, Kashiwamura & Sakata 2025, arXiv:2510.10693; the wording of its
theorem was not at hand.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coarsegrad.problem.online import Even, Online

_ROUNDS = 64  # halvings of a range of 700 in the logarithm: to 4e-17


class Inputs(NamedTuple):
    """What a quantizer does to a standard normal input."""

    kappa: float
    """E x phi(x)."""
    nu: float
    """E phi(x)^2."""


def inputs(quantizer: Even | None) -> Inputs:
    r"""\(\kappa = \sum_k (l_{k+1} - l_k)\, p(b_k)\) by parts, \(\nu = \sum_k l_k^2 P(b_{k-1} < x < b_k)\).

    p and P are the standard normal's, l the levels, b the breaks. Both are 1 without a quantizer.

    >>> [round(value, 12) for value in inputs(Even(1, 1.0))] == [round(math.sqrt(2 / math.pi), 12), 1.0]
    True
    """
    if quantizer is None:
        return Inputs(1.0, 1.0)
    level, edge = _tensors(quantizer)
    density = torch.exp(-edge.square() / 2) / math.sqrt(2 * math.pi)
    below = torch.nn.functional.pad(torch.special.ndtr(edge), (1, 1))
    below[-1] = 1
    return Inputs(float((level.diff() * density).sum()), float((level.square() * below.diff()).sum()))


def error(problem: Online, square: Tensor, overlap: Tensor) -> Tensor:
    r"""The generalization error \(\varepsilon\) from \(\langle Q^2\rangle\) and \(\langle Q w^*\rangle\).

    It is the mean square of what the student says less what the teacher does, label noise left out. Any
    shapes. Exact for every d.

    >>> one = torch.tensor(1.0)
    >>> float(error(Online(None), one, one))
    0.0
    """
    kappa, nu = inputs(problem.inputs)
    return nu * square - 2 * kappa * overlap + problem.size


def unquantized(problem: Online, times: Tensor) -> Tensor:
    r"""The error at ``times`` ``[T]``, float weights in place of the problem's; a closed form, float64.

    With \(\varepsilon_0 = \langle w^{*2}\rangle (1 - \kappa^2/\nu)\), what the inputs' quantizer costs at
    least, and \(a = \eta\nu\): \(\varepsilon - \varepsilon_0\) obeys
    \(\dot e = -a(2 - a)\, e + a^2 (\varepsilon_0 + s^2)\). It settles for a < 2.

    >>> found = unquantized(Online(None, step_size=0.5), torch.tensor([0.0, 1.0, 1e9]))
    >>> [round(value, 6) for value in found.tolist()]
    [2.0, 0.944733, 0.0]
    """
    kappa, nu = inputs(problem.inputs)
    a = problem.step_size * nu
    least = problem.size * (1 - kappa * kappa / nu)
    begin = nu * problem.start**2 + problem.size * kappa * kappa / nu
    rate, source = a * (2 - a), a * a * (least + problem.noise**2)
    times = times.to(torch.float64)
    grown = times if rate == 0 else -torch.expm1(-rate * times) / rate
    return least + begin * torch.exp(-rate * times) + source * grown


def settled(problem: Online) -> float:
    """Where the error of float weights ends; infinite where it does not.

    >>> settled(Online(None, step_size=0.5, noise=3.0)), settled(Online(None, step_size=2.0))
    (3.0, inf)
    """
    kappa, nu = inputs(problem.inputs)
    a = problem.step_size * nu
    least = problem.size * (1 - kappa * kappa / nu)
    return least + a * (least + problem.noise**2) / (2 - a) if a < 2 else math.inf


class Stationary(NamedTuple):
    """Where quantized weights end, with slope 1."""

    error: float
    shares: Tensor
    """``[teacher's values, levels]``: the share of the weights at each level."""


def stationary(problem: Online) -> Stationary:
    r"""The fixed point of slope 1: where the law that \(\varepsilon\) makes has the error \(\varepsilon\).

    In a cell the drift a is constant, so the law is \(e^{aw/D}\) there and continuous, \(D = \eta^2 \nu
    (\varepsilon + s^2)/2\). Weights whose \(|\kappa w^*/\nu|\) lies at the last level or beyond run away for
    ever and count at that level. The equation is solved by halving, to the precision of float64.

    >>> found = stationary(Online(Even(1, 2.0), step_size=1e-6))
    >>> round(found.error, 4), [round(share, 4) for share in found.shares[0].tolist()]
    (3.0, [0.25, 0.75])
    """
    quantizer = _quantizer(problem)
    nu = inputs(problem.inputs).nu
    level, _ = _tensors(quantizer)
    low, high = 1e-300, (math.sqrt(nu) * quantizer.reach + math.sqrt(problem.size)) ** 2
    teacher, shares = torch.tensor(problem.teacher, dtype=torch.float64), torch.empty(0)
    for _ in range(_ROUNDS):
        middle = math.sqrt(low) * math.sqrt(high)
        shares = _shares(problem, middle)
        square, overlap = (shares @ level.square()).mean(), (shares @ level * teacher).mean()
        low, high = (middle, high) if float(error(problem, square, overlap)) > middle else (low, middle)
    return Stationary(high, shares)


def crossing(problem: Online) -> float:
    r"""How long a latent takes from 0 through its first cell, without noise: what a plateau waits for.

    At the speed \(\eta(\kappa w^* - \nu l)\), l the cell's level: a spacing far, or half of one where 0 is a
    level. Of one value of the teacher, positive; infinite where the level is too high to be left.

    >>> [crossing(Online(Even(2, 1.5, zero), step_size=0.5)) for zero in (False, True)]
    [4.0, 1.5]
    """
    quantizer = _quantizer(problem)
    if len(problem.teacher) != 1 or problem.teacher[0] <= 0:
        raise ValueError(f"crossing takes one positive value of the teacher, got {problem.teacher}")
    kappa, nu = inputs(problem.inputs)
    level, edge = (
        next(v for v in vs if v >= least)
        for vs, least in ((quantizer.levels, -1e-9), ((*quantizer.breaks, math.inf), 1e-9))
    )
    speed = problem.step_size * (kappa * problem.teacher[0] - nu * level)
    return edge / speed if speed > 0 else math.inf


def _shares(problem: Online, error: float) -> Tensor:
    """Of each level, in the stationary law of this error: logarithms, as the law spans many decades."""
    quantizer = _quantizer(problem)
    kappa, nu = inputs(problem.inputs)
    level, _ = _tensors(quantizer)
    teacher = torch.tensor(problem.teacher, dtype=torch.float64)[:, None]
    half = problem.step_size * nu * (error + problem.noise**2) / 2
    tilt = (kappa * teacher - nu * level) / half  # a / D
    at_breaks = torch.nn.functional.pad((tilt[:, 1:-1] * quantizer.spacing).cumsum(-1), (1, 0))
    steep = tilt.abs().clamp(min=1e-300)
    inner = -torch.expm1(-steep[:, 1:-1] * quantizer.spacing) / steep[:, 1:-1]
    inner = torch.where(steep[:, 1:-1] * quantizer.spacing < 1e-12, quantizer.spacing, inner)
    logs = torch.cat(
        [
            at_breaks[:, :1] - steep[:, :1].log(),
            torch.maximum(at_breaks[:, :-1], at_breaks[:, 1:]) + inner.log(),
            at_breaks[:, -1:] - steep[:, -1:].log(),
        ],
        -1,
    )
    shares = torch.softmax(logs, -1)
    ends = torch.zeros_like(shares)
    ends[:, 0], ends[:, -1] = (tilt[:, 0] <= 0).double(), (tilt[:, -1] >= 0).double()
    return torch.where((ends > 0).any(-1, keepdim=True), ends, shares)


def _tensors(quantizer: Even) -> tuple[Tensor, Tensor]:
    return torch.tensor(quantizer.levels, dtype=torch.float64), torch.tensor(
        quantizer.breaks, dtype=torch.float64
    )


def _quantizer(problem: Online) -> Even:
    if problem.weights is None:
        raise ValueError("the problem's weights are float: see unquantized and settled, or give weights=Even")
    return problem.weights
