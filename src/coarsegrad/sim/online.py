r"""Online training as it runs: a fresh sample a step, d weights, several runs side by side."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem.online import Online

_BLOCK = 2**21  # numbers drawn at once


class State(NamedTuple):
    """The students at one time."""

    time: float
    """Steps / d."""
    w: Tensor
    """Latents ``[runs, d]``: the students' own, that the next step changes."""
    square: Tensor
    """The mean of Q(w)^2 ``[runs]``."""
    overlap: Tensor
    """The mean of Q(w) w* ``[runs]``."""
    residual: Tensor
    """Mean square of what was said less the label, over the steps since the last time; NaN for none."""


def online(
    problem: Online,
    d: int,
    times: Sequence[float],
    *,
    runs: int,
    seed: int,
    surrogate: Surrogate | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[State]:
    """Train ``runs`` students of d weights; yield them at ``times`` (ascending, in steps / d).

    d is a multiple of the number of the teacher's values, which follow each other along the weights.
    ``surrogate`` stands in for the slope of the weights' quantizer, 1 by default; its argument is w / reach.
    The same seed, device, dtype and number of runs give the same numbers, up to how sums are rounded.

    >>> from coarsegrad.problem.online import Even
    >>> for state in online(Online(Even(2, 2.0)), 200, [0.0, 20.0], runs=2, seed=0):
    ...     print(state.time, [round(value, 1) for value in state.overlap.tolist()])
    0.0 [0.0, 0.1]
    20.0 [1.0, 1.0]
    """
    if not (type(d) is int and d > 0 and d % len(problem.teacher) == 0):
        raise ValueError(
            f"online(d=...) must be a positive multiple of the teacher's {len(problem.teacher)}, got {d!r}"
        )
    if not (type(runs) is int and runs > 0):
        raise ValueError(f"online(runs=...) must be a positive whole number, got {runs!r}")
    if surrogate is not None and problem.weights is None:
        raise ValueError("float weights have no slope to stand in for: leave surrogate away")
    ends = [round(time * d) for time in times]
    if not ends or ends[0] < 0 or any(a > b for a, b in pairwise(ends)):
        raise ValueError(f"online(times=...) must be ascending and not negative, got {list(times)}")
    generator = torch.Generator(device).manual_seed(seed)
    about = {"device": device, "dtype": dtype}
    teacher = torch.tensor(problem.teacher, **about).repeat(d // len(problem.teacher))
    w = problem.start * torch.randn(runs, d, generator=generator, **about)
    shown, reach = problem.weights or (lambda w: w), problem.weights.reach if problem.weights else 1.0
    step, block = 0, max(1, _BLOCK // (runs * d))
    for end in ends:
        total, first = torch.zeros(runs, device=device, dtype=torch.float64), step
        while step < end:
            count = min(block, end - step)
            x = torch.randn(count, runs, d, generator=generator, **about)
            label = x @ teacher / math.sqrt(d)
            if problem.noise:
                label += problem.noise * torch.randn(count, runs, generator=generator, **about)
            if problem.inputs:
                x = problem.inputs(x)
            for seen, off in zip(x, label.neg_(), strict=True):
                off += torch.linalg.vecdot(seen, shown(w)) / math.sqrt(d)
                push = (-problem.step_size / math.sqrt(d) * off).unsqueeze(-1)
                if surrogate is None:
                    w.addcmul_(seen, push)
                else:
                    w += surrogate.pullback(seen * push, w / reach)
            total += label.double().square().sum(0)  # by now what was said less the label
            step += count
        q = shown(w).double()
        mean = total / (step - first) if step > first else total * math.nan
        yield State(step / d, w, q.square().mean(-1), (q * teacher).mean(-1), mean)
