"""Sets of quantized weights, each with its nearest member: exact projections, a row a problem.

The rule of the paper projects. What is proved about it (``theory.blended``) needs an exact projection, which
rounding to the nearest level is where the levels stand still, and least squares where they share a scale.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """A set: ``quantize`` takes latents ``[runs, n]`` to the nearest member, row by row; 0 counts as +.

    ``free`` says whether its members share a scale that follows the latents, ``directions`` which quantized
    directions it has, as ``theory.recurrence.optimum`` calls them; None where they are neither.
    """

    says: str
    quantize: Callable[[Tensor], Tensor]
    free: bool
    directions: str | None


def fixed(latent: Tensor) -> Tensor:
    """To the signs over sqrt(n): length 1.

    >>> fixed(torch.tensor([[0.3, -4.0, 0.0, 0.1]])).tolist()
    [[0.5, -0.5, 0.5, 0.5]]
    """
    return _signs(latent) / math.sqrt(latent.shape[-1])


def binary(latent: Tensor) -> Tensor:
    """To the signs times the mean of the sizes.

    >>> binary(torch.tensor([[0.5, -1.5]])).tolist()
    [[1.0, -1.0]]
    """
    return _signs(latent) * latent.abs().mean(-1, keepdim=True)


def ternary(latent: Tensor) -> Tensor:
    """To the signs of the k largest times their mean size, k with the largest (sum of k)^2 / k.

    >>> ternary(torch.tensor([[1.0, -0.5, 0.125]])).tolist()
    [[0.75, -0.75, 0.0]]
    """
    size = latent.abs()
    falling = size.sort(-1, descending=True).values
    count = torch.arange(1, latent.shape[-1] + 1).to(latent)
    last = (falling.cumsum(-1).square() / count).argmax(-1, keepdim=True)
    kept = size >= falling.gather(-1, last)
    mean = (size * kept).sum(-1, keepdim=True) / kept.sum(-1, keepdim=True)
    return latent.sign() * kept * mean


def grid(latent: Tensor) -> Tensor:
    """To whole numbers from -7 to 7 times a step that stays: the top level is 3/sqrt(n).

    >>> (grid(torch.tensor([[0.4, -9.0]])) * 7 * 2**0.5 / 3).round(decimals=5).tolist()
    [[1.0, -7.0]]
    """
    step = 3 / (7 * math.sqrt(latent.shape[-1]))
    return (latent / step).round().clamp(-7, 7) * step


def _signs(latent: Tensor) -> Tensor:
    return torch.where(latent < 0, -1.0, 1.0).to(latent)


SETS = {
    "fixed": Weights("1 bit, fixed scale", fixed, False, "binary"),
    "binary": Weights("1 bit, scale mean |w|", binary, True, "binary"),
    "ternary": Weights("ternary, free scale", ternary, True, "ternary"),
    "grid": Weights("4 bits, fixed steps", grid, False, None),
}
