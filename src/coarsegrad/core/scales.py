"""Scales: how far apart the levels stand, per tensor, per index of an axis or per group.

Shapes: [] per tensor; 1 on every axis but ``axis``; ``[first axis, groups, 1]`` per group.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from coarsegrad.core import fused

STATISTICS = ("one", "mean_abs", "max_abs", "mse", "percentile", "half_gaussian")
_SAMPLE = 2**18
_COARSE = torch.logspace(-1.6, 0.1, 60, dtype=torch.float64, device="cpu").tolist()
_FINE = torch.logspace(-0.03, 0.03, 48, dtype=torch.float64, device="cpu").tolist()
_POLISHINGS = 12


class Steps(Protocol):
    """What a scale is fitted for: levels, and the step function onto them."""

    @property
    def levels(self) -> Sequence[float]:
        """Ascending, in units of the scale."""
        ...

    def step(self, u: Tensor) -> Tensor:
        """The level of u."""
        ...


@dataclass(frozen=True)
class Scale:
    """A rule for the scale of a quantizer.

    ``statistic``: ``one``; ``mean_abs`` (binary, ternary: mean|x|, XNOR-Net, arXiv:1603.05279; more levels:
    2 mean|x| / sqrt(top), LSQ's start, arXiv:1902.08153); ``max_abs`` (largest |x| on the top level);
    ``percentile`` (that percentile of |x| on the top level); ``mse`` (least squares over the data);
    ``half_gaussian`` (the Lloyd step of a half-Gaussian, whatever the data; Yin et al. 2019,
    arXiv:1903.05662).

    ``axis``: one scale per index of that axis. ``group``: one scale per run of that many values behind axis
    0. ``learned``: starts at the statistic and is trained. ``live``: taken anew at every call (a constant for
    the gradient), as weight statistics in XNOR-Net, TWN and BitNet are.

    >>> from coarsegrad.core.quantizers import Binary
    >>> Scale("mean_abs", axis=0).fit(torch.tensor([[1.0, -3.0], [0.5, 0.5]]), Binary())
    tensor([[2.0000],
            [0.5000]])
    """

    statistic: str = "mse"
    axis: int | None = None
    group: int | None = None
    learned: bool = False
    live: bool = False
    percentile: float = 99.9
    name: ClassVar[str] = "scale"

    def __post_init__(self):
        if self.statistic not in STATISTICS:
            raise ValueError(
                f"Scale(statistic={self.statistic!r}) is unknown; known: {', '.join(STATISTICS)}"
            )
        if self.learned and self.live:
            raise ValueError(
                "Scale(learned=True, live=True): a scale is trained or taken anew at every call, not both"
            )
        if self.group is not None and (self.group < 1 or self.axis not in (None, 0)):
            raise ValueError(
                f"Scale(group={self.group}, axis={self.axis}): a group is at least 1 and lies behind axis 0"
            )
        if not 0 < self.percentile <= 100:
            raise ValueError(f"Scale(percentile=...) must lie in (0, 100], got {self.percentile}")

    def view(self, x: Tensor) -> Tensor:
        """X as the scale sees it: ``[first, groups, group]`` for groups, else x itself."""
        if self.group is None:
            return x
        if x.dim() < 1 or (x.numel() // x.shape[0]) % self.group:
            raise ValueError(
                f"Scale(group={self.group}) does not divide the rows of a tensor of shape {tuple(x.shape)}"
            )
        return x.reshape(x.shape[0], -1, self.group)

    def fit(self, x: Tensor, quantizer: Steps) -> Tensor:
        """The statistic of x for these levels: positive, detached, in float32 or wider.

        Where all of x is zero: 1, or next to nothing where a scale that is not trained has no level zero.
        """
        if x.numel() == 0:
            raise ValueError("cannot fit a scale to an empty tensor")
        v = self.view(x.detach())
        v = v.float() if v.dtype in (torch.float16, torch.bfloat16) else v
        top = max(abs(level) for level in quantizer.levels)
        dims = self.reduced(v)
        if self.statistic == "one":
            scale = torch.ones_like(_mean(v, dims))
        elif self.statistic == "half_gaussian":
            scale = torch.full_like(_mean(v, dims), half_gaussian_step(len(quantizer.levels) - 1))
        elif self.statistic == "mean_abs":
            factor = 1.0 if len(quantizer.levels) <= 3 else 2 / math.sqrt(max(quantizer.levels[-1], 1.0))
            scale = _mean_abs(v, dims) * factor
            if not self.live and not _all_finite(scale):  # in float32 a sum overflows before its terms do
                scale = (_mean_abs(v.double(), dims) * factor).to(v.dtype)
        elif self.statistic == "max_abs":
            scale = _max(v.abs(), dims) / top
        elif self.statistic == "percentile":
            scale = _percentile(v.abs(), dims, self.percentile)
            scale = torch.where(scale > 0, scale, _max(v.abs(), dims)) / top
        else:
            scale = _least_squares(v, dims, quantizer, top)
        fixed = self.statistic in ("one", "half_gaussian")
        if not self.live and not _all_finite(v if fixed else scale):
            raise ValueError(
                f"cannot fit a scale ({self.statistic}): the tensor holds values that are not finite"
            )
        tiny = torch.finfo(scale.dtype).tiny
        nothing = 1.0 if self.learned or 0.0 in quantizer.levels else tiny
        return torch.where(scale <= 0, torch.full_like(scale, nothing), scale.clamp(min=tiny))

    def reduced(self, v: Tensor) -> tuple[int, ...] | None:
        """The axes that share one scale in ``view(x)``; None for all of them."""
        if self.group is not None:
            return (2,)
        if self.axis is None:
            return None
        if not -v.dim() <= self.axis < v.dim():
            raise ValueError(f"Scale(axis={self.axis}) does not exist in a tensor of shape {tuple(v.shape)}")
        return tuple(d for d in range(v.dim()) if d != self.axis % v.dim())


def positive(scale: Tensor) -> Tensor:
    """The scale in use for a trained one: its absolute value, kept above zero, so never negative."""
    return scale.abs().clamp(min=1e-8)


def narrowed(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The scale in the dtype of the tensor that it divides; float16, whose range is short, gets no zero."""
    scale = scale.to(dtype)
    return scale.clamp(min=torch.finfo(dtype).tiny) if dtype == torch.float16 else scale


def _all_finite(v):
    if torch.compiler.is_compiling():
        return True
    try:
        return bool(torch.isfinite(v).all())
    except RuntimeError:  # under vmap no value may steer the program
        return True


@functools.cache
def half_gaussian_step(top: int) -> float:
    """The step s that minimizes E(x - s clip(round(x/s), 0, top))^2 for x = |N(0, 1)|.

    The fixed point of Lloyd's iteration: Yin et al. 2019, arXiv:1903.05662, section 4 (their simulated
    values: 1.2221, 0.6511, 0.1946 for 1, 2, 4 bits).

    >>> [round(half_gaussian_step(2**bits - 1), 4) for bits in (1, 2, 3, 4)]
    [1.224, 0.6508, 0.3534, 0.1932]
    """
    if top < 1:
        raise ValueError(f"half_gaussian_step(top) needs at least one level above zero, got top={top}")

    def density(x):
        return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    def tail(x):
        return math.erfc(x / math.sqrt(2)) / 2

    def best_for_the_cells_of(step):
        cuts = [(k - 0.5) * step for k in range(1, top + 1)]  # E[x q] / E[q^2], summed by parts over the cuts
        return sum(map(density, cuts)) / sum((2 * k - 1) * tail(cut) for k, cut in enumerate(cuts, 1))

    low, high = 0.1 / top, 2.0
    while high - low > 1e-15 * high and low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if best_for_the_cells_of(middle) > middle else (low, middle)
    return high


def _mean(v, dims):
    return v.mean() if dims is None else v.mean(dims, keepdim=True) if dims else v


def _mean_abs(v, dims):
    if dims == ():
        return v.abs()
    number = v.numel() if dims is None else math.prod([v.shape[d] for d in dims])
    return torch.linalg.vector_norm(v, 1, dims, keepdim=dims is not None) / number


def _max(v, dims):
    return v.max() if dims is None else v.amax(dims, keepdim=True) if dims else v


def _percentile(v, dims, percent):
    if dims is None:
        return torch.quantile(thinned(v), percent / 100)
    kept = [d for d in range(v.dim()) if d not in dims]
    rows = v.permute(*kept, *dims).flatten(len(kept)) if dims else v.unsqueeze(-1)
    rows = rows[..., :: max(1, rows.numel() // 2**24 + 1)]  # torch.quantile takes no more than 2^24 values
    return torch.quantile(rows, percent / 100, dim=-1).reshape(
        [1 if d in dims else v.shape[d] for d in range(v.dim())]
    )


def thinned(v: Tensor, most: int = _SAMPLE) -> Tensor:
    """About ``most`` values, evenly spread; stride and size share no factor: no channel is missed."""
    flat = v.flatten()
    if flat.numel() <= most:
        return flat
    stride = -(-flat.numel() // most)
    while math.gcd(stride, flat.numel()) > 1:
        stride += 1
    return flat[::stride]


def _least_squares(v, dims, quantizer, top):
    """The best of a geometric grid, of a finer one around it, then of Lloyd's steps from there.

    A step takes the best codes for the scale, then the best scale for the codes. Compiled where that fits.
    """
    if dims is None:
        v = thinned(v)
    largest = _max(v.abs(), dims)
    unit = torch.where(largest == 0, torch.ones_like(largest), largest)
    v = v / unit  # so that no square leaves the float range
    low, high, sign = getattr(quantizer, "even", None) or (0.0, 0.0, True)
    if not sign and fused.ready(v, unit):
        rounds = [ratio / top for ratio in _COARSE], _FINE
        return fused.best_steps(v, unit, low, high, rounds, _POLISHINGS) * largest

    def total(t):
        return t.sum() if dims is None else t.sum(dims, keepdim=True) if dims else t

    def better(scale, best, best_error):
        error = total((quantizer.step(v / scale) * scale - v).square())
        take = error < best_error
        return torch.where(take, scale, best), torch.where(take, error, best_error)

    start = torch.ones_like(largest) / top
    best, error = start, torch.full_like(start, math.inf)
    for ratio in _COARSE:
        best, error = better(start * ratio, best, error)
    start = best
    for ratio in _FINE:
        best, error = better(start * ratio, best, error)
    for _ in range(_POLISHINGS):
        q = quantizer.step(v / best)
        power = total(q.square())
        polished = torch.where(power > 0, total(v * q) / power.clamp(min=1e-30), best)
        best, error = better(torch.where(polished > 0, polished, best), best, error)
    return best * largest
