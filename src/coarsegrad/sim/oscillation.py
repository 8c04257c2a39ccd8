"""One quantized weight in a least-squares problem, step by step: what its codes do, whatever moves it.

Plain arithmetic on arrays: of floats, or of ``fractions.Fraction`` (dtype object), which lose nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Factor = Callable[[Array, Array], Array]
"""(gradient, latent less level in spacings) -> what the gradient is multiplied by."""


@dataclass(frozen=True)
class Weight:
    """Weights descended side by side on ``curvature`` (level - target)² / 2, with slope 1 straight through.

    Args:
        target: where each wants to be, [n].
        spacing: of the levels, whole multiples of it from ``lowest`` to ``highest``.
        step: the learning rate.
        momentum: of the heavy ball, torch's: ``v = momentum v + g``, ``w = w - step v``.
        strength: of a term with gradient ``2 strength (level - w)``; a negative one dampens.
        quantized: whether the loss sees the level; else the latent itself.
        factor: multiplies the loss's gradient; None: 1.
    """

    target: Array
    spacing: Any
    step: Any
    curvature: Any = 1
    momentum: Any = 0
    strength: Any = 0
    quantized: bool = True
    factor: Factor | None = None
    lowest: int = -(2**31)
    highest: int = 2**31

    def codes(self, latent: Array) -> Array:
        """Which multiple of the spacing each latent is rounded to, a tie upwards, [n]."""
        half = self.spacing / 2
        return np.clip(np.floor((latent + half) / self.spacing), self.lowest, self.highest)

    def walk(self, latent: Array, steps: int) -> Iterator[tuple[Array, Array]]:
        """(latents, codes), both [n], of the start and of ``steps`` - 1 steps after it.

        >>> weight = Weight(target=np.array([0.25]), spacing=1.0, step=0.125)
        >>> [int(codes[0]) for _, codes in weight.walk(np.array([0.5]), 9)]
        [1, 0, 0, 0, 1, 0, 0, 0, 1]
        """
        velocity = latent * 0
        for _ in range(steps):
            codes = self.codes(latent)
            yield latent, codes
            level = codes * self.spacing
            gradient = self.curvature * ((level if self.quantized else latent) - self.target)
            if self.factor is not None:
                gradient = gradient * self.factor(gradient, (latent - level) / self.spacing)
            gradient = gradient + 2 * self.strength * (level - latent)
            velocity = self.momentum * velocity + gradient
            latent = latent - self.step * velocity


def ewgs(delta: float) -> Factor:
    """Times 1 + delta sign(g) (w - level). Lee et al. 2021, arXiv:2104.00903; error in spacings."""
    return lambda gradient, error: 1 + delta * np.sign(gradient) * error


def psg(scale: float) -> Factor:
    """Times scale abs(w - level). Kim et al. 2020, arXiv:2005.11035, as in their code; error in spacings."""
    return lambda gradient, error: scale * abs(error)
