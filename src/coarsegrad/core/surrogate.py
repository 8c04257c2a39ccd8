r"""Surrogates: a slope that stands in for the derivative of a quantizer.

A surrogate has a ``curve`` (the smooth function that the backward pass pretends was there) and its
``slope``. Its argument is the quantizer's input in units of the scale. Gradients arrive as
``pullback(upstream, x)``, by default ``upstream * slope(x)``; override it for a fused operation or
for an estimator that looks at the upstream gradient. Your own surrogate is such an object:

>>> class Cubic(Surrogate):
...     def curve(self, x):
...         return x**3 / 3
...     def slope(self, x):
...         return x * x
>>> Cubic().pullback(torch.tensor(2.0), torch.tensor(3.0))
tensor(18.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch  # noqa: F401 (the doctest above)
from torch import Tensor


class Surrogate:
    """The base of every surrogate: override ``curve`` and ``slope``, the rest has defaults.

    What a class declares of its slope (``breaks``, ``passes``, ``bounds``, a fused ``pullback``) lapses in a
    class derived from it that has a slope of its own, or takes one from a class that it names before.
    """

    name: ClassVar[str]
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    one_sided: ClassVar[bool] = False
    breaks: tuple[float, ...] | None = None
    """Where the slope jumps; None where that is not declared."""
    passes: tuple[float, float] | None = None
    """The open interval where the slope is 1, if it is 0 elsewhere, as the fast path needs; else None."""

    def __init_subclass__(cls, **more):
        super().__init_subclass__(**more)
        slope = _place(cls, "slope")
        either = min(slope, _place(cls, "pullback"))
        since = {"pullback": slope, "breaks": slope, "passes": either, "bounds": either}
        for name, place in since.items():
            if place < _place(cls, name):
                setattr(cls, name, vars(Surrogate)[name])

    def curve(self, x: Tensor) -> Tensor:
        """The function whose slope this is, ``[...]`` -> ``[...]``."""
        raise NotImplementedError(f"{type(self).__name__} must define curve(x)")

    def slope(self, x: Tensor) -> Tensor:
        """The derivative of the curve, ``[...]`` -> ``[...]``; finite for any finite x."""
        raise NotImplementedError(f"{type(self).__name__} must define slope(x)")

    def pullback(self, upstream: Tensor, x: Tensor) -> Tensor:
        """The gradient that arrives at x, given the gradient that arrives at the value."""
        return upstream * self.slope(x)

    def bounds(self, low: float, high: float) -> tuple[float, float] | None:
        """The infimum and the supremum of the slope on the open interval (low, high); None: not declared.

        Declare them where a proof is wanted of your own surrogate (`coarsegrad.theory.classification`). They
        may be infinite, as the ends may.
        """
        if self.passes is None:
            return None
        begin, end = self.passes
        whole, some = begin <= low and high <= end, max(low, begin) < min(high, end)
        return float(whole), float(some)

    def at(self, progress: float | Tensor) -> "Surrogate":
        """Itself at a training progress in [0, 1]; only scheduled surrogates change."""
        return self

    def over(self, levels: Sequence[float]) -> "Surrogate":
        """Itself, stretched from its natural range to the range of a quantizer's ``levels``.

        A one-sided surrogate keeps its zero and puts 1 on the top level; a two-sided one puts -1 and 1
        on the lowest and the highest level.
        """
        low, high = float(levels[0]), float(levels[-1])
        center, half = (0.0, high) if self.one_sided else ((low + high) / 2, (high - low) / 2)
        return self if (center, half) == (0.0, 1.0) else Stretched(self, center, half)


def _place(cls: type, name: str) -> int:
    """Where in a class's order of bases the first stands that says this name, as a field or a method."""
    bases = enumerate(cls.__mro__)
    return next(i for i, base in bases if name in vars(base) or name in vars(base).get("__annotations__", ()))


@dataclass(frozen=True)
class Stretched(Surrogate):
    r"""Curve \(c + h f((x-c)/h)\) of another surrogate's curve f; slope \(f'((x-c)/h)\)."""

    inner: Surrogate
    center: float
    half: float
    name: ClassVar[str] = "stretched"

    @property
    def breaks(self) -> tuple[float, ...] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The inner breaks, moved along."""
        inner = self.inner.breaks
        return None if inner is None else tuple(self.center + self.half * b for b in inner)

    def bounds(self, low, high):
        """Those of the inner slope."""
        return self.inner.bounds((low - self.center) / self.half, (high - self.center) / self.half)

    def curve(self, x):
        """The stretched curve."""
        return self.center + self.half * self.inner.curve((x - self.center) / self.half)

    def slope(self, x):
        """The inner slope at the inner point: stretching both axes alike leaves slopes as they are."""
        return self.inner.slope((x - self.center) / self.half)

    def pullback(self, upstream, x):
        """The inner pullback at the inner point."""
        return self.inner.pullback(upstream, (x - self.center) / self.half)

    def at(self, progress):
        """The inner surrogate at this progress, stretched alike."""
        return replace(self, inner=self.inner.at(progress))


def positive(thing, *names):
    """Raise ``ValueError`` unless the fields of these names are positive and finite."""
    for name in names:
        value = getattr(thing, name)
        if not value > 0 or not math.isfinite(value):
            raise ValueError(f"{type(thing).__name__}({name}=...) must be positive and finite, got {value}")
