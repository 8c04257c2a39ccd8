r"""Rules: what happens to a latent around the step of an ordinary optimizer.

    latent = after(optimizer_step(before(latent)))

A rule is a frozen dataclass: its fields are hyperparameters, its methods are pure. ``Latent`` calls them, in
the order the rules were given, and owns what they remember. Durations count optimizer steps; the first step
is 0. The quantizer of a pair may be any object with

    quantize(x)       the forward value, of x's shape and dtype: no gradient, no change of state
    codes(x)          int64 index of each entry's level; levels are sorted ascending
    dequantize(codes) the levels' values, scale included
    levels            the levels in units of the scale, here or on the ``quantizer`` this object wraps; only
                      ``PARQ``, ``Dampen``, ``Induce`` and ``Bop`` ask, and only how many there are
    relax             settable: None, or a callable (x, quantized x) -> what the forward pass sees instead,
                      its gradient the identity (set only by ``BinaryRelax``, ``ProxQuant``, ``PARQ``,
                      ``Induce``)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

State = dict[str, Tensor]
Relaxation = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rule:
    """The rule that does nothing, and the base class of every other: override what differs.

    A rule never changes its arguments in place. ``step`` is the number of steps already done. Its ``name`` is
    what ``coarsegrad.spec`` writes.
    """

    name: ClassVar[str] = "rule"

    def init(self, latent: Tensor, quantizer: Any) -> State:
        """What this rule remembers about one latent: a dict of tensors."""
        return {}

    def gradient(self, grad: Tensor, latent: Tensor, quantizer: Any, step: int) -> Tensor:
        """The gradient handed to the base optimizer."""
        return grad

    def before(self, latent: Tensor, quantizer: Any, step: int) -> Tensor:
        """The latent the base optimizer starts from; the gradient is already taken."""
        return latent

    def after(self, latent: Tensor, state: State, quantizer: Any, step: int) -> tuple[Tensor, State]:
        """The latent the step ends at, and the next state."""
        return latent, state

    def relaxation(self, quantizer: Any, step: int) -> Relaxation | None:
        """What the forward pass of step ``step`` sees instead of the quantized latent; None: no change."""
        return None


@dataclass(frozen=True)
class Clip(Rule):
    """After the step, latents are clipped to [low, high]: BinaryConnect.

    The bounds are absolute, as in the paper, not in units of the scale: a latent outside the window of a
    clipped surrogate would never receive a gradient again. Courbariaux et al. 2015, arXiv:1511.00363.

    >>> Clip().after(torch.tensor([-3.0, 0.5, 3.0]), {}, None, 0)[0]
    tensor([-1.0000,  0.5000,  1.0000])
    """

    name: ClassVar[str] = "clip"
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"Clip(low=..., high=...) needs low < high, got {self.low} and {self.high}")

    def after(self, latent, state, quantizer, step):
        return latent.clamp(self.low, self.high), state


@dataclass(frozen=True)
class Blend(Rule):
    r"""Blended coarse gradient descent: \(w_f \leftarrow (1-\rho) w_f + \rho\,w - \eta \tilde\nabla f(w)\).

    The step starts from the latent pulled a little towards its quantized value. Every ``every`` steps
    \(\rho\) is multiplied by ``growth``, up to ``cap``. ``rho=0`` is BinaryConnect without its clip. Yin et
    al. 2018, arXiv:1808.05240; the growth per epoch and its cap are those of the authors' code.
    """

    name: ClassVar[str] = "blend"
    rho: float = 1e-5
    growth: float = 1.0
    cap: float = 0.01
    every: int = 1

    def __post_init__(self):
        if not 0 <= self.rho <= self.cap <= 1:
            raise ValueError(f"Blend needs 0 <= rho <= cap <= 1, got rho={self.rho}, cap={self.cap}")
        _check_growth(self)

    def weight(self, step: int) -> float:
        """The weight rho of the quantized value, in [0, cap], at this step.

        >>> Blend(rho=0.001, growth=10, every=100).weight(150)
        0.01
        """
        if self.rho == 0 or self.growth == 1:
            return self.rho
        grown = math.log(self.rho) + (step // self.every) * math.log(self.growth)
        return math.exp(grown) if grown < math.log(self.cap) else self.cap

    def before(self, latent, quantizer, step):
        return latent.lerp(quantizer.quantize(latent), self.weight(step))


@dataclass(frozen=True)
class BinaryRelax(Rule):
    r"""Until step ``switch`` the forward pass sees \((\lambda\,\mathrm{proj}(y) + y)/(\lambda + 1)\).

    From ``switch`` on it sees proj(y), as ever. \(\lambda\) starts at ``lambda0`` and is multiplied by
    ``growth`` every ``every`` steps; the gradient, taken at the relaxed weight, moves the latent y. For any
    levels, despite the name. Yin et al. 2018, arXiv:1801.06313.
    """

    name: ClassVar[str] = "binary_relax"
    switch: int
    lambda0: float = 1.0
    growth: float = 1.05
    every: int = 1

    def __post_init__(self):
        if self.lambda0 <= 0:
            raise ValueError(f"BinaryRelax(lambda0=...) must be positive, got {self.lambda0}")
        if self.switch < 0:
            raise ValueError(f"BinaryRelax(switch=...) counts steps and cannot be {self.switch}")
        _check_growth(self)

    def weight(self, step: int) -> float:
        """The share lambda / (lambda + 1) of the quantized value in what the forward pass sees.

        >>> BinaryRelax(switch=100, growth=3, every=10).weight(10)
        0.75
        """
        inverse = self.growth ** -(step // self.every) / self.lambda0
        return 1 / (1 + inverse)

    def relaxation(self, quantizer, step):
        return None if step >= self.switch else partial(_towards, weight=self.weight(step))


@dataclass(frozen=True)
class ProxQuant(Rule):
    r"""Eager projection: \(\theta \leftarrow \mathrm{prox}_{\lambda_t R}(\theta - \eta \nabla f(\theta))\).

    The forward pass sees the latent itself and the gradient is the ordinary one there; no estimator is
    involved. After the step every latent moves towards its quantized value q, with \(\lambda_t\) = ``rate`` x
    step and R the ``distance`` to the levels:

    - "absolute", \(R = |\theta - q|\): a step of at most \(\lambda\) (the W-shaped regularizer, when q is ±1)
    - "squared", \(R = \frac12 (\theta - q)^2\): the mean \((\theta + \lambda q)/(1 + \lambda)\)

    Step ``freeze_at`` (None: never) ends with quantized latents; they stay there for good, and the forward
    pass is the quantizer's again. Bai, Wang, Liberty 2019, arXiv:1810.00861. The rate is not multiplied by
    the learning rate; in the authors' code it is, grows by the epoch, and binary levels are fixed at ±1.

    >>> ProxQuant(rate=0.1).pull(torch.tensor([0.6, 0.95]), torch.tensor([1.0, 1.0]), step=2)
    tensor([0.8000, 1.0000])
    """

    name: ClassVar[str] = "prox_quant"
    rate: float = 1e-4
    distance: str = "absolute"
    freeze_at: int | None = None

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError(f"ProxQuant(rate=...) cannot be negative, got {self.rate}")
        if self.distance not in ("absolute", "squared"):
            raise ValueError(
                f'ProxQuant(distance=...) must be "absolute" or "squared", got {self.distance!r}'
            )
        if self.freeze_at is not None and self.freeze_at < 0:
            raise ValueError(f"ProxQuant(freeze_at=...) counts steps and cannot be {self.freeze_at}")

    def pull(self, latent: Tensor, quantized: Tensor, step: int) -> Tensor:
        """The proximal map at this step: the latent moved towards its quantized value, never past it."""
        strength = self.rate * step
        if self.distance == "squared":
            return _towards(latent, quantized, strength / (1 + strength))
        gap = latent - quantized
        return quantized + gap.sign() * (gap.abs() - strength).clamp_min(0)

    def init(self, latent, quantizer):
        return {} if self.freeze_at is None else {"held": torch.zeros_like(latent)}

    def after(self, latent, state, quantizer, step):
        if self.freeze_at is None or step < self.freeze_at:
            return self.pull(latent, quantizer.quantize(latent), step), state
        if step == self.freeze_at:
            state = {"held": quantizer.quantize(latent)}
        return state["held"], state

    def relaxation(self, quantizer, step):
        return None if self.freeze_at is not None and step > self.freeze_at else itself


@dataclass(frozen=True)
class PARQ(Rule):
    r"""The forward pass sees a piecewise-affine map of the latent that grows into the staircase.

    Between two neighbouring levels with middle c the map is \(c + (x - c)/s\), held between those levels; the
    inverse slope s falls from 1 to 0 between steps ``start`` and ``end`` along a mirrored sigmoid of this
    ``steepness``. Before ``start`` the forward pass sees the latent itself; from ``end`` on, the quantized
    latent: straight-through training is the limit of this method. Jin et al. 2025, arXiv:2503.15748.
    """

    name: ClassVar[str] = "parq"
    end: int
    start: int = 0
    steepness: float = 10.0

    def __post_init__(self):
        if not 0 <= self.start < self.end:
            raise ValueError(f"PARQ needs 0 <= start < end, got start={self.start}, end={self.end}")
        if not 0 < self.steepness <= 500:
            raise ValueError(f"PARQ(steepness=...) must be in (0, 500], got {self.steepness}")

    def inverse_slope(self, step: int) -> float:
        """In [0, 1]: 1 up to ``start``, 0 from ``end`` on.

        >>> [round(PARQ(end=4).inverse_slope(step), 3) for step in range(5)]
        [1.0, 0.93, 0.5, 0.07, 0.0]
        """
        done = min(max((step - self.start) / (self.end - self.start), 0.0), 1.0)
        fall = _sigmoid(self.steepness * (0.5 - done))
        first, last = _sigmoid(0.5 * self.steepness), _sigmoid(-0.5 * self.steepness)
        return (fall - last) / (first - last)

    def relaxation(self, quantizer, step):
        if step >= self.end:
            return None
        if step < self.start:
            return itself
        return partial(_steepened, quantizer=quantizer, inverse_slope=self.inverse_slope(step))


def level_count(quantizer: Any) -> int:
    """How many levels a pair's quantizer has."""
    return len(quantizer.levels if hasattr(quantizer, "levels") else quantizer.quantizer.levels)


def itself(x: Tensor, quantized: Tensor) -> Tensor:
    """The relaxation to no quantization at all."""
    return x


def _towards(x: Tensor, quantized: Tensor, weight: float) -> Tensor:
    return x.lerp(quantized, weight)


def _steepened(x: Tensor, quantized: Tensor, quantizer: Any, inverse_slope: float) -> Tensor:
    codes = quantizer.codes(x)
    side = torch.where(x > quantized, 1, -1)
    neighbour = quantizer.dequantize((codes + side).clamp(0, level_count(quantizer) - 1)).to(x.dtype)
    middle = (quantized + neighbour) / 2
    steep = middle + (x - middle) / max(inverse_slope, torch.finfo(x.dtype).tiny)
    return steep.maximum(quantized.minimum(neighbour)).minimum(quantized.maximum(neighbour))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _check_growth(rule: "Blend | BinaryRelax"):
    name = type(rule).__name__
    if rule.growth < 1:
        raise ValueError(f"{name}(growth=...) must be at least 1, got {rule.growth}")
    if rule.every < 1:
        raise ValueError(f"{name}(every=...) counts steps between two growths: at least 1, got {rule.every}")
