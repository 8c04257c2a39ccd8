"""Quantizers with a trained scale, clip, offset or thresholds, and the catalogue of all quantizers."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from coarsegrad.core import quantizers
from coarsegrad.core.quantizer import Quantizer, check_bits
from coarsegrad.core.quantizers import Uniform, constant
from coarsegrad.core.scales import Scale, narrowed, positive, thinned
from coarsegrad.core.ste import through
from coarsegrad.core.windows import Identity


@dataclass(frozen=True)
class LSQ(Uniform):
    """Uniform with a trained step; its gradient times 1/sqrt(N Q). Esser et al. 2020, arXiv:1902.08153.

    The step in use is the absolute value of the trained number, kept above 1e-8: it cannot turn negative.
    """

    scale: Scale = field(default=Scale("mean_abs", learned=True))
    name: ClassVar[str] = "lsq"
    formula: ClassVar[str] = "s clip(round(x/s), low, high), s trained"
    source: ClassVar[str] = "Esser et al. 2020, arXiv:1902.08153"

    def __post_init__(self):
        super().__post_init__()
        if not self.scale.learned:
            raise ValueError(
                "LSQ trains its step: LSQ(scale=Scale(..., learned=True)); for a fixed one use Uniform"
            )


@dataclass(frozen=True)
class LSQPlus(LSQ):
    """LSQ with a trained offset. Bhalgat et al. 2020, arXiv:2004.09576.

    For activations that are neither symmetric nor positive.
    """

    signed: bool | None = False
    scale: Scale = field(default=Scale("mse", learned=True))
    name: ClassVar[str] = "lsq_plus"
    formula: ClassVar[str] = "b + s clip(round((x-b)/s), low, high), s and b trained"
    source: ClassVar[str] = "Bhalgat et al. 2020, arXiv:2004.09576"

    def __post_init__(self):
        super().__post_init__()
        if self.scale.axis is not None or self.scale.group is not None:
            raise ValueError("LSQPlus has one step and one offset per tensor; leave axis and group out")

    @property
    def learned(self):
        """Step and offset."""
        return ("scale", "offset")

    def fit(self, x):
        """Start at the range: the lowest value on the lowest level, the best of a grid of steps for it."""
        v = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        if v.numel() == 0 or not torch.isfinite(v).all():
            raise ValueError("cannot fit a scale: the tensor is empty or holds values that are not finite")
        flat = thinned(v)
        largest = flat.abs().max()
        unit = torch.where(largest > 0, largest, torch.ones_like(largest))
        flat = flat / unit  # so that no square leaves the float range
        low, high = flat.min(), flat.max()
        span = torch.where(high > low, high - low, torch.ones_like(high))
        best, error = None, math.inf
        for a in torch.linspace(0.0, 0.4, 9).tolist():
            for b in torch.linspace(0.0, 0.7, 15).tolist():
                start, stop = low + a * (high - low).clamp(min=0) * 0.5, high - b * (high - low)
                scale = (torch.maximum(stop - start, span * 0.05)) / (len(self.levels) - 1)
                offset = start - scale * self.levels[0]
                missed = float((self.step((flat - offset) / scale) * scale + offset - flat).square().mean())
                if missed < error:
                    best, error = {"scale": scale * unit, "offset": offset * unit}, missed
        assert best is not None
        return best


@dataclass(frozen=True)
class PACT(Quantizer):
    """Clip to [0, a], a trained (gradient 1{x >= a}), then 2^b-1 steps. Choi et al. 2018, arXiv:1805.06085.

    The paper adds an L2 penalty on a: give the parameter ``raw_clip`` weight decay, in a group of its own
    (`coarsegrad.nn.parameter_groups`, and so a plan, gives it none).
    """

    bits: int = 4  # pyright: ignore[reportIncompatibleMethodOverride]
    start: float | None = None
    name: ClassVar[str] = "pact"
    formula: ClassVar[str] = "a/(2^b-1) round(clip(x, 0, a)(2^b-1)/a), a trained"
    source: ClassVar[str] = "Choi et al. 2018, arXiv:1805.06085"

    def __post_init__(self):
        check_bits(self, 1, 8)
        if self.start is not None and not 0 < self.start < math.inf:
            raise ValueError(f"PACT(start=...) must be positive and finite, got {self.start}")

    @property
    def levels(self):
        """0 ... 2^b-1; the scale is clip/(2^b-1)."""
        return tuple(float(k) for k in range(2**self.bits))

    @property
    def learned(self):
        """The clip."""
        return ("clip",)

    def fit(self, x):
        """The clip at ``start``, or at the least-squares top level of the data."""
        top = 2**self.bits - 1
        if self.start is not None:
            return {"clip": constant(float(self.start), x)}
        return {"clip": Scale("mse").fit(x, self) * top}

    def spacing(self, values):
        """Clip/(2^b-1)."""
        return positive(values["clip"]) / (2**self.bits - 1)

    def gradient_factor(self, count):
        """PACT does not scale the gradient of its clip."""
        return 1.0

    def breaks(self, **values):
        """Half-way between levels."""
        return tuple(level + 0.5 for level in self.levels[:-1])

    def step(self, u, **values):
        """Round, then clip."""
        return torch.round(u).clamp(0, 2**self.bits - 1)

    def scale_rule(self, upstream, u, level, gradient):  # pyright: ignore
        """The gradient arriving at the scale: the top level where x is clipped, so 1 at the clip itself."""
        top = 2**self.bits - 1
        return upstream * top * (u >= top).to(u.dtype)


@dataclass(frozen=True)
class StretchedElastic(Quantizer):
    """As many levels below zero as above, on a trained range. ParetoQ, Liu et al. 2025, arXiv:2502.02631.

    ``ternary=True`` gives -1, 0, 1 with the range in units of 1.5 levels; else 2^b half-integers
    (2 bits: -1.5, -0.5, 0.5, 1.5). In units of the paper's alpha: scale = alpha / 2^(b-1).
    """

    bits: int = 2  # pyright: ignore[reportIncompatibleMethodOverride]
    ternary: bool = False
    scale: Scale = field(default=Scale("max_abs", axis=0, learned=True))  # pyright: ignore
    name: ClassVar[str] = "stretched_elastic"
    formula: ClassVar[str] = "s (round(clip(x/s, -h, h) - 1/2) + 1/2), h = 2^(b-1), s trained"
    source: ClassVar[str] = "Liu et al. 2025, arXiv:2502.02631"

    def __post_init__(self):
        check_bits(self, 2, 8)
        if self.ternary and self.bits != 2:
            raise ValueError(f"StretchedElastic(ternary=True) takes 2 bits, got bits={self.bits}")

    @property
    def levels(self):
        """Half-integers, or -1, 0, 1."""
        if self.ternary:
            return (-1.0, 0.0, 1.0)
        half = 2 ** (self.bits - 1)
        return tuple(k + 0.5 for k in range(-half, half))

    @property
    def window(self):
        """The clip lies half a level outside the outer levels."""
        if self.ternary:
            return (-1.5, 0.0, 1.5)
        half = 2.0 ** (self.bits - 1)
        return (-half, *self.levels[1:-1], half)

    def fit(self, x):
        """The scale; ``max_abs`` puts the largest |x| on the clip, which is the paper's alpha."""
        clip = self.window[-1] / self.levels[-1] if self.scale.statistic == "max_abs" else 1.0
        return {"scale": self.scale.fit(x, self) / clip}

    def breaks(self, **values):
        """Half-way between levels."""
        return tuple(level + 0.5 for level in self.levels[:-1])

    def step(self, u, **values):
        """The nearest level."""
        if self.ternary:
            return torch.round(u).clamp(-1, 1)
        half = 2 ** (self.bits - 1)
        return torch.floor(u).clamp(-half, half - 1) + 0.5


@dataclass(frozen=True)
class N2UQ(Quantizer):
    """Trained thresholds, even levels 0 ... 2^b-1. Nonuniform-to-uniform, Liu et al. 2022, arXiv:2111.14826.

    ``widths`` (2^b-1 of them, in units of the scale, kept above 1e-3) are the intervals of the generalized
    STE: threshold i lies in the middle of interval i, and on it the backward is linear with slope 1/width.
    The gradient of the widths is that of the same piecewise linear map. Surrogates other than the
    generalized STE do not apply: the ``surrogate`` argument must be None.
    """

    bits: int = 2  # pyright: ignore[reportIncompatibleMethodOverride]
    scale: Scale = field(default=Scale("mse", learned=True))  # pyright: ignore
    name: ClassVar[str] = "n2uq"
    formula: ClassVar[str] = "s #{i: x/s > a_1 + ... + a_(i-1) + a_i/2}, a trained"
    source: ClassVar[str] = "Liu et al. 2022, arXiv:2111.14826"
    own_surrogate: ClassVar[bool] = True

    def __post_init__(self):
        check_bits(self, 1, 5)

    @property
    def levels(self):
        """0 ... 2^b-1."""
        return tuple(float(k) for k in range(2**self.bits))

    @property
    def learned(self):
        """Scale and interval widths."""
        return ("scale", "widths")

    def fit(self, x):
        """Even widths: it starts as a uniform quantizer."""
        scale = self.scale.fit(x, Uniform(bits=self.bits, signed=False))
        return {"scale": scale, "widths": torch.ones(2**self.bits - 1, dtype=scale.dtype, device=x.device)}

    def step(self, u, *, widths, **values):  # pyright: ignore[reportIncompatibleMethodOverride]
        """The number of thresholds below u."""
        a = widths.detach().clamp(min=1e-3).to(u.dtype)
        return torch.bucketize(u.contiguous(), a.cumsum(0) - a / 2).to(u.dtype)

    def breaks(self, *, widths, **values):  # pyright: ignore[reportIncompatibleMethodOverride]
        """The middles of the intervals."""
        a = widths.detach().double().clamp(min=1e-3)
        return tuple((a.cumsum(0) - a / 2).tolist())

    def __call__(self, x, surrogate=None, *, count=None, **values):
        """Forward the steps, backward the piecewise linear map: autograd through it, value replaced.

        ``count`` changes nothing: the paper scales no gradient.
        """
        if surrogate is not None:
            raise ValueError("N2UQ brings its own estimator (the generalized STE); leave the surrogate out")
        values = values or self.fit(x)
        scale = narrowed(self.spacing(values), x.dtype)
        u = self.scale.view(x) / scale
        a = values["widths"].clamp(min=1e-3).to(x.dtype)
        edges = torch.nn.functional.pad(a.cumsum(0), (1, 0))
        pieces = (((u - edges[i]) / a[i]).clamp(0, 1) for i in range(a.numel()))
        smooth = sum(pieces, start=torch.zeros_like(u))
        hard = self.step(u.detach(), widths=values["widths"])
        return (scale * through(smooth, hard, Identity())).reshape(x.shape)


QUANTIZERS: dict[str, type[Quantizer]] = {
    cls.name: cls
    for cls in (
        quantizers.Binary,
        quantizers.Ternary,
        quantizers.TWN,
        quantizers.Uniform,
        quantizers.QuantizedReLU,
        quantizers.DoReFaWeight,
        quantizers.DoReFaActivation,
        quantizers.Nonuniform,
        LSQ,
        LSQPlus,
        PACT,
        StretchedElastic,
        N2UQ,
    )
}
