"""Moments: what a tensor of weights or activations looks like in a few numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Population moments. Excess kurtosis and skewness of a normal law are 0."""

    mean: Tensor
    sd: Tensor
    skewness: Tensor
    excess_kurtosis: Tensor


class Ends(NamedTuple):
    """Share of entries at or beyond the lower and the upper end of a range, each in [0, 1]."""

    low: float
    high: float


class Histogram(NamedTuple):
    """``counts[i]`` entries lie in ``[edges[i], edges[i + 1])``, in the last bin also on its upper edge."""

    counts: Tensor
    edges: Tensor


def moments(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Moments:
    """Mean, standard deviation (divided by n), skewness and excess kurtosis over ``dim`` (default: all axes).

    Where all entries are equal, sd, skewness and excess kurtosis are 0. Excess kurtosis is never below -2,
    which a fair two-valued tensor attains. Integers and half precision are computed in float32.

    >>> moments(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    Moments(mean=tensor(0.), sd=tensor(1.), skewness=tensor(0.), excess_kurtosis=tensor(-2.))
    """
    x = x.detach()
    if x.numel() == 0:
        raise ValueError(f"moments(x) needs at least one entry, got shape {tuple(x.shape)}")
    if x.dtype not in (torch.float32, torch.float64):
        x = x.to(torch.float32)
    dim = tuple(range(x.dim())) if dim is None else dim
    # Entries are brought to order one first, so that neither squares nor fourth powers leave the float range.
    size = x.abs().amax(dim, keepdim=True)
    size = torch.where(size == 0, 1.0, size)
    scaled = x / size
    center = scaled.mean(dim, keepdim=True)
    constant = scaled.amax(dim, keepdim=True) == scaled.amin(dim, keepdim=True)
    deviation = torch.where(constant, 0.0, scaled - center)
    spread = deviation.abs().amax(dim, keepdim=True)
    deviation = deviation / torch.where(spread == 0, 1.0, spread)
    sd = deviation.square().mean(dim, keepdim=True).sqrt()
    z = deviation / torch.where(sd == 0, 1.0, sd)
    excess = torch.where(constant, 0.0, (z.pow(4).mean(dim, keepdim=True) - 3.0).clamp(min=-2.0))
    skewness = z.pow(3).mean(dim, keepdim=True)
    return Moments(*(part.squeeze(dim) for part in (center * size, sd * spread * size, skewness, excess)))


def end_fractions(x: Tensor, low: float, high: float) -> Ends:
    """Share of entries that sit at or beyond the ends ``low`` and ``high`` of the clipping range.

    For codes, pass the first and the last code. Much above a few per cent on either side says that the range
    is too narrow; 0 on both says that it may be too wide. An empty tensor gives 0.

    >>> end_fractions(torch.tensor([0, 0, 1, 2, 3, 3, 3, 2]), low=0, high=3)
    Ends(low=0.25, high=0.375)
    """
    if not low < high:
        raise ValueError(f"end_fractions(x, low, high) needs low < high, got {low} and {high}")
    n = max(x.numel(), 1)
    return Ends(low=int((x <= low).sum()) / n, high=int((x >= high).sum()) / n)


def dead_fraction(activations: Tensor, unit_dim: int = 1) -> float:
    """Share of units along ``unit_dim`` that give one and the same value everywhere, in [0, 1].

    That is a rectified unit that never fires, and as well a binary or saturated unit that never switches:
    either tells the next layer nothing. Needs at least two values per unit.

    >>> dead_fraction(torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 5.0]]))    # [samples, units]
    0.6666666666666666
    """
    units = activations.detach().movedim(unit_dim, 0).flatten(1) if activations.dim() > 1 else None
    if units is None or units.shape[0] == 0 or units.shape[1] < 2:
        raise ValueError(
            f"dead_fraction(activations, unit_dim={unit_dim}) needs units with two values each or more, "
            f"got shape {tuple(activations.shape)}; pass a batch of several samples"
        )
    return int((units == units[:, :1]).all(1).sum()) / units.shape[0]


def histogram(x: Tensor, bins: int = 64, low: float | None = None, high: float | None = None) -> Histogram:
    """Counts of the entries of ``x`` in ``bins`` bins of equal width from ``low`` to ``high``.

    The range defaults to that of the finite entries. Entries outside the range, infinities and NaN are in no
    bin, so ``counts.sum()`` says how many were seen. Counts are int64, edges have the dtype of ``x``
    (float32 for integers and half precision).

    >>> histogram(torch.tensor([0.0, 0.1, 0.5, 1.0]), bins=2)
    Histogram(counts=tensor([2, 2]), edges=tensor([0.0000, 0.5000, 1.0000]))
    """
    if bins < 1:
        raise ValueError(f"histogram(bins=...) must be at least 1, got {bins}")
    x = x.detach().flatten()
    if x.dtype not in (torch.float32, torch.float64):
        x = x.to(torch.float32)
    finite = x[x.isfinite()]
    empty = finite.numel() == 0
    low = (0.0 if empty else float(finite.min())) if low is None else float(low)
    high = (low + 1.0 if empty else float(finite.max())) if high is None else float(high)
    if low == high:
        half = max(abs(low), 1.0) / 2
        low, high = low - half, high + half
    if not low < high:
        raise ValueError(f"histogram(low=..., high=...) needs low < high, got {low} and {high}")
    edges = torch.linspace(low, high, bins + 1, dtype=x.dtype, device=x.device)
    inside = finite[(finite >= edges[0]) & (finite <= edges[-1])]
    index = (torch.bucketize(inside, edges, right=True) - 1).clamp(max=bins - 1)
    return Histogram(counts=torch.bincount(index, minlength=bins), edges=edges)
