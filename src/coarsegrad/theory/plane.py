"""Where w lies, seen from w_star: sizes, angle and directions, exact everywhere, or in few passes."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SAME_DIRECTION = 8 * torch.finfo(torch.float64).eps
"""Sines below this are rounding: they count as 0."""
_SMALLEST, _LARGEST = 1e-100, 1e100  # beyond, a sum of squares might leave the float range
_FLAT = 0.01  # squared sine below which 1 - cos^2 has lost digits


class Plane(NamedTuple):
    """|w|, cosine and sine of the angle, |w_star|, ``[...]`` each; unit vectors ``[..., n]``.

    ``across`` is along the part of w_star across w. Unit vectors of what has no direction are 0, but that of
    w_star = 0 is NaN.
    """

    size: Tensor
    cos: Tensor
    sin: Tensor
    size_star: Tensor
    unit: Tensor
    unit_star: Tensor
    across: Tensor


def plane(w: Tensor, w_star: Tensor) -> Plane:
    """The plane of ``w`` and ``w_star``, ``[..., n]`` each, float64; differentiable.

    Sine and cosine keep an absolute accuracy of a few 1e-16 at every angle, for any sizes that are floats.

    >>> w, w_star = torch.tensor([[0.0, 1e-200], [1.0, 1e-9]], dtype=torch.float64)
    >>> here = plane(w, w_star)
    >>> float(here.size), float(here.cos), here.across.tolist()
    (1e-200, 1e-09, [1.0, 0.0])
    """
    size, unit = _polar(w)
    size_star, unit_star = _polar(w_star)
    unit_star = torch.where((size_star > 0).unsqueeze(-1), unit_star, unit_star * math.nan)
    cos = (unit * unit_star).sum(-1)
    rest = unit_star - cos.unsqueeze(-1) * unit
    sin = torch.linalg.vector_norm(rest, dim=-1)
    aside = sin > SAME_DIRECTION
    across = torch.where(aside, sin, 1.0).unsqueeze(-1)
    across = torch.where(aside.unsqueeze(-1), rest / across, torch.zeros_like(rest))
    sin = torch.where(aside | sin.isnan(), sin, torch.zeros_like(sin))
    near = torch.where(
        sin < 0.5, sin, torch.zeros_like(sin)
    )  # near the line the sine knows the cosine better
    cos = torch.where(sin < 0.5, torch.copysign(torch.sqrt(1 - near.square()), cos), cos)
    size, cos, sin, size_star = torch.broadcast_tensors(size, cos, sin, size_star)
    return Plane(size, cos, sin, size_star, unit, unit_star, across)


def quick(w: Tensor, w_star: Tensor, *, angle: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """The first four of ``plane(w, w_star)`` in three passes over ``[N, n]`` or ``[1, n]``, or None.

    None where a size is 0, not a number, or so large or small that its square may not be a float. With
    ``angle=False`` cosine and sine are not looked for, and are 0-dim zeros. Not differentiable.
    """
    size, size_star = (torch.linalg.vector_norm(x, dim=-1) for x in (w, w_star))
    for low, high in (torch.aminmax(size), torch.aminmax(size_star)):
        if not (low > _SMALLEST and high < _LARGEST):
            return None
    if not angle:
        return size, size.new_zeros(()), size.new_zeros(()), size_star
    cos = _dots(w, w_star).div_(size).div_(size_star)
    sin = 1 - cos.square()
    flat = (sin < _FLAT).nonzero().squeeze(-1)
    sin = sin.clamp_(min=0).sqrt_()
    if len(flat):
        near = plane(*(x[flat] if len(x) > 1 else x for x in (w, w_star)))
        cos[flat], sin[flat] = near.cos, near.sin
    return size, cos, sin, size_star


def _dots(a, b):
    """Dot products of rows, where there is a way without writing the products down."""
    if len(a) == 1 or len(b) == 1:
        return a @ b[0] if len(b) == 1 else b @ a[0]
    if a.device.type == "cpu":
        return torch.from_numpy(np.einsum("ij,ij->i", a.detach().numpy(), b.detach().numpy()))
    return torch.linalg.vecdot(a, b)


def _polar(x):
    """Size and direction, without overflow or underflow; the direction of 0 is 0."""
    top = x.detach().abs().amax(-1, keepdim=True)
    x = x / torch.where(top > 0, top, torch.ones_like(top))
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return (top * length).squeeze(-1), x / torch.where(length > 0, length, torch.ones_like(length))
