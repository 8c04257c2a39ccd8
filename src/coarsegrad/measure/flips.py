"""Flips: how many codes changed, and which keep changing back and forth."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def flip_ratio(codes_before: Tensor, codes_after: Tensor) -> float:
    """Share of codes that differ, in [0, 1]. Two tensors of one shape; 0 for empty ones.

    >>> flip_ratio(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 3, 2]))
    0.5
    """
    _same_shape(codes_before, codes_after)
    if codes_before.numel() == 0:
        return 0.0
    return int((codes_before != codes_after).sum()) / codes_before.numel()


class Oscillation(NamedTuple):
    """What is remembered of each weight's code. All tensors have the shape of the codes.

    An *oscillation* is a change of the code in the direction opposite to its previous change, however long
    ago that was. Nagel et al. 2022, arXiv:2203.11086, section 4.
    """

    codes: Tensor
    """Latest codes, in their own dtype."""
    direction: Tensor
    """Sign of the last change, int8: -1, +1, or 0 while the code has never changed."""
    frequency: Tensor
    """Running mean of "oscillated in this step", float32 in [0, 1], per step."""
    average: Tensor
    """Running mean of the code, float32; a frozen weight stays at this, rounded."""


def oscillation_start(codes: Tensor) -> Oscillation:
    """State before the first step: nothing has changed yet. Copies ``codes``."""
    codes = codes.detach().clone()
    return Oscillation(
        codes=codes,
        direction=torch.zeros_like(codes, dtype=torch.int8),
        frequency=torch.zeros_like(codes, dtype=torch.float32),
        average=codes.to(torch.float32),
    )


def oscillation_step(state: Oscillation, codes: Tensor, momentum: float = 0.01) -> Oscillation:
    """State after one more step: ``frequency <- momentum * oscillated + (1 - momentum) * frequency``.

    Returns a new state; ``state`` and ``codes`` stay as they are and share no memory with it. ``momentum`` is
    the weight of the newest step, in (0, 1]. Nagel et al. 2022, arXiv:2203.11086, section 4.

    >>> state = oscillation_start(torch.tensor([0, 0]))
    >>> for codes in ([1, 1], [0, 2], [1, 3]):
    ...     state = oscillation_step(state, torch.tensor(codes), momentum=0.5)
    >>> state.frequency    # the first went up, down, up: two oscillations; the second only climbed
    tensor([0.7500, 0.0000])
    """
    if not 0 < momentum <= 1:
        raise ValueError(f"oscillation_step(momentum=...) must be in (0, 1], got {momentum}")
    _same_shape(state.codes, codes)
    codes = codes.detach().clone()
    change = (codes > state.codes).to(torch.int8) - (codes < state.codes).to(torch.int8)
    oscillated = change * state.direction < 0
    return Oscillation(
        codes=codes,
        direction=torch.where(change == 0, state.direction, change),
        frequency=torch.lerp(state.frequency, oscillated.to(torch.float32), momentum),
        average=torch.lerp(state.average, codes.to(torch.float32), momentum),
    )


def _same_shape(before: Tensor, after: Tensor) -> None:
    if before.shape != after.shape:
        raise ValueError(
            f"codes before and after must have one shape, got {tuple(before.shape)} and {tuple(after.shape)}"
        )
