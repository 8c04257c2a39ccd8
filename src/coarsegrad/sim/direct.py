"""The direct way, and the oracle of the fast ones: batched autograd through ``core``, data in memory.

The algorithm of Jeong, Xin & Yin 2025, arXiv:2505.18113: the forward pass sees the signs of the latent
weights over sqrt(n), and the latents step against the coarse gradient there.
"""

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem import Problem, stream
from coarsegrad.sim.hidden import before
from coarsegrad.sim.hidden import step as gradient
from coarsegrad.sim.outcome import TIE, Books, Recovery
from coarsegrad.sim.samples import samples


def direct(
    problem: Problem,
    surrogate: Surrogate,
    start: tuple[Tensor, Tensor],
    seed: int,
    runs: range,
    *,
    steps: int,
    step_size: float,
    recorded: tuple[int, ...],
    weight: Surrogate,
    batch: int | None,
    why: str,
) -> Recovery:
    """These runs, side by side; ``problem`` and ``start`` are theirs. ``recover`` says the rest."""
    (v, u), (z, labels) = start, samples(problem, seed, runs)
    batches = None if batch is None else [_batches(problem, seed, run, batch) for run in runs]
    books = Books((problem.w_star >= 0).expand_as(u), recorded, steps)
    inside = _inside(weight, u)
    for step in range(steps + 1):
        shown = problem.shown(u)
        x = before(shown, z, problem.batch_norm)
        books.see(step, ~(u < 0), (u.abs() < TIE).sum(-1) + (x.abs() < TIE).sum((-1, -2)))
        if step == steps:
            break
        seen, told = z, labels
        if batches is not None:
            chosen = torch.stack([next(b) for b in batches]).to(u.device)
            row = torch.arange(len(u), device=u.device)[:, None]
            seen, told = z[row, chosen], labels[row, chosen]
        _, dv, dw = gradient(
            v, shown, told, seen, surrogate, activation=problem.activation, batch_norm=problem.batch_norm
        )
        dw = weight.pullback(dw, u)
        v, u = (v - step_size * dv if problem.trained == "both" else v), u - step_size * dw
        now = _inside(weight, u)
        books.note(step, (dw == 0).all(-1), (now != inside).sum(-1))
        inside = now
    return books.close(v, u, why)


def _inside(weight: Surrogate, u: Tensor) -> Tensor:
    low, high = weight.passes or (-torch.inf, torch.inf)
    return (u > low) & (u < high)


def _batches(problem: Problem, seed: int, run: int, batch: int):
    """Whole batches of a fresh order in every epoch; what is left over at its end is left out."""
    draw, samples = stream(seed, "batch", run), problem.samples or 0
    while True:
        order = torch.from_numpy(draw.permutation(samples))
        yield from order[: samples - samples % batch].split(batch)
