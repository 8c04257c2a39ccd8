"""Quantizers with fixed or fitted levels, and the catalogue of all of them."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from coarsegrad.core.quantizer import Quantizer, check_bits
from coarsegrad.core.scales import Scale

ROUNDINGS = ("nearest", "floor", "ceil", "stochastic")


@dataclass(frozen=True)
class Binary(Quantizer):
    """-1 or +1: the sign, +1 for 0. Courbariaux et al. 2016, arXiv:1602.02830; scaled: arXiv:1603.05279."""

    scale: Scale = field(default=Scale("mean_abs", live=True))
    name: ClassVar[str] = "binary"
    formula: ClassVar[str] = "s sign(x)"
    source: ClassVar[str] = "Courbariaux & Bengio 2016, arXiv:1602.02830; XNOR-Net, arXiv:1603.05279"
    levels: ClassVar[tuple[float, ...]] = (-1.0, 1.0)

    @property
    def even(self):
        """A sign."""
        return -1.0, 1.0, True

    def breaks(self, **values):
        """Zero."""
        return (0.0,)

    def step(self, u, **values):
        """The sign; adding 0 turns -0 into 0, whose sign is +1."""
        return sign(u)


@dataclass(frozen=True)
class Ternary(Quantizer):
    """Sign; 0 where |x| <= threshold * scale. By default BitNet b1.58, Ma et al. 2024, arXiv:2402.17764."""

    threshold: float = 0.5
    scale: Scale = field(default=Scale("mean_abs", live=True))
    name: ClassVar[str] = "ternary"
    formula: ClassVar[str] = "s sign(x) 1{|x| > t s}"
    source: ClassVar[str] = "Ma et al. 2024, arXiv:2402.17764"
    levels: ClassVar[tuple[float, ...]] = (-1.0, 0.0, 1.0)

    def __post_init__(self):
        if not self.threshold >= 0:
            raise ValueError(f"Ternary(threshold=...) must not be negative, got {self.threshold}")

    def breaks(self, **values):
        """Both ends of the dead zone."""
        return (-self.threshold, self.threshold)

    def step(self, u, **values):
        """Sign outside the dead zone."""
        return torch.sign(u) * (u.abs() > self.threshold).to(u.dtype)


@dataclass(frozen=True)
class TWN(Quantizer):
    """Ternary: threshold 0.7 mean|x|, scale the mean of |x| above it. Li et al. 2016, arXiv:1605.04711."""

    factor: float = 0.7
    scale: Scale = field(default=Scale("mean_abs", live=True))
    name: ClassVar[str] = "twn"
    formula: ClassVar[str] = "s sign(x) 1{|x| > 0.7 mean|x|}"
    source: ClassVar[str] = "Li et al. 2016, arXiv:1605.04711"
    levels: ClassVar[tuple[float, ...]] = (-1.0, 0.0, 1.0)

    def __post_init__(self):
        if not self.factor >= 0 or self.scale.statistic != "mean_abs":
            raise ValueError(
                "TWN needs factor >= 0 and a mean_abs scale: threshold and scale follow from mean|x|"
            )

    def fit(self, x):
        """Scale and threshold (in units of the scale)."""
        base = super().fit(x)["scale"] * self.factor
        size = self.scale.view(x.detach()).abs().to(base.dtype)
        above = (size > base).to(base.dtype)
        number = above.sum_to_size(base.shape)
        share = size / number.clamp(min=1)  # so that no sum leaves the float range
        scale = torch.where(number > 0, (share * above).sum_to_size(base.shape), base)
        scale = scale.clamp(min=torch.finfo(scale.dtype).tiny)
        return {"scale": scale, "threshold": base / scale}

    def breaks(self, *, threshold, **values):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Both ends of the fitted dead zone."""
        return (-float(threshold), float(threshold))

    def step(self, u, *, threshold, **values):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Sign outside the fitted dead zone."""
        return torch.sign(u) * (u.abs() > threshold.to(u.dtype)).to(u.dtype)


@dataclass(frozen=True)
class Uniform(Quantizer):
    """Whole numbers -2^(b-1) ... 2^(b-1)-1 signed, 0 ... 2^b-1 unsigned. Jacob et al. 2018, arXiv:1712.05877.

    ``narrow`` drops the lowest signed level (symmetric). One signed bit is -1, +1. ``zero_point`` adds an
    offset, a whole multiple of the scale, so that an unsymmetric range is covered and 0 stays exact.
    ``signed=None`` leaves the choice to calibration. Ties round to even. ``rounding="stochastic"`` rounds up
    with the probability of the fraction (Gupta et al. 2015, arXiv:1502.02551), drawn from torch's generator.
    """

    bits: int = 4  # pyright: ignore[reportIncompatibleMethodOverride]
    signed: bool | None = True
    narrow: bool = False
    zero_point: bool = False
    rounding: str = "nearest"
    scale: Scale = field(default=Scale("mse"))  # pyright: ignore[reportIncompatibleMethodOverride]
    name: ClassVar[str] = "uniform"
    formula: ClassVar[str] = "s clip(round(x/s), low, high)"
    source: ClassVar[str] = "Jacob et al. 2018, arXiv:1712.05877"

    def __post_init__(self):
        check_bits(self, 1, 8)
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"rounding={self.rounding!r} is unknown; known: {', '.join(ROUNDINGS)}")
        if self.zero_point and (self.signed or self.scale.learned):
            raise ValueError(
                "zero_point=True needs signed=False and a fitted scale; a trained offset is LSQPlus's"
            )

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest level."""
        if self.signed is None:
            raise ValueError(f"{self}: signedness is not decided yet; calibrate, or say signed=True or False")
        if not self.signed:
            return 0, 2**self.bits - 1
        half = 2 ** (self.bits - 1)
        return (-1, 1) if self.bits == 1 else (-half + self.narrow, half - 1)

    @property
    def levels(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """All whole numbers between the ends (only the ends for one signed bit)."""
        low, high = self.ends
        return (
            (-1.0, 1.0) if (self.signed and self.bits == 1) else tuple(float(k) for k in range(low, high + 1))
        )

    def fit(self, x):
        """The scale; with a zero point, scale and offset from the smallest and the largest value."""
        if not self.zero_point:
            return super().fit(x)
        if x.numel() == 0:
            raise ValueError("cannot fit a scale to an empty tensor")
        v = self.scale.view(x.detach())
        v = v.float() if v.dtype in (torch.float16, torch.bfloat16) else v
        dims = self.scale.reduced(v)
        low = (v.min() if dims is None else v.amin(dims, keepdim=True) if dims else v).clamp(max=0)
        high = (v.max() if dims is None else v.amax(dims, keepdim=True) if dims else v).clamp(min=0)
        if not self.live and not (torch.isfinite(high) & torch.isfinite(low)).all():
            raise ValueError("cannot fit a scale: the tensor holds values that are not finite")
        scale = high / self.ends[1] - low / self.ends[1]  # no difference that leaves the float range
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return {"scale": scale, "offset": scale * torch.round(low / scale)}

    @property
    def even(self):
        """The ends, where it rounds to the nearest."""
        if self.rounding != "nearest":
            return None
        low, high = self.ends
        return float(low), float(high), bool(self.signed) and self.bits == 1

    def breaks(self, **values):
        """Half-way between levels, or on them (``floor``, ``ceil``)."""
        if self.rounding == "stochastic":
            return None
        shift = {"nearest": 0.5, "floor": 1.0, "ceil": 0.0}[self.rounding]
        low, high = self.ends
        return (0.0,) if self.signed and self.bits == 1 else tuple(k + shift for k in range(low, high))

    def step(self, u, **values):
        """Round, then clip."""
        if self.signed and self.bits == 1:
            return sign(u)
        low, high = self.ends
        return _rounded(u, self.rounding).clamp(low, high)

    def settled(self):
        """With nearest rounding in place of stochastic."""
        return replace(self, rounding="nearest") if self.rounding == "stochastic" else self


@dataclass(frozen=True)
class QuantizedReLU(Uniform):
    """0 ... 2^b-1, times a step fitted by default to a half-Gaussian. Yin et al. 2019, arXiv:1903.05662.

    Meant behind a batch norm without affine part. ``rounding="ceil"`` is the paper's formula
    (k for k-1 < x <= k), ``nearest`` the one its step is optimal for.
    """

    bits: int = 2
    signed: bool | None = False
    rounding: str = "nearest"
    scale: Scale = field(default=Scale("half_gaussian"))
    name: ClassVar[str] = "quantized_relu"
    formula: ClassVar[str] = "s clip(round(x/s), 0, 2^b-1), s a half-Gaussian's Lloyd step"
    source: ClassVar[str] = "Cai et al. 2017, arXiv:1702.00953; Yin et al. 2019, arXiv:1903.05662"

    def __post_init__(self):
        super().__post_init__()
        if self.signed:
            raise ValueError("QuantizedReLU is unsigned; use Uniform(signed=True)")


@dataclass(frozen=True)
class DoReFaWeight(Quantizer):
    """tanh(w)/max|tanh w| on 2^b even levels; one bit: mean|w| sign w. Zhou et al. 2016, arXiv:1606.06160."""

    bits: int = 4  # pyright: ignore[reportIncompatibleMethodOverride]
    name: ClassVar[str] = "dorefa_weight"
    formula: ClassVar[str] = "2 round((t/2+1/2)(2^b-1))/(2^b-1) - 1, t = tanh(w)/max|tanh w|"
    source: ClassVar[str] = "Zhou et al. 2016, arXiv:1606.06160"

    def __post_init__(self):
        check_bits(self, 1, 8)

    @property
    def levels(self):
        """Odd whole numbers; the scale is 1/(2^b-1)."""
        top = 2**self.bits - 1
        return tuple(float(2 * k - top) for k in range(top + 1))

    @property
    def window(self):
        """Half a step outside the outer levels, so that the largest weight, always on one, has a slope."""
        return (
            self.levels if self.bits == 1 else (self.levels[0] - 1, *self.levels[1:-1], self.levels[-1] + 1)
        )

    @property
    def live(self):
        """One bit takes its mean|w| anew at every call."""
        return self.bits == 1

    def squash(self, x):
        """The tanh, normalized; its largest value counts as a constant."""
        if self.bits == 1:
            return x
        t = torch.tanh(x)
        return t / t.detach().abs().max().clamp(min=torch.finfo(t.dtype).tiny)

    def fit(self, x):
        """1/(2^b-1), or mean|w| for one bit."""
        if self.bits == 1:
            return {"scale": Scale("mean_abs").fit(x, self)}
        return {"scale": constant(1.0 / (2**self.bits - 1), x)}

    def breaks(self, **values):
        """Half-way between levels, behind ``squash``."""
        return tuple(level + 1.0 for level in self.levels[:-1])

    def step(self, u, **values):
        """The nearest odd number."""
        if self.bits == 1:
            return sign(u)
        top = 2**self.bits - 1
        return torch.round((u + top) / 2).clamp(0, top) * 2 - top


@dataclass(frozen=True)
class DoReFaActivation(Quantizer):
    """Round(clip(x, 0, 1) (2^b-1)) / (2^b-1). Zhou et al. 2016, arXiv:1606.06160."""

    bits: int = 4  # pyright: ignore[reportIncompatibleMethodOverride]
    name: ClassVar[str] = "dorefa_activation"
    formula: ClassVar[str] = "round(clip(x, 0, 1)(2^b-1))/(2^b-1)"
    source: ClassVar[str] = "Zhou et al. 2016, arXiv:1606.06160"

    def __post_init__(self):
        check_bits(self, 1, 8)

    @property
    def levels(self):
        """0 ... 2^b-1; the scale is 1/(2^b-1)."""
        return tuple(float(k) for k in range(2**self.bits))

    def fit(self, x):
        """1/(2^b-1), whatever the data."""
        return {"scale": constant(1.0 / (2**self.bits - 1), x)}

    def breaks(self, **values):
        """Half-way between levels."""
        return tuple(level + 0.5 for level in self.levels[:-1])

    def step(self, u, **values):
        """Round, then clip."""
        return torch.round(u).clamp(0, 2**self.bits - 1)


@dataclass(frozen=True)
class Nonuniform(Quantizer):
    """Any ascending ``levels``, with ``thresholds`` between them (default: midpoints, the nearest level)."""

    levels: tuple[float, ...] = (-1.5, -0.5, 0.5, 1.5)
    thresholds: tuple[float, ...] | None = None
    scale: Scale = field(default=Scale("mse"))
    name: ClassVar[str] = "nonuniform"
    formula: ClassVar[str] = "s levels[#{thresholds < x/s}]"
    source: ClassVar[str] = "Lloyd 1982; Max 1960"

    def __post_init__(self):
        object.__setattr__(self, "levels", tuple(self.levels))
        if self.thresholds is not None:
            object.__setattr__(self, "thresholds", tuple(self.thresholds))
        levels = self.levels
        if not 2 <= len(levels) <= 256 or any(not a < b for a, b in pairwise(levels)):
            raise ValueError(f"Nonuniform(levels=...) needs 2 to 256 ascending values, got {levels}")
        cuts = self.thresholds
        if cuts is not None and (len(cuts) != len(levels) - 1 or any(not a < b for a, b in pairwise(cuts))):
            raise ValueError(
                f"Nonuniform(thresholds=...) needs {len(levels) - 1} ascending values, got {cuts}"
            )

    def breaks(self, **values):
        """The thresholds, or the midpoints."""
        return self.thresholds or tuple((a + b) / 2 for a, b in pairwise(self.levels))

    def step(self, u: Tensor, **values: Tensor) -> Tensor:
        """The level of the interval that u lies in."""
        cuts = self.breaks()
        levels = torch.tensor(self.levels, dtype=u.dtype, device=u.device)
        return levels[torch.bucketize(u.contiguous(), torch.tensor(cuts, dtype=u.dtype, device=u.device))]


def _rounded(u: Tensor, rounding: str) -> Tensor:
    if rounding == "nearest":
        return torch.round(u)
    if rounding == "ceil":
        return torch.ceil(u)
    if rounding == "floor":
        return torch.floor(u)
    low = torch.floor(u)  # a whole number stays what it is, as floor(u + chance) would not keep it
    chance = torch.rand_like(u, dtype=torch.promote_types(u.dtype, torch.float32))
    return low + (chance < u - low).to(u.dtype)


def constant(value: float, x: Tensor) -> Tensor:
    """A 0-dim tensor on the device of x, in float32 or, where x is wider, in its dtype."""
    return torch.tensor(value, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)


def sign(u: Tensor) -> Tensor:
    """Plus or minus one; that of 0 and -0 is +1, and not-a-number stays so."""
    return torch.where(u == u, torch.copysign(torch.ones((), dtype=u.dtype, device=u.device), u + 0.0), u)
