"""Activations with levels: their thresholds, and the unit in which a surrogate meets their input."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coarsegrad.core.quantizer import Quantizer


@dataclass(frozen=True)
class Staircase:
    r"""An activation: \(\sigma(x)\) = ``levels[#{thresholds < x}]``; ``zero`` is its value at exactly 0.

    A surrogate is asked for its slope at ``(x - offset) / scale``: the argument that it has in
    ``Quantizer.__call__``, so a quantizer with a surrogate trains as is predicted here. The default
    everywhere is ``THRESHOLD``, the \(1\{x>0\}\) of Yin et al. 2019, arXiv:1903.05662: of scale 1, so slopes
    are as printed there.

    >>> from coarsegrad.core.quantizers import QuantizedReLU
    >>> Staircase.of(QuantizedReLU(bits=2, rounding="ceil"), scale=0.5)
    Staircase(levels=(0.0, 0.5, 1.0, 1.5), thresholds=(0.0, 0.5, 1.0), scale=0.5, offset=0.0, zero=0.0)
    """

    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    scale: float = 1.0
    offset: float = 0.0
    zero: float = 0.0

    def __post_init__(self):
        if len(self.levels) != len(self.thresholds) + 1 or not self.scale > 0:
            raise ValueError(
                "Staircase needs one level more than thresholds and scale > 0, got "
                f"{len(self.levels)} levels, {len(self.thresholds)} thresholds, scale={self.scale}"
            )
        if any(a > b for a, b in zip(self.thresholds, self.thresholds[1:], strict=False)):
            raise ValueError(f"Staircase(thresholds=...) must ascend, got {self.thresholds}")

    @classmethod
    def of(cls, quantizer: Quantizer, **values: Tensor | float) -> "Staircase":
        """The staircase of a quantizer with these fitted ``values`` (what ``quantizer.fit(x)`` returned).

        Raises ``ValueError`` where it is none: values per channel, stochastic rounding, a squashing of its
        input, no declared ``breaks``, or no values.
        """
        what = type(quantizer).__name__
        if not values:
            raise ValueError(
                f"Staircase.of({what}(...)) needs fitted values: add **quantizer.fit(x), or scale=..."
            )
        fitted = {k: torch.as_tensor(v, dtype=torch.float64).detach() for k, v in values.items()}
        if any(v.numel() != 1 for k, v in fitted.items() if k != "widths"):
            raise ValueError(
                f"Staircase.of({what}(...)) takes one scale for all, got one per channel or group"
            )
        probe = torch.tensor([-2.0, 0.0, 0.3], dtype=torch.float64)
        if not torch.equal(quantizer.squash(probe), probe):
            raise ValueError(f"{what} squashes its input by the largest of all: no function of one number")
        rest = {k: v for k, v in fitted.items() if k not in ("scale", "offset")}
        breaks = quantizer.breaks(**rest)
        if breaks is None:
            raise ValueError(f"{what} declares no breaks, so it is no staircase; with chance, use .settled()")
        scale, offset = float(quantizer.spacing(fitted)), float(fitted.get("offset", 0.0))
        zero = float(quantizer.step((probe[1:2] - offset) / scale, **rest))
        return cls(
            tuple(offset + scale * level for level in quantizer.levels),
            tuple(offset + scale * b for b in breaks),
            scale, offset, offset + scale * zero,
        )  # fmt: skip

    def jumps(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Thresholds and how far the level rises at each, ``[K]``, float64, on the device of ``like``."""
        level = torch.tensor(self.levels, dtype=torch.float64, device=like.device)
        return torch.tensor(self.thresholds, dtype=torch.float64, device=like.device), level.diff()


THRESHOLD = Staircase((0.0, 1.0), (0.0,))
"""The paper's activation, 1 where x > 0, else 0."""
