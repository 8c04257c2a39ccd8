"""Oscillating weights: latents at a threshold that change level for ever. Dampened, frozen, induced, watched.

The cures are those of Nagel et al. 2022, arXiv:2203.11086; the opposite is that of Wenshøj et al. 2025,
arXiv:2502.00490. Give them after the rules that move latents, ``Watch`` last.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from coarsegrad.measure import Oscillation, oscillation_start, oscillation_step
from coarsegrad.optim.rules import Rule, itself, level_count


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
        return grad + 2 * self.weight(step) * _gap(latent, quantizer)


@dataclass(frozen=True)
class Induce(Rule):
    r"""Adds the gradient of \(\lambda\) times the mean of \(\hat q(w)^2 - w^2\) over a tensor's n weights.

    With slope 1 straight through \(\hat q\) that is \(2 \lambda (\hat q(w) - w) / n\), the opposite of
    ``Dampen`` (whose loss is a sum, not a mean): it pushes latents from their level to the threshold, and
    across, and back. A latent beyond the outermost levels is left alone. The forward pass sees the latents
    themselves, which are quantized when training is over; with ``quantized=True`` it sees their levels, as
    ever. For the loss h (w - w*)²/2 of one weight, lambda = h/2 makes of the first what the second is
    without the term. ``mean=False`` takes the sum, so that lambda is that of each weight, as ``Dampen``'s is.

    Wenshøj, Pepin, Selvan 2025, arXiv:2502.00490. Certain: the term, its mean and the float forward pass,
    from the authors' code, which has strength 1 in its example, trains with Adam, and takes the largest
    latent for its scale, so that none lies beyond. Ours: what becomes of a latent beyond.

    >>> from types import SimpleNamespace
    >>> integers = SimpleNamespace(codes=lambda x: x.round().long() + 4, quantize=torch.round, levels=[0] * 9)
    >>> Induce().gradient(torch.zeros(2), torch.tensor([0.4, 0.6]), integers, 0)
    tensor([-0.4000,  0.4000])
    """

    name: ClassVar[str] = "induce"
    strength: float = 1.0
    quantized: bool = False
    mean: bool = True

    def __post_init__(self):
        if self.strength < 0:
            raise ValueError(f"Induce(strength=...) cannot be negative, got {self.strength}; Dampen opposes")

    def gradient(self, grad, latent, quantizer, step):
        return grad - 2 * self.strength / (latent.numel() if self.mean else 1) * _gap(latent, quantizer)

    def relaxation(self, quantizer, step):
        return None if self.quantized else itself


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


@dataclass(frozen=True)
class Watch(Rule):
    """Changes nothing, and remembers what levels did: how often they oscillate, where they spent their time.

    Of each weight it remembers ``coarsegrad.measure.Oscillation``, whose running means have this
    ``momentum``, and from step ``start`` on the sum of its codes in ``steps`` steps: the votes of
    ``coarsegrad.optim.Ergodic``, which loads them.
    """

    name: ClassVar[str] = "watch"
    start: int = 0
    momentum: float = 0.01

    def __post_init__(self):
        if self.start < 0:
            raise ValueError(f"Watch(start=...) counts steps and cannot be {self.start}")
        if not 0 < self.momentum <= 1:
            raise ValueError(f"Watch(momentum=...) must be in (0, 1], got {self.momentum}")

    def init(self, latent, quantizer):
        codes = quantizer.codes(latent)
        watched = oscillation_start(codes.to(torch.int32))._asdict()
        return {**watched, "sum": torch.zeros_like(codes), "steps": codes.new_zeros(())}

    def after(self, latent, state, quantizer, step):
        codes, counts = quantizer.codes(latent), step >= self.start
        before = Oscillation(**{name: state[name] for name in Oscillation._fields})
        seen = oscillation_step(before, codes.to(torch.int32), self.momentum)._asdict()
        return latent, {**seen, "sum": state["sum"] + codes * counts, "steps": state["steps"] + counts}


def _gap(latent, quantizer):
    """The latent less its level; 0 beyond the outermost levels."""
    codes, gap = quantizer.codes(latent), latent - quantizer.quantize(latent)
    beyond = (codes == 0) & (gap < 0) | (codes == level_count(quantizer) - 1) & (gap > 0)
    return gap.masked_fill(beyond, 0)


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
