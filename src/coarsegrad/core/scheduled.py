"""Surrogates that look at more than x: the training progress (EDE, ReSTE) or the upstream gradient (EWGS)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate, positive


@dataclass(frozen=True)
class EDE(Surrogate):
    """Curve k tanh(tx), k = max(1/t, 1), t from t_min to t_max. IR-Net, Qin et al. 2020, arXiv:1909.10788.

    The logarithm of t grows evenly with ``progress``, which lies in [0, 1] and is a number or a 0-dim tensor
    (which ``torch.compile`` does not specialise on).
    The paper is usually quoted with t_min = 0.1, the authors' repository uses 1e-3 for ResNet-20.
    """

    t_min: float = 0.1
    t_max: float = 10.0
    progress: float | Tensor = 0.0
    name: ClassVar[str] = "ede"
    formula: ClassVar[str] = "k t (1 - tanh(t x)^2), t: t_min -> t_max, k = max(1/t, 1)"
    source: ClassVar[str] = "Qin et al. 2020, arXiv:1909.10788"
    breaks: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self):
        positive(self, "t_min", "t_max")
        _unit(self)

    def _shape(self):
        ratio = math.log(self.t_max / self.t_min)
        p = self.progress
        t = self.t_min * (torch.exp(p * ratio) if isinstance(p, Tensor) else math.exp(p * ratio))
        k = (1 / t).clamp(min=1) if isinstance(t, Tensor) else max(1 / t, 1.0)
        return k, t

    def curve(self, x):
        """The hyperbolic tangent of this moment."""
        k, t = self._shape()
        return k * torch.tanh(t * x)

    def slope(self, x):
        """Its derivative."""
        k, t = self._shape()
        return (k * t) * (1 - torch.tanh(t * x).square())

    def at(self, progress):
        """The estimator at this progress."""
        return replace(self, progress=progress)


@dataclass(frozen=True)
class ReSTE(Surrogate):
    r"""Curve \(\mathrm{sgn}(x)|x|^{1/o}\), o growing from 1 to o_end. Wu et al. 2023, arXiv:2308.06689.

    From the clipped identity towards the sign. For |x| <= small the secant, for |x| > clip slope 0.
    \(o = 1 + (1-\cos(\pi p/2))(o_{end}-1)\).
    """

    o_end: float = 3.0
    clip: float = 1.5
    small: float = 0.1
    progress: float | Tensor = 0.0
    name: ClassVar[str] = "reste"
    formula: ClassVar[str] = "|x|^(1/o-1)/o, secant below small, 0 above clip; o: 1 -> o_end"
    source: ClassVar[str] = "Wu et al. 2023, arXiv:2308.06689"

    def __post_init__(self):
        positive(self, "o_end", "clip", "small")
        if self.o_end < 1 or self.small >= self.clip:
            raise ValueError(
                f"ReSTE needs o_end >= 1 and small < clip, got {self.o_end}, {self.small}, {self.clip}"
            )
        _unit(self)

    @property
    def breaks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where the secant ends and where the clip begins."""
        return (-self.clip, -self.small, self.small, self.clip)

    def _power(self):
        p = self.progress
        cosine = torch.cos(p * (math.pi / 2)) if isinstance(p, Tensor) else math.cos(p * (math.pi / 2))
        return 1 / (1 + (1 - cosine) * (self.o_end - 1))

    def curve(self, x):
        """The power, with its secant at the origin."""
        power, size = self._power(), x.abs().clamp(max=self.clip)
        inner = x * (self.small ** (power - 1))
        return torch.where(size <= self.small, inner, torch.sign(x) * size.clamp(min=self.small) ** power)

    def slope(self, x):
        """Bounded by its secant; the power never sees a number below ``small``."""
        power, size = self._power(), x.abs()
        outer = power * size.clamp(self.small, self.clip) ** (power - 1)
        value = torch.where(size <= self.small, torch.zeros_like(x) + self.small ** (power - 1), outer)
        return value * (size <= self.clip).to(x.dtype)

    def at(self, progress):
        """The estimator at this progress."""
        return replace(self, progress=progress)


@dataclass(frozen=True)
class EWGS(Surrogate):
    """Upstream g becomes g (1 + delta sgn(g) (x - x_q)) inside the levels. Lee et al. 2021, arXiv:2104.00903.

    It has no slope, because the backward looks at the upstream gradient; x - x_q is the rounding error
    in units of the distance between levels.
    """

    delta: float = 0.001
    low: float = -1.0
    high: float = 1.0
    gap: float = 2.0
    name: ClassVar[str] = "ewgs"
    formula: ClassVar[str] = "g (1 + delta sgn(g) (x - x_q)) inside the levels"
    source: ClassVar[str] = "Lee et al. 2021, arXiv:2104.00903"

    def __post_init__(self):
        if self.delta < 0:
            raise ValueError(f"EWGS(delta=...) must not be negative, got {self.delta}")

    def curve(self, x):
        """The clip between the lowest and the highest level."""
        return x.clamp(self.low, self.high)

    def slope(self, x):
        """There is none: ask ``pullback``."""
        raise TypeError(
            "EWGS has no slope: its backward looks at the upstream gradient; use pullback(upstream, x)"
        )

    def pullback(self, upstream, x):
        """The upstream gradient, larger where the step -g leads back to the level that x was rounded to."""
        place = (x - self.low) / self.gap
        error = place - torch.round(place)
        inside = ((x > self.low) & (x < self.high)).to(x.dtype)
        return upstream * (1 + self.delta * torch.sign(upstream) * error) * inside

    def over(self, levels):
        """Its levels are the quantizer's."""
        gap = (levels[-1] - levels[0]) / (len(levels) - 1)
        return replace(self, low=float(levels[0]), high=float(levels[-1]), gap=float(gap))


def _unit(thing):
    if not isinstance(thing.progress, Tensor) and not 0 <= thing.progress <= 1:
        raise ValueError(f"{type(thing).__name__}(progress=...) must lie in [0, 1], got {thing.progress}")
