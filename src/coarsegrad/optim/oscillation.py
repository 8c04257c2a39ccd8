"""Oscillating weights: latents at a threshold that change level for ever. Dampen them, or freeze them.

Both rules are those of Nagel et al. 2022, arXiv:2203.11086. Give them after the rules that move latents.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from coarsegrad.measure import Oscillation, oscillation_start, oscillation_step
from coarsegrad.optim.rules import Rule, level_count


@dataclass(frozen=True)
class Dampen(Rule):
    r"""Adds the gradient of \(\lambda \sum (\hat q(w) - \mathrm{clip}(w))^2\), clipped to the levels' range.

    It draws latents to their levels, and so, if strong too early, holds weights at a wrong one: anneal it. A
    latent beyond the outermost levels is left alone. \(\lambda\) goes from ``initial`` to ``strength``
    between steps ``start`` and ``end`` along half a cosine; with ``end=0`` it jumps at ``start``. The term
    belongs to the loss: what the base optimizer does to gradients (momentum, Adam's scaling) is done to it.

    >>> Dampen(strength=0.1, end=100).weight(50)
    0.05
    """

    name: ClassVar[str] = "dampen"
    strength: float
    initial: float = 0.0
    start: int = 0
    end: int = 0

    def __post_init__(self):
        if self.strength < 0 or self.initial < 0:
            raise ValueError(
                f"Dampen(strength=..., initial=...) cannot be negative, got {self.strength}, {self.initial}"
            )
        _check_times(self)

    def weight(self, step: int) -> float:
        """The weight lambda of the dampening loss at this step."""
        return _cosine(self.initial, self.strength, self.start, self.end, step)

    def gradient(self, grad, latent, quantizer, step):
        codes, gap = quantizer.codes(latent), latent - quantizer.quantize(latent)
        beyond = (codes == 0) & (gap < 0) | (codes == level_count(quantizer) - 1) & (gap > 0)
        return grad + (2 * self.weight(step) * gap).masked_fill(beyond, 0)


@dataclass(frozen=True)
class Freeze(Rule):
    """Fixes a weight's level for good once it oscillates more often than ``threshold``.

    A weight oscillates in a step when its level changes in the direction opposite to its last change. The
    frequency (oscillations per step, in [0, 1]) is a running mean with this ``momentum``; so is the code, and
    a frozen weight takes the level that its running mean of codes rounds to. Its latent is then set to that
    level after every step, at the quantizer's scale of the moment. One oscillation alone raises the frequency
    to ``momentum``: keep ``threshold`` at two to three times that, or more.

    The level is for good with a quantizer that maps its levels to themselves. DoReFa's tanh does not, nor
    does a fine grid whose scale is taken anew at every call: there a frozen weight may still move.

    The threshold goes from ``initial`` (None: ``threshold``) to ``threshold`` between steps ``start`` and
    ``end`` along half a cosine; before ``start`` frequencies are counted but nothing freezes.
    """

    name: ClassVar[str] = "freeze"
    threshold: float = 0.03
    momentum: float = 0.01
    initial: float | None = None
    start: int = 0
    end: int = 0

    def __post_init__(self):
        if not 0 < self.momentum < 1:
            raise ValueError(f"Freeze(momentum=...) must be in (0, 1), got {self.momentum}")
        for name in ("threshold", "initial"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"Freeze({name}=...) is a frequency and must be positive, got {value}")
        _check_times(self)

    def limit(self, step: int) -> float:
        """The frequency above which a weight freezes at this step.

        >>> Freeze(threshold=0.02, initial=0.04, start=10, end=20).limit(9)
        inf
        >>> round(Freeze(threshold=0.02, initial=0.04, start=10, end=20).limit(15), 6)
        0.03
        """
        if step < self.start:
            return math.inf
        initial = self.threshold if self.initial is None else self.initial
        return _cosine(initial, self.threshold, self.start, self.end, step)

    def init(self, latent, quantizer):
        watched = oscillation_start(quantizer.codes(latent).to(torch.int32))
        return {**watched._asdict(), "frozen": torch.zeros_like(latent, dtype=torch.bool)}

    def after(self, latent, state, quantizer, step):
        frozen = state["frozen"]
        watched = Oscillation(**{name: state[name] for name in Oscillation._fields})
        codes = torch.where(frozen, watched.codes, quantizer.codes(latent).to(torch.int32))
        seen = oscillation_step(watched, codes, self.momentum)
        newly = (seen.frequency > self.limit(step)) & ~frozen
        codes = torch.where(newly, watched.average.round().to(torch.int32), codes)
        frozen = frozen | newly
        latent = torch.where(frozen, quantizer.dequantize(codes.long()).to(latent.dtype), latent)
        return latent, {**seen._replace(codes=codes)._asdict(), "frozen": frozen}


def _cosine(first: float, last: float, start: int, end: int, step: int) -> float:
    if step < start:
        return first
    if step >= end:
        return last
    done = (step - start) / (end - start)
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2


def _check_times(rule: Dampen | Freeze):
    if rule.start < 0 or (rule.end and rule.end <= rule.start):
        raise ValueError(
            f"{type(rule).__name__} anneals from step start to step end: 0 <= start < end, or end=0 for a "
            f"jump at start; got start={rule.start}, end={rule.end}"
        )
