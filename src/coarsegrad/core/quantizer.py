"""The base of every quantizer: levels, codes, and one call that joins them with a surrogate.

    value = offset + scale * levels[codes((x - offset) / scale)]

A quantizer is frozen and holds no state: what is fitted or trained (``scale``, sometimes ``offset``,
``clip`` or ``thresholds``) comes from ``fit`` as a dict of tensors and goes back in as keywords.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from coarsegrad.core import fused
from coarsegrad.core.scales import Scale, narrowed, positive
from coarsegrad.core.ste import ScaleRule, slowed, through
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.windows import HardTanh


@dataclass(frozen=True)
class Quantizer:
    """Override ``levels`` and ``step``; the rest follows. ``coarsegrad list`` shows source and formula."""

    name: ClassVar[str]
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    scale_rule: ClassVar[ScaleRule | None] = None
    """The one exception: a method here gives the scale another gradient than LSQ's (PACT)."""

    @property
    def scale(self) -> Scale:
        """The rule for the distance between levels (a dataclass field where it can be chosen)."""
        return Scale("one")

    @property
    def levels(self) -> Sequence[float]:
        """The values that come out, in units of the scale, ascending."""
        raise NotImplementedError(f"{type(self).__name__} must define levels")

    @property
    def window(self) -> Sequence[float]:
        """What surrogates are stretched over: the levels, unless the clip does not lie on the outer ones."""
        return self.levels

    @property
    def even(self) -> tuple[float, float, bool] | None:
        """What the fast path needs: (lowest, highest, whether ``step`` is the sign); else None.

        Where it is no sign, ``step`` clips the nearest whole number.
        """
        return None

    @property
    def bits(self) -> int:
        """Bits that a code takes."""
        return max(1, math.ceil(math.log2(len(self.levels))))

    @property
    def learned(self) -> tuple[str, ...]:
        """The fitted values that are trained."""
        return ("scale",) if self.scale.learned else ()

    @property
    def live(self) -> bool:
        """Whether the values are taken anew from x at every call."""
        return self.scale.live

    def fit(self, x: Tensor) -> dict[str, Tensor]:
        """The values it needs, fitted to x: at least ``scale``. Raises on empty or non-finite x."""
        return {"scale": self.scale.fit(x, self.settled())}

    def step(self, u: Tensor, **values: Tensor) -> Tensor:
        """The level of u, both in units of the scale; ``[...]`` -> ``[...]``."""
        raise NotImplementedError(f"{type(self).__name__} must define step(u)")

    def breaks(self, **values: Tensor) -> tuple[float, ...] | None:
        """Where the level changes, in units of the scale, ascending: one point below each but the lowest.

        None where no such points are declared (and where chance decides).
        """
        return None

    def squash(self, x: Tensor) -> Tensor:
        """A differentiable map applied before anything else (DoReFa's tanh); the identity by default."""
        return x

    def spacing(self, values: Mapping[str, Tensor]) -> Tensor:
        """The positive scale in use, from the fitted values."""
        scale = values["scale"]
        return positive(scale) if "scale" in self.learned else scale

    def __call__(
        self, x: Tensor, surrogate: Surrogate | None = None, *, count: float | None = None, **values: Tensor
    ) -> Tensor:
        """The quantized x, same shape and dtype, differentiable through the surrogate.

        ``surrogate`` is in units of the scale (default: slope 1 between the lowest and the highest level);
        ``values`` are what ``fit`` returned (default: fitted to x now); ``count`` is LSQ's N, the number of
        weights or features that share a trained scale (default: elements of x per scale).

        >>> from coarsegrad.core.quantizers import Uniform
        >>> Uniform(bits=2)(torch.tensor([-3.0, 0.4, 0.6, 9.0]), scale=torch.tensor(1.0))
        tensor([-2., 0., 1., 1.])
        """
        values = values or self.fit(x)
        if surrogate is None:
            surrogate = HardTanh().over(self.window)
        v = self.scale.view(self.squash(x))
        scale = narrowed(self.spacing(values), v.dtype)
        factor = 1.0
        if self.learned:
            factor = self.gradient_factor(x.numel() / scale.numel() if count is None else count)
        offset = values.get("offset")
        if offset is not None:
            offset = slowed(offset.to(v.dtype), factor) if "offset" in self.learned else offset.to(v.dtype)
            v = v - offset
        if surrogate.passes and self.even and self.scale_rule is None and fused.ready(v, scale):
            grid = fused.Grid(*self.even, *surrogate.passes)
            y = fused.fake_quantize(v, scale, grid, factor)
        else:
            u = v.detach() / scale.detach()
            y = (
                self.step(u, **{k: t for k, t in values.items() if k not in ("scale", "offset")})
                * scale.detach()
            )
            if torch.is_grad_enabled() and (
                v.requires_grad or scale.requires_grad or torch.compiler.is_compiling()
            ):
                y = through(
                    v, y, surrogate, at=u, scale=scale if self.learned else None,
                    scale_rule=self.scale_rule, scale_factor=factor,
                )  # fmt: skip
        if offset is not None:
            y = y + offset
        return y.reshape(x.shape) if y.shape != x.shape else y

    def gradient_factor(self, count: float) -> float:
        """The factor on the gradients of a trained scale and offset: 1/sqrt(N Q), Q the top level.

        LSQ, arXiv:1902.08153; LSQ+, arXiv:2004.09576.
        """
        return 1 / math.sqrt(max(count, 1.0) * max(abs(self.levels[-1]), 1.0))

    def codes(self, x: Tensor, **values: Tensor) -> Tensor:
        """The index of each element's level, int64, ``[...]`` -> ``[...]``; never stochastic.

        >>> from coarsegrad.core.quantizers import Uniform
        >>> Uniform(bits=2).codes(torch.tensor([-3.0, 0.4, 9.0]), scale=torch.tensor(1.0))
        tensor([0, 2, 3])
        """
        with torch.no_grad():
            values = values or self.fit(x)
            v = self.scale.view(self.squash(x))
            if "offset" in values:
                v = v - values["offset"].to(v.dtype)
            u = v / narrowed(self.spacing(values), v.dtype)
            rest = {k: t for k, t in values.items() if k not in ("scale", "offset")}
            level = self.settled().step(u, **rest).contiguous()
            grid = torch.tensor(self.levels, dtype=level.dtype, device=level.device)
            return torch.searchsorted(grid, level).reshape(x.shape)

    def settled(self) -> "Quantizer":
        """Itself without chance: stochastic rounding becomes nearest."""
        return self

    def dequantize(self, codes: Tensor, **values: Tensor) -> Tensor:
        """The value of each code, in the dtype of the scale.

        It is what a call returns, bit for bit, for data that has these codes. For data of another dtype than
        the scale's, give the values in the data's dtype.
        """
        with torch.no_grad():
            scale = self.spacing(values)
            levels = torch.tensor(self.levels, dtype=scale.dtype, device=codes.device)
            y = self.scale.view(levels[codes]) * scale
            if "offset" in values:
                y = y + values["offset"]
            return y.reshape(codes.shape)


def check_bits(thing: Quantizer, low: int, high: int) -> None:
    """Raise ``ValueError`` unless ``thing.bits`` is a whole number from low to high."""
    bits = thing.bits
    if type(bits) is not int or not low <= bits <= high:
        raise ValueError(
            f"{type(thing).__name__}(bits=...) must be a whole number from {low} to {high}, got {bits!r}"
        )
