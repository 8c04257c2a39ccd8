r"""Where the population loss is stationary, and what kind of place that is.

Yin et al. 2019, arXiv:1903.05662. The loss depends on w through its angle theta with w_star alone; it is
smooth but for kinks at theta = 0 and pi and a jump at w = 0. It has three families of critical points, each
free in |w| (and, at an angle strictly between 0 and pi, in where w stands on the cone):

    global minimizer     theta = 0,        v = v_star
    spurious minimizer   theta = pi,       v = -v_star + 2 (1^T v_star)/(m+1) 1
    saddle               theta between,    v^T v_star = 0

The last two exist exactly if (1^T v_star)^2 < (m+1)/2 |v_star|^2: never for m = 1, always for 1^T v_star = 0.
Leading axes are batches; n is at least 2.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.measure.alignment import angle
from coarsegrad.theory import hidden

KINDS = ("global minimizer", "spurious minimizer", "saddle", "not critical", "undefined")
"""What ``Point.kind`` counts through: of a run's end, ``not critical`` says that it has not converged."""
GLOBAL, SPURIOUS, SADDLE, NOT_CRITICAL, UNDEFINED = range(5)


class Critical(NamedTuple):
    """A family of critical points: v ``[..., m]``, theta ``[...]`` (radians), whether it exists ``[...]``."""

    v: Tensor
    theta: Tensor
    exists: Tensor


class Point(NamedTuple):
    """What ``classify`` says of a point."""

    kind: Tensor
    """``[...]``, int64, an index into ``KINDS``."""
    theta: Tensor
    """``[...]``, radians."""
    dv: Tensor
    """``[..., m]``; at a kink of theta 0 or pi that of the kink itself."""
    slope: Tensor
    """``[...]``: the loss's slope per radian; at a kink one-sided, away from it: positive at a minimum."""
    curvature: Tensor
    """``[..., m + 2]``: the Hessian's eigenvalues over v and the plane of w and w_star; NaN at a kink."""
    across: Tensor
    """``[...]``: its eigenvalue for w's n - 2 other directions; NaN at a kink."""


def exists(v_star: Tensor) -> Tensor:
    """Whether saddles and spurious minimizers exist, ``[..., m]`` -> ``[...]``: (1^T v*)^2 < (m+1)/2 |v*|^2.

    >>> exists(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]]))
    tensor([False,  True])
    """
    return v_star.sum(-1).square() < (v_star.shape[-1] + 1) / 2 * v_star.square().sum(-1)


def global_minimizer(v_star: Tensor) -> Critical:
    """The teacher itself: theta = 0, v = v_star, loss 0."""
    v_star = hidden.floating(v_star)
    total = v_star.sum(-1)
    return Critical(v_star, torch.zeros_like(total), torch.ones_like(total, dtype=torch.bool))


def spurious_minimizer(v_star: Tensor) -> Critical:
    """Theta = pi and the best v there; where it does not exist, the loss falls as theta leaves pi.

    >>> spurious_minimizer(torch.tensor([1.0, -1.0, 1.0])).v
    tensor([-0.5000,  1.5000, -0.5000])
    """
    v_star = hidden.floating(v_star)
    total = v_star.sum(-1, keepdim=True)
    v = 2 * total / (v_star.shape[-1] + 1) - v_star
    return Critical(v, torch.full_like(total[..., 0], math.pi), exists(v_star))


def saddle(v_star: Tensor) -> Critical:
    r"""Where \(v^T v^* = 0\) and v is the best at its theta; NaN where there is none.

    \(\theta_s = (\pi/2)(m+1)|v^*|^2 / ((m+1)|v^*|^2 - (1^T v^*)^2)\).

    >>> saddle(torch.tensor([1.0, -1.0])).theta
    tensor(1.5708)
    """
    v_star = hidden.floating(v_star)
    rows, total = v_star.shape[-1] + 1, v_star.sum(-1, keepdim=True)
    full = rows * v_star.square().sum(-1, keepdim=True)
    rest = full - total.square()
    found = exists(v_star)
    kappa, theta = -total.square() / rest, math.pi / 2 * full / rest
    v = kappa * v_star + (1 - kappa) * total / rows
    return Critical(
        torch.where(found[..., None], v, torch.nan), torch.where(found, theta[..., 0], torch.nan), found
    )


def place(theta: Tensor, w_star: Tensor, towards: Tensor, norm: float = 1.0) -> Tensor:
    """The w of this length at angle theta from w_star, on the side of ``towards``: ``[...]`` -> ``[..., n]``.

    Exact at theta = pi to the rounding of pi. ``towards`` must not be parallel to w_star.

    >>> place(torch.tensor(torch.pi / 6), torch.tensor([1.0, 0.0]), torch.tensor([5.0, 2.0]), 3.0)
    tensor([2.5981, 1.5000])
    """
    w_star = _unit(hidden.floating(w_star))
    side = towards - (towards * w_star).sum(-1, keepdim=True) * w_star
    side = _unit(side)
    return norm * (torch.cos(theta)[..., None] * w_star + torch.sin(theta)[..., None] * side)


def classify(v: Tensor, w: Tensor, v_star: Tensor, w_star: Tensor, *, tolerance: float = 1e-6) -> Point:
    """What kind of place each point is, to within ``tolerance`` radians and ``tolerance`` |v_star| in v.

    Theta within ``tolerance`` of 0 or pi counts as the kink there: a minimizer, if v minimizes the loss at
    that angle and the one-sided derivative away from it is positive. Elsewhere a point is critical, if both
    derivatives vanish, and a saddle by an eigenvalue of the Hessian that is negative. With a one-sided
    derivative of 0 at theta = pi (equality in the condition of existence) it is a saddle of second order. w
    = 0 and values that are not finite are ``undefined``. For the ends of runs take a tolerance of about
    1e-3.

    >>> v_star, w_star = torch.tensor([1.0, -1.0]), torch.tensor([1.0, 0.0])
    >>> found = classify(v_star, torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]), v_star, w_star)
    >>> [KINDS[kind] for kind in found.kind]
    ['global minimizer', 'not critical', 'undefined']
    """
    batch = torch.broadcast_shapes(*(t.shape[:-1] for t in (v, w, v_star, w_star)))
    v, v_star = (t.expand(*batch, t.shape[-1]) for t in (v, v_star))
    theta = angle(w, w_star).expand(batch)
    norm, unit = torch.linalg.vector_norm(w, dim=-1).expand(batch), torch.linalg.vector_norm(v_star, dim=-1)
    aligned, opposed = theta <= tolerance, math.pi - theta <= tolerance
    kink = aligned | opposed
    at = torch.where(aligned, 0.0, torch.where(opposed, math.pi, theta))
    dv = _dv(v, at, v_star)
    slope = (v * v_star).sum(-1) / (2 * math.pi)
    slope = torch.where(opposed, -slope, slope)
    # dv is (I + 11^T)/4 times the distance to the best v: invert, to speak of distances
    off = 4 * (dv - dv.sum(-1, keepdim=True) / (v.shape[-1] + 1))
    best_v = torch.linalg.vector_norm(off, dim=-1) <= tolerance * unit
    flat = slope.abs() <= tolerance * unit.square() / (2 * math.pi)
    curvature, across = _curvature(v, norm, at, v_star, kink)
    falls = flat & (opposed | ~kink & (curvature[..., 0] < 0))
    kind = torch.full_like(theta, NOT_CRITICAL, dtype=torch.int64)
    kind[best_v & falls] = SADDLE
    kind[best_v & kink & ~flat & (slope > 0)] = SPURIOUS
    kind[best_v & aligned] = GLOBAL
    kind[~(torch.isfinite(off).all(-1) & torch.isfinite(norm) & (norm > 0))] = UNDEFINED
    return Point(kind, theta, dv, slope, curvature, across)


def hessian(v: Tensor, w: Tensor, v_star: Tensor, w_star: Tensor) -> Tensor:
    """Second derivatives of the loss by (v, w), ``[..., m + n, m + n]``; theta strictly between 0 and pi.

    ``classify`` gives its eigenvalues without building it.
    """
    m, n = v.shape[-1], w.shape[-1]
    norm = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
    u = w / norm
    along = (u * w_star).sum(-1, keepdim=True)
    e = w_star - along * u
    e = e / torch.linalg.vector_norm(e, dim=-1, keepdim=True)
    theta = angle(w, w_star)
    eye = torch.eye(n, dtype=w.dtype, device=w.device)
    uu, ee, ue = (a[..., :, None] * b[..., None, :] for a, b in ((u, u), (e, e), (u, e)))
    bend = (ue + ue.mT + (eye - uu - ee) / torch.tan(theta)[..., None, None]) / norm[..., None].square()
    slope = (v * v_star).sum(-1)[..., None, None] / (2 * math.pi)
    mixed = -v_star[..., :, None] * e[..., None, :] / (2 * math.pi * norm[..., None])
    batch = torch.broadcast_shapes(mixed.shape[:-2], bend.shape[:-2], slope.shape[:-2])
    top = (torch.eye(m, dtype=v.dtype, device=v.device) + 1) / 4
    upper = torch.cat((top.expand(*batch, m, m), mixed.expand(*batch, m, n)), -1)
    return torch.cat(
        (upper, torch.cat((mixed.mT.expand(*batch, n, m), slope * bend.expand(*batch, n, n)), -1)), -2
    )


def push(v_star: Tensor, w_star: Tensor, surrogate: Surrogate, *, norm: float = 1.0) -> Tensor:
    r"""The length of the coarse gradient at the spurious minimizer with |w| = ``norm``, ``[...]``.

    A surrogate that pushes there leaves a minimizer, and the loss grows. In closed form it is \(2 (m-1)(1^T
    v^*)^2/(m+1)^2 \; |E[\min(s, 0)\, \mu'(|w| s)]|\), s standard normal: zero for a slope that is zero
    below zero, \(1/\sqrt{2\pi}\) for the identity's last factor (Yin et al. 2019 for identity and ReLU). NaN
    where the minimizer does not exist.

    >>> from coarsegrad.core.surrogates import Identity, ReLU
    >>> v_star, w_star = torch.tensor([1.0, 1.0, -0.5]), torch.tensor([1.0, 0.0])
    >>> [round(push(v_star, w_star, mu).item(), 4) for mu in (Identity(), ReLU())]
    [0.2244, 0.0]
    """
    spurious, w_star = spurious_minimizer(v_star), hidden.floating(w_star)
    g = hidden.coarse_gradient(spurious.v, -norm * _unit(w_star), v_star, w_star, surrogate)
    size = torch.linalg.vector_norm(g, dim=-1)
    return torch.where(spurious.exists, size, torch.full_like(size, math.nan))


def _unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def _dv(v: Tensor, theta: Tensor, v_star: Tensor) -> Tensor:
    kappa = (1 - 2 * theta / math.pi)[..., None]
    return (v + v.sum(-1, keepdim=True) - kappa * v_star - v_star.sum(-1, keepdim=True)) / 4


def _curvature(v: Tensor, norm: Tensor, theta: Tensor, v_star: Tensor, kink: Tensor) -> tuple[Tensor, Tensor]:
    """The Hessian's eigenvalues over (v, u, e), u along w and e across it in the plane, and for the rest."""
    m = v.shape[-1]
    slope = (v * v_star).sum(-1) / (2 * math.pi)
    usable = ~kink & (norm > 0) & torch.isfinite(norm) & torch.isfinite(v).all(-1)
    norm, slope = torch.where(usable, norm, 1.0), torch.where(usable, slope, 0.0)
    matrix = v_star.new_zeros(*theta.shape, m + 2, m + 2)
    matrix[..., :m, :m] = (torch.eye(m, dtype=v.dtype, device=v.device) + 1) / 4
    mixed = -v_star / (2 * math.pi * norm[..., None])
    matrix[..., :m, m + 1], matrix[..., m + 1, :m] = mixed, mixed
    matrix[..., m, m + 1] = matrix[..., m + 1, m] = slope / norm.square()
    values = torch.linalg.eigvalsh(matrix)
    across = slope / torch.tan(torch.where(usable, theta, 1.0)) / norm.square()
    nan = torch.full_like(theta, torch.nan)
    return torch.where(usable[..., None], values, torch.nan), torch.where(usable, across, nan)
