r"""Why quantized weights leave their optimum and come back to it: the share of time that they are there.

Latents y move by the coarse gradient at Q(y). Where that does not vanish at the optimum, a coordinate that it
pushes out is pulled back once it is wrong, and over a long time the two must balance: coordinate j is wrong a
share \(p_j\) of the time. With all \(p_j\) independent in time the optimum is kept for \(\prod_j (1 - p_j)\)
of it; whatever their dependence, for at least \(1 - \sum_j p_j\). Label noise
(Jeong, Xin & Yin 2025, arXiv:2505.18113) and a teacher that is not quantized (Long, Yin & Xin 2020,
arXiv:2012.05529) are the two reasons met here. The formulas are derived, not quoted, but for the iteration.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.theory.quadrature import REACH, integrate
from coarsegrad.theory.recovery import force

WEIGHTS = ("binary", "ternary")
_ROUNDS, _DAMPED = 4000, 0.2


class Occupancy(NamedTuple):
    """The share of time at the optimum, ``[...]`` each, from the shares p of each coordinate."""

    product: Tensor
    """prod(1 - p): where coordinates are wrong independently of each other."""
    least: Tensor
    """1 - sum(p): a bound that needs no independence."""
    sure: Tensor
    """Whether sum(p) < 1: then the optimum is visited for ever."""


def occupancy(shares: Tensor) -> Occupancy:
    r"""From the shares ``[..., n]`` in [0, 1] that each coordinate is wrong.

    >>> found = occupancy(torch.tensor([0.5, 0.25, 0.0]).double())
    >>> float(found.product), float(found.least), bool(found.sure)
    (0.375, 0.25, True)
    """
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(
            f"shares of time lie in [0, 1], got {float(shares.min()):g} to {float(shares.max()):g}"
        )
    total = shares.sum(-1)
    return Occupancy((1 - shares).prod(-1), 1 - total, total < 1)


def shares(push: Tensor, pull: Tensor | float) -> Tensor:
    r"""The share of time p ``[..., n]`` that each coordinate is wrong: push and pull balance in the mean.

    ``push`` ``[..., n]`` is the coarse gradient at the optimum times its signs: positive where a step leads
    to the other sign. ``pull`` is by how much being wrong changes it: a number, if each coordinate feels only
    itself, then \(p_j = \min(1, \max(0, \text{push}_j) / \text{pull})\); or ``[..., n, n]``, entry (j, k)
    what a wrong j takes from the push on k. Then p solves the complementarity problem \(0 \le p \perp
    p\,\text{pull} - \text{push} \ge 0\), p at most 1: exact in the long run if the effects of wrong
    coordinates add up. NaN where its damped iteration does not settle.

    >>> shares(torch.tensor([0.25, -0.3]).double(), 0.5).tolist()
    [0.5, 0.0]
    >>> pulls = torch.tensor([[0.4, -0.4], [0.0, 0.4]]).double()
    >>> [round(p, 9) for p in shares(torch.tensor([0.1, -0.05]).double(), pulls).tolist()]
    [0.25, 0.125]
    """
    if not isinstance(pull, Tensor) or pull.dim() < 2:
        return (push / pull).clamp(0, 1)
    own = pull.diagonal(dim1=-2, dim2=-1)
    if not (own > 0).all():
        return torch.full_like(push, math.nan)
    p = (push / own).clamp(0, 1)
    change = torch.zeros_like(p)
    for _ in range(_ROUNDS):
        missing = (push - torch.einsum("...j,...jk->...k", p, pull)) / own
        after = (p + _DAMPED * missing).clamp(0, 1)
        change, p = (after - p).abs().amax(-1, keepdim=True), after
        if not change.gt(1e-14).any():
            break
    return torch.where(change < 1e-9, p, math.nan)


def pull(surrogate: Surrogate, n: int) -> float:
    r"""What a lone wrong one of n binary weights feels of the expected coarse gradient, at \(|v| = 1\).

    It is \(2c/\sqrt n\), with \(c = 1/\sqrt{2\pi}\) for the identity, half of it for the ReLU; other slopes
    by ``recovery.force``. It scales with \(|v|^2\).

    >>> from coarsegrad.core.surrogates import ReLU
    >>> round(pull(ReLU(), 4) * 2 * math.sqrt(2 * math.pi), 12)
    1.0
    """
    return float(force(torch.ones(1, dtype=torch.float64), 1, n, surrogate).wrong)


class UnderNoise(NamedTuple):
    """Averages over label noise and samples."""

    deviation: float
    """Standard deviation of a coordinate of the coarse gradient at the teacher."""
    wrong: float
    """Expected sum of the shares p, not cut at 1."""
    occupancy: float
    """Expected product of 1 - p, coordinates taken as independent."""


def under_noise(surrogate: Surrogate, n: int, samples: int, noise: float, v: Tensor) -> UnderNoise:
    r"""What label noise of this standard deviation does to n binary weights on N samples; v ``[m]``.

    At the teacher the coarse gradient is \(-\frac1N \sum_k \xi_k Z_k^T (\mu'(Z_k w^*) \odot v)\). A
    coordinate has the variance \(\frac{s^2}{N} \{|v|^2 [E\mu'^2 (1 - \frac1n) + E\mu'^2 r^2 \frac1n] +
    ((1^Tv)^2 - |v|^2) (E\mu' r)^2 \frac1n\}\), r standard normal: exact. It is then taken as normal, and
    pulled back as in the population (``pull``): right to first order in the noise, for N well above n.

    >>> from coarsegrad.core.surrogates import Identity
    >>> found = under_noise(Identity(), 16, 400, 0.1, torch.tensor([1.0]))
    >>> round(found.deviation, 12), round(found.wrong, 12)
    (0.005, 0.16)
    """
    if not (n >= 2 and samples >= 1 and noise >= 0):
        raise ValueError(f"under_noise needs n >= 2, samples >= 1, noise >= 0, got {n}, {samples}, {noise}")
    square, tilted, mean = slope_moments(surrogate)
    size, total = float(v.double().square().sum()), float(v.double().sum())
    one = size * (square * (1 - 1 / n) + tilted / n) + (total * total - size) * mean * mean / n
    deviation = noise * math.sqrt(one / samples)
    ratio = deviation / (pull(surrogate, n) * size)
    kept = 1.0
    if ratio:
        top = 1 / ratio
        inside = math.erf(top / math.sqrt(2)) / 2
        kept = 0.5 + inside - ratio * (1 - math.exp(-top * top / 2)) / math.sqrt(2 * math.pi)
    return UnderNoise(deviation, n * ratio / math.sqrt(2 * math.pi), kept**n)


def slope_moments(surrogate: Surrogate) -> tuple[float, float, float]:
    """E slope^2, E slope^2 r^2 and E slope r of a standard normal r."""
    breaks = sorted(b for b in surrogate.breaks or () if abs(b) < REACH)
    edges = torch.tensor([[-REACH, *breaks, 0.0, REACH]], dtype=torch.float64).sort(1).values

    def moments(r, _):
        slope = surrogate.slope(r)
        density = torch.exp(-r.square() / 2) / math.sqrt(2 * math.pi)
        return torch.stack([slope**2, slope**2 * r**2, slope * r], -1) * density.unsqueeze(-1)

    square, tilted, mean = integrate(moments, edges, 3, declared=surrogate.breaks is not None).value[0]
    return float(square), float(tilted), float(mean)


def unquantized(w_star: Tensor) -> Tensor:
    r"""Shares p ``[..., n]`` of binary weights in the population; the teacher ``[..., n]`` has length 1.

    Each latent moves alone, \(y_j \leftarrow y_j - \eta c\,(\mathrm{sgn}(y_j)/\sqrt n - w^*_j)\), a rotation
    of a circle: \(p_j = \max(0, 1 - \sqrt n |w^*_j|) / 2\), exactly in the long run. Where these are
    rationally independent (with 1), the coordinates are independent too: the occupancy is their product
    (Weyl). Where not, it depends on the start, and with \(\sum_j p_j \ge 1\) may be 0.

    >>> unquantized(torch.tensor([0.125, 0.7, 0.5, 0.5]).double()).tolist()
    [0.375, 0.0, 0.0, 0.0]
    """
    return (1 - math.sqrt(w_star.shape[-1]) * w_star.abs()).clamp(min=0) / 2


def optimum(w_star: Tensor, weights: str) -> Tensor:
    r"""Signs ``[..., n]`` of the quantized direction nearest to ``w_star``: the optimum over R+ x Q.

    ``binary``, Q = {-1, 1}^n: its signs, that of 0 being 1. ``ternary``, Q = {-1, 0, 1}^n: the signs of its k
    largest, k with the largest \((\sum_{top\,k} |w^*|)^2 / k\).

    >>> optimum(torch.tensor([0.8, -0.59, 0.1]), "ternary").tolist()
    [1.0, -1.0, 0.0]
    """
    signs = _quantizer(weights)(w_star.reshape(-1, w_star.shape[-1]).double().numpy())[1]
    return torch.from_numpy(signs).reshape(w_star.shape).to(w_star)


def at_optimum(
    w_star: Tensor, start: Tensor, *, steps: int, step_size: float, weights: str = "binary"
) -> Tensor:
    r"""Whether each iterate of the population's method is the optimum, ``[steps, runs]``, bool.

    \(y \leftarrow y - \eta c\,(w/|w| - w^*/|w^*|)\), w the projection of y on R+ x Q: the coarse gradient
    descent of Long, Yin & Xin 2020 for identity and ReLU, c as in ``pull``. ``step_size`` is
    \(\eta c\), ``w_star`` ``[runs, n]`` or ``[n]``, the latents' ``start`` ``[runs, n]``. A plain loop: 1e6
    steps of some runs take ten seconds for binary, a minute for ternary weights.

    >>> w_star = torch.tensor([0.6, 0.8]).double()
    >>> hits = at_optimum(w_star, torch.tensor([[-1.0, 1.0]]).double(), steps=1000, step_size=0.1)
    >>> hits[:12, 0].tolist().index(True), round(float(hits.double().mean()), 2)
    (8, 0.92)
    """
    best = optimum(w_star, weights).numpy()
    hits = np.empty((steps, len(start)), np.bool_)
    for hit, signs in zip(hits, patterns(w_star, start, steps, step_size, weights), strict=True):
        hit[:] = (signs == best).all(1)
    return torch.from_numpy(hits)


def patterns(
    w_star: Tensor, start: Tensor, steps: int, step_size: float, weights: str = "binary"
) -> Iterator[np.ndarray]:
    """The signs of each iterate of the method that `at_optimum` follows, ``[runs, n]``.

    >>> w_star, start = torch.tensor([0.6, 0.8]).double(), torch.tensor([[-0.1, 1.0]]).double()
    >>> [signs.tolist() for signs in patterns(w_star, start, 3, 0.1)]
    [[[-1.0, 1.0]], [[1.0, 1.0]], [[1.0, 1.0]]]
    """
    if not step_size > 0:
        raise ValueError(f"step_size must be positive, got {step_size}")
    y, quantized = start.double().numpy().copy(), _quantizer(weights)
    teacher = np.broadcast_to(w_star.double().numpy(), y.shape)
    move = step_size * teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    for _ in range(steps):
        direction, signs = quantized(y)
        yield signs
        y += move
        y -= step_size * direction


def _quantizer(weights: str):
    if weights not in WEIGHTS:
        raise ValueError(f"weights={weights!r} is unknown; known: {', '.join(WEIGHTS)}")
    return _binary if weights == "binary" else _ternary


def _binary(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction of the projection of each row, and its signs."""
    signs = np.where(y < 0, -1.0, 1.0)
    return signs * y.shape[1] ** -0.5, signs


def _ternary(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same; numbers of equal size are kept or dropped together, as the best k has it."""
    size = np.abs(y)
    falling = -np.sort(-size, axis=1)
    root = np.sqrt(np.arange(1, y.shape[1] + 1))
    last = (np.cumsum(falling, axis=1) / root).argmax(1)
    signs = np.sign(y) * (size >= falling[np.arange(len(y)), last][:, None])
    return signs / np.sqrt(np.maximum(np.abs(signs).sum(1, keepdims=True), 1)), signs
