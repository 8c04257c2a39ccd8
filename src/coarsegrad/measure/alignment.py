"""Alignment: do two vectors point the same way? All functions take ``[..., d]`` x ``[..., d]`` -> ``[...]``.

Leading axes broadcast. Integers and half precision are computed in float32 (half precision returns as it
came, integers as float32). Finite inputs never give NaN, however large or small; a NaN or an infinity in
the input does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between ``a`` and ``b``, in [-1, 1]; 0 where either vector is zero.

    A zero vector has no direction, so it agrees with nothing and opposes nothing.

    >>> cosine(torch.tensor([3.0, 4.0]), torch.tensor([[3.0, 4.0], [-4.0, 3.0], [0.0, 0.0]]))
    tensor([1., 0., 0.])
    """
    a, b, dtype = _pair(a, b)
    return (_unit(a) * _unit(b)).sum(-1).clamp(-1.0, 1.0).to(dtype)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between ``a`` and ``b`` in radians, in [0, pi]; pi/2 where either vector is zero.

    Computed as ``2 atan2(|a/|a| - b/|b||, |a/|a| + b/|b||)`` (Kahan), which keeps its digits near 0 and pi,
    where the arc cosine loses half of them.

    >>> angle(torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 1e-6], [0.0, 2.0], [0.0, 0.0]]))
    tensor([1.0000e-06, 1.5708e+00, 1.5708e+00])
    """
    a, b, dtype = _pair(a, b)
    a, b = torch.broadcast_tensors(_unit(a), _unit(b))
    theta = 2 * torch.atan2(_length(a - b).squeeze(-1), _length(a + b).squeeze(-1))
    has_direction = a.ne(0).any(-1) & b.ne(0).any(-1)
    right_angle = torch.full_like(theta, math.pi / 2)
    unknown = a.isnan().any(-1) | b.isnan().any(-1)
    return torch.where(has_direction | unknown, theta, right_angle).to(dtype)


def sign_agreement(a: Tensor, b: Tensor) -> Tensor:
    """Share of the ``d`` coordinates in which ``a`` and ``b`` have the same sign, in [0, 1].

    Zero is a sign of its own: it agrees with zero only. NaN agrees with nothing. Independent symmetric
    vectors give 1/2 on average, so read this number against 1/2, not against 0.

    >>> sign_agreement(torch.tensor([1.0, -2.0, 0.0, 5.0]), torch.tensor([9.0, 1.0, 0.0, 0.1]))
    tensor(0.7500)
    """
    a, b, dtype = _pair(a, b)
    return (a.sign() == b.sign()).logical_and(~(a.isnan() | b.isnan())).to(a.dtype).mean(-1).to(dtype)


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    if a.dim() == 0 or b.dim() == 0 or a.shape[-1] != b.shape[-1] or a.shape[-1] == 0:
        raise ValueError(
            f"alignment compares [..., d] with [..., d], d >= 1, got {tuple(a.shape)} and {tuple(b.shape)}; "
            "flatten both to the same last axis first"
        )
    dtype = torch.promote_types(a.dtype, b.dtype)
    if dtype.is_complex:
        raise ValueError(
            "alignment is for real tensors; pass torch.view_as_real(x).flatten(-2) of complex ones"
        )
    dtype = dtype if dtype.is_floating_point else torch.float32
    work = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    return a.to(work), b.to(work), dtype


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def _unit(x: Tensor) -> Tensor:
    """``x / |x|`` without overflow or underflow; zero stays zero."""
    largest = x.abs().amax(-1, keepdim=True)
    x = x / torch.where(largest == 0, 1.0, largest)
    return x / torch.where(largest == 0, 1.0, _length(x))
