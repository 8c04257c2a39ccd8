"""Surrogates made of straight pieces: the identity, windows, leaks and tails."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from coarsegrad.core.surrogate import Surrogate, positive

_aten = torch.ops.aten


@dataclass(frozen=True)
class Identity(Surrogate):
    """Curve x; slope 1 everywhere. Hinton 2012; Bengio et al. 2013, arXiv:1308.3432."""

    name: ClassVar[str] = "identity"
    formula: ClassVar[str] = "1"
    source: ClassVar[str] = "Bengio et al. 2013, arXiv:1308.3432"
    one_sided: ClassVar[bool] = True
    breaks: ClassVar[tuple[float, ...]] = ()
    passes: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def curve(self, x):
        """X itself."""
        return x

    def slope(self, x):
        """One."""
        return torch.ones_like(x)

    def pullback(self, upstream, x):
        """The upstream gradient, untouched."""
        return upstream

    def over(self, levels):
        """Itself."""
        return self


@dataclass(frozen=True)
class ReLU(Surrogate):
    """Curve max(x, 0); slope 1 where x > 0. Yin et al. 2019, arXiv:1903.05662."""

    name: ClassVar[str] = "relu"
    formula: ClassVar[str] = "1{x>0}"
    source: ClassVar[str] = "Yin et al. 2019, arXiv:1903.05662"
    one_sided: ClassVar[bool] = True
    breaks: ClassVar[tuple[float, ...]] = (0.0,)
    passes: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def curve(self, x):
        """Max(x, 0)."""
        return torch.relu(x)

    def slope(self, x):
        """One where x > 0."""
        return (x > 0).to(x.dtype)

    def pullback(self, upstream, x):
        """Fused: the upstream gradient where x > 0."""
        return _passed(upstream, x, 0.0, math.inf)

    def over(self, levels):
        """Itself."""
        return self


@dataclass(frozen=True)
class ClippedReLU(Surrogate):
    """Curve min(max(x, 0), top); slope 1 on (0, top), else 0. Yin et al. 2019, arXiv:1903.05662."""

    top: float = 1.0
    name: ClassVar[str] = "clipped_relu"
    formula: ClassVar[str] = "1{0<x<top}"
    source: ClassVar[str] = "Yin et al. 2019, arXiv:1903.05662; Cai et al. 2017, arXiv:1702.00953"
    one_sided: ClassVar[bool] = True

    def __post_init__(self):
        positive(self, "top")

    @property
    def breaks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Both ends of the window."""
        return (0.0, self.top)

    @property
    def passes(self) -> tuple[float, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The window itself."""
        return (0.0, self.top)

    def curve(self, x):
        """X clipped to [0, top]."""
        return x.clamp(0, self.top)

    def slope(self, x):
        """One inside the window."""
        return ((x > 0) & (x < self.top)).to(x.dtype)

    def pullback(self, upstream, x):
        """Fused: the upstream gradient inside the window."""
        return _passed(upstream, x, 0.0, self.top)

    def over(self, levels):
        """The window from 0 to ``top`` times the highest level."""
        return ClippedReLU(self.top * float(levels[-1]))


@dataclass(frozen=True)
class HardTanh(Surrogate):
    """Curve x clipped to [low, high]; slope 1 inside. Courbariaux & Bengio 2016, arXiv:1602.02830."""

    low: float = -1.0
    high: float = 1.0
    name: ClassVar[str] = "hardtanh"
    formula: ClassVar[str] = "1{low<x<high}"
    source: ClassVar[str] = "Courbariaux & Bengio 2016, arXiv:1602.02830"

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"HardTanh(low=..., high=...) needs low < high, got {self.low}, {self.high}")

    @property
    def breaks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Both ends of the window."""
        return (self.low, self.high)

    @property
    def passes(self) -> tuple[float, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The window itself."""
        return (self.low, self.high)

    def curve(self, x):
        """X clipped to [low, high]."""
        return x.clamp(self.low, self.high)

    def slope(self, x):
        """One inside the window."""
        return ((x > self.low) & (x < self.high)).to(x.dtype)

    def pullback(self, upstream, x):
        """Fused: the upstream gradient inside the window."""
        return _passed(upstream, x, self.low, self.high)

    def over(self, levels):
        """The window from the lowest to the highest level (times -low and high)."""
        center, half = (levels[0] + levels[-1]) / 2, (levels[-1] - levels[0]) / 2
        return HardTanh(center + half * self.low, center + half * self.high)


@dataclass(frozen=True)
class LeakyReLU(Surrogate):
    """Curve x for x > 0, leak * x else. Maas et al. 2013."""

    leak: float = 0.01
    name: ClassVar[str] = "leaky_relu"
    formula: ClassVar[str] = "1{x>0} + leak 1{x<=0}"
    source: ClassVar[str] = "Maas et al. 2013"
    one_sided: ClassVar[bool] = True
    breaks: ClassVar[tuple[float, ...]] = (0.0,)

    def curve(self, x):
        """The leaky ReLU."""
        return torch.nn.functional.leaky_relu(x, self.leak)

    def slope(self, x):
        """One where x > 0, ``leak`` elsewhere."""
        return self.leak + (1 - self.leak) * (x > 0).to(x.dtype)

    def over(self, levels):
        """Itself."""
        return self


@dataclass(frozen=True)
class LeakyHardTanh(Surrogate):
    """Curve of slope 1 on (-1, 1) and of slope ``leak`` outside: no unit dies."""

    leak: float = 0.1
    name: ClassVar[str] = "leaky_hardtanh"
    formula: ClassVar[str] = "1{|x|<1} + leak 1{|x|>=1}"
    source: ClassVar[str] = "clip of arXiv:1602.02830 with the leak of Maas et al. 2013"
    breaks: ClassVar[tuple[float, ...]] = (-1.0, 1.0)

    def curve(self, x):
        """The clip plus the leak."""
        return self.leak * x + (1 - self.leak) * x.clamp(-1, 1)

    def slope(self, x):
        """One inside, ``leak`` outside."""
        return self.leak + (1 - self.leak) * (x.abs() < 1).to(x.dtype)


@dataclass(frozen=True)
class LogTailedReLU(Surrogate):
    """Curve x on (0, top], top + log(x - top + 1) above. Cai et al. 2017, arXiv:1702.00953."""

    top: float = 1.0
    name: ClassVar[str] = "log_tailed_relu"
    formula: ClassVar[str] = "1{0<x<=top} + 1{x>top}/(x-top+1)"
    source: ClassVar[str] = "Cai et al. 2017, arXiv:1702.00953; Long et al. 2021, arXiv:2011.11256"
    one_sided: ClassVar[bool] = True

    def __post_init__(self):
        positive(self, "top")

    @property
    def breaks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The threshold and the start of the tail."""
        return (0.0, self.top)

    def bounds(self, low, high):
        """It falls where it is not 0."""
        return _falling(lambda x: 1 / (1 + max(x - self.top, 0.0)), low, high)

    def curve(self, x):
        """Linear, then logarithmic."""
        return x.clamp(0, self.top) + torch.log1p((x - self.top).clamp(min=0))

    def slope(self, x):
        """One, then a hyperbola."""
        return (x > 0).to(x.dtype) / (1 + (x - self.top).clamp(min=0))

    def over(self, levels):
        """The tail starts at ``top`` times the highest level."""
        return LogTailedReLU(self.top * float(levels[-1]))


@dataclass(frozen=True)
class ReverseExponential(Surrogate):
    r"""Curve \(q(1 - e^{-x/q})\) for x > 0; slope \(e^{-x/q}\). Long, Yin & Xin 2021, arXiv:2011.11256."""

    top: float = 1.0
    name: ClassVar[str] = "reverse_exponential"
    formula: ClassVar[str] = "1{x>0} exp(-x/top)"
    source: ClassVar[str] = "Long, Yin & Xin 2021, arXiv:2011.11256"
    one_sided: ClassVar[bool] = True
    breaks: ClassVar[tuple[float, ...]] = (0.0,)

    def __post_init__(self):
        positive(self, "top")

    def bounds(self, low, high):
        """It falls where it is not 0."""
        return _falling(lambda x: math.exp(-x / self.top), low, high)

    def curve(self, x):
        """It saturates at ``top``."""
        return -self.top * torch.expm1(-x.clamp(min=0) / self.top)

    def slope(self, x):
        """Decays from 1; the exponent is never positive."""
        return (x > 0).to(x.dtype) * torch.exp(-x.clamp(min=0) / self.top)

    def over(self, levels):
        """The decay length is ``top`` times the highest level."""
        return ReverseExponential(self.top * float(levels[-1]))


@dataclass(frozen=True)
class MagnitudeAwareSign(Surrogate):
    """Slope mean|x| per channel (axis 0) inside the clip. Bi-Real Net, Liu et al. 2018, arXiv:1808.00278."""

    clip: float = 1.0
    name: ClassVar[str] = "magnitude_aware_sign"
    formula: ClassVar[str] = "mean|x| 1{|x|<clip}"
    source: ClassVar[str] = "Liu et al. 2018, arXiv:1808.00278"

    def __post_init__(self):
        positive(self, "clip")

    @property
    def breaks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Both ends of the clip."""
        return (-self.clip, self.clip)

    def _magnitude(self, x):
        size = x.detach().abs().flatten(1) if x.dim() > 1 else x.detach().abs().reshape(1, -1)
        wide = torch.promote_types(x.dtype, torch.float32)
        mean = (size.to(wide) / size.shape[1]).sum(1).to(x.dtype)  # no sum that leaves the float range
        return mean.reshape(-1, *[1] * (x.dim() - 1)) if x.dim() > 1 else mean.reshape(())

    def curve(self, x):
        """The clip times the magnitude, which counts as a constant."""
        return self._magnitude(x) * x.clamp(-self.clip, self.clip)

    def slope(self, x):
        """The magnitude inside the clip."""
        return self._magnitude(x) * (x.abs() < self.clip).to(x.dtype)

    def over(self, levels):
        """Itself: its unit is the magnitude that it measures."""
        return self


def _falling(slope, low, high):
    """Bounds of a slope that is 0 below 0 and falls above it; None where doubles are too coarse for one."""
    least, most = 0.0 if low < 0 else slope(high), 0.0 if high <= 0 else slope(max(low, 0.0))
    return None if least == 0 <= low and high < math.inf else (least, most)


def _passed(upstream, x, low, high):
    """The upstream gradient where low < x < high, else 0.

    Compiled, the mask is written as bytes made without comparisons: a bool that has to be kept for the
    backward is stored element by element by inductor's CPU code, which cost 1.6x on a ResNet-20.
    """
    if not torch.compiler.is_compiling():
        bounded = high != math.inf
        return (
            _aten.hardtanh_backward(upstream, x, low, high)
            if bounded
            else _aten.threshold_backward(upstream, x, low)
        )
    mask = torch.sign(torch.relu(x - low))
    if high != math.inf:
        mask = mask * torch.sign(torch.relu(high - x))
    return upstream * mask.to(torch.uint8).to(upstream.dtype)
