"""How long, and how often, runs are at the optimum; beside it what theory makes of each run's gradient."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coarsegrad import spec
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.problem import Problem, stream
from coarsegrad.sim import recover
from coarsegrad.sim.hidden import step
from coarsegrad.sim.samples import samples
from coarsegrad.studies.jeong2025 import cells
from coarsegrad.studies.verdict import Row
from coarsegrad.theory import recurrence

Settings = Mapping[str, Any]


def on_samples(settings: Settings, place: Path) -> Iterator[Row]:
    """A row a run, ``what`` run; then a row per bin of the times, all runs together, ``what`` times.

    N is ``multiple`` times n. ``spread`` above 0 takes the teacher off the quantized directions: each of its
    weights is a sign times (1 + spread times a normal number), and the optimum is its signs.
    """
    given, seed = _problem(settings), settings["seed"]
    surrogate = spec.read(settings["surrogate"], SURROGATES)
    found = recover(
        given, surrogate, runs=settings["runs"], steps=settings["steps"], step_size=settings["step_size"],
        seed=seed, method="events",
    )  # fmt: skip
    pulled = recurrence.pull(surrogate, given.n)
    for k in range(settings["runs"]):
        push, pulls = balance(given, surrogate, seed, k)
        own = recurrence.shares(push, pulled)
        coupled = recurrence.shares(push, pulls)
        mean = recurrence.under_noise(
            surrogate, given.n, given.samples or 1, given.noise, given.some(slice(k, k + 1)).v_star[0]
        )
        row = {name: int(getattr(found, name)[k]) for name in ("last", "ergodic", "hit", "visits", "first")}
        yield {
            "what": "run", "run": k, **row, "occupancy": float(found.occupancy[k]),
            "own": float((1 - own).prod()), "own_wrong": float(own.sum()),
            **_settled(coupled),
            "averaged": mean.occupancy, "averaged_wrong": mean.wrong,
            "gradients": int(found.gradients[k]), "changes": int(found.changes[k]),
            "close": int(found.close[k]), "capped": int(found.capped[k]),
        }  # fmt: skip
    yield from _times(found.stays.sum(0), found.absences.sum(0))


def balance(given: Problem, surrogate: Surrogate, seed: int, run: int) -> tuple[Tensor, Tensor]:
    """At the optimum of this run's samples: the push on each coordinate, and what each flip takes from it."""
    one = given.some(slice(run, run + 1))
    if not given.noise and torch.equal(given.w_star, given.shown(given.w_star)):
        return torch.zeros_like(one.w_star[0]), torch.eye(given.n, dtype=one.w_star.dtype)  # absorbed
    z, labels = samples(one, seed, range(run, run + 1))
    v, right = one.v_star[:1], one.shown(one.w_star)[:1]
    signs = torch.where(right < 0, -1.0, 1.0).to(right)[0]
    push = step(v, right, labels, z, surrogate)[2][0] * signs
    pulls = []
    for j in range(given.n):
        wrong = right.clone()
        wrong[0, j] *= -1
        pulls.append(push - step(v, wrong, labels, z, surrogate)[2][0] * signs)
    return push, torch.stack(pulls)


def _settled(shares: Tensor) -> Row:
    """The prediction of coordinates that act on each other; None where its equations were not solved."""
    if shares.isnan().any():
        return {"coupled": None, "coupled_wrong": None}
    return {"coupled": float((1 - shares).prod()), "coupled_wrong": float(shares.sum())}


def _problem(settings: Settings) -> Problem:
    given = cells.problem(settings, max(2, round(settings["multiple"] * settings["n"])), settings["seed"])
    if settings["spread"]:
        return replace(
            given, w_star=spread_out(torch.sign(given.w_star), settings["spread"], settings["seed"])
        )
    # whole bits, as ``recover`` takes them: w* then sees its own samples without a residual
    return replace(given, w_star=given.shown(given.w_star))


def spread_out(directions: Tensor, spread: float, seed: int) -> Tensor:
    """Teachers ``[runs, n]`` of length 1 near these directions; weights that are 0 get a small one."""
    normal = stream(seed, "batch", 0).standard_normal(tuple(directions.shape))
    off = directions + spread * torch.from_numpy(normal).to(directions)
    return off / torch.linalg.vector_norm(off, dim=-1, keepdim=True)


def in_population(settings: Settings, place: Path) -> Iterator[Row]:
    """The same of the population's iteration, ReLU or identity, whose teacher no quantized weights reach.

    ``spread`` as above, of ternary weights around a random direction with three in five of them not 0;
    None: the teacher is a random direction.
    """
    n, runs, steps, weights = (settings[name] for name in ("n", "runs", "steps", "weights"))
    drawn = Problem.drawn(m=1, n=n, seed=settings["seed"], teachers=runs, weights="float", trained="w")
    w_star = drawn.w_star
    if settings["spread"] is not None:
        near = torch.where(w_star < 0, -1.0, 1.0).to(w_star)
        if weights == "ternary":
            near = near * _dropped(runs, n, settings["seed"])
        w_star = spread_out(near, settings["spread"], settings["seed"])
    start = replace(drawn, weights="binary").starts(runs, settings["seed"])[1]
    yield from _followed(w_star, start, steps, settings["step_size"], weights)


def _dropped(runs: int, n: int, seed: int) -> Tensor:
    """0 and 1, three in five of each row 1, in a random order."""
    draw, kept = stream(seed, "teacher", runs), np.arange(n) < round(0.6 * n)
    return torch.from_numpy(np.stack([draw.permutation(kept) for _ in range(runs)])).double()


def staggered(settings: Settings, place: Path) -> Iterator[Row]:
    """Four binary weights, three of them 1/6: each wrong every third step, p = 1/3, so that sum p = 1.

    The first run starts them a step after each other, so that one is always wrong; the second all alike.
    """
    w_star = torch.tensor([33**0.5, 1.0, 1.0, 1.0], dtype=torch.float64) / 6
    phases = torch.tensor([[9.0, 1 / 6, 1 / 2, -1 / 6], [9.0, 1 / 6, 1 / 6, 1 / 6]], dtype=torch.float64)
    step_size = settings["step_size"]
    yield from _followed(w_star.expand(2, 4), phases * step_size, settings["steps"], step_size, "binary")


def _followed(w_star: Tensor, start: Tensor, steps: int, step_size: float, weights: str) -> Iterator[Row]:
    hits = recurrence.at_optimum(w_star, start, steps=steps, step_size=step_size, weights=weights)
    best = recurrence.optimum(w_star, weights)
    cosine = (best * w_star).sum(-1) / torch.linalg.vector_norm(best, dim=-1)
    arrivals = hits.clone()
    arrivals[1:] &= ~hits[:-1]
    stays, absences = torch.zeros(2, 40, dtype=torch.int64)
    expected = recurrence.occupancy(recurrence.unquantized(w_star)) if weights == "binary" else None
    for k in range(hits.shape[1]):
        row: Row = {"what": "run", "run": k, "cosine": float(cosine[k]), "visits": int(arrivals[:, k].sum())}
        row |= {"late_visits": int(arrivals[steps // 2 :, k].sum())}
        row |= {"occupancy": float(hits[:, k].double().mean())}
        if expected is not None:
            row |= {"own": float(expected.product[k]), "own_wrong": float(1 - expected.least[k])}
        yield row
        _count(hits[:, k].numpy(), stays, absences)
    yield from _times(stays, absences)


def _count(hits: np.ndarray, stays: Tensor, absences: Tensor) -> None:
    """Add the ended stays of a run, and its absences between two stays, to their bins."""
    edges = np.flatnonzero(hits[1:] != hits[:-1]) + 1
    edges = edges if hits[0] else edges[1:]  # before the first stay there is no absence
    begin = np.concatenate([[0], edges]) if hits[0] else np.concatenate([np.flatnonzero(hits)[:1], edges])
    lengths = np.diff(begin)
    for bins, mine in ((stays, lengths[0::2]), (absences, lengths[1::2])):
        if len(mine):
            bins += torch.from_numpy(np.bincount(np.frexp(mine)[1] - 1, minlength=len(bins)))


def _times(stays: Tensor, absences: Tensor) -> Iterator[Row]:
    for b in range(int((stays + absences).nonzero().max()) + 1 if (stays + absences).any() else 0):
        yield {"what": "times", "from": 2**b, "stays": int(stays[b]), "absences": int(absences[b])}


def trace(settings: Settings, place: Path) -> Iterator[Row]:
    """One run, step by step: how many of its weights are wrong, and how many of the average's signs."""
    given = _problem({**settings, "runs": 1})
    shown = range(settings["steps"])
    found = recover(
        given, spec.read(settings["surrogate"], SURROGATES), runs=1, steps=settings["steps"],
        step_size=settings["step_size"], seed=settings["seed"], record=shown, method="events",
    )  # fmt: skip
    right = torch.where(given.w_star[0] < 0, -1, 1)
    signs = found.signs[:, 0].long()
    mean_wrong = (torch.where(signs.cumsum(0) < 0, -1, 1) != right).sum(-1)
    wrong = (signs != right).sum(-1)
    every = max(1, math.ceil(settings["steps"] / settings["shown"]))
    for t in range(0, settings["steps"], every):
        yield {"step": t, "wrong": int(wrong[t]), "average_wrong": int(mean_wrong[t])}
