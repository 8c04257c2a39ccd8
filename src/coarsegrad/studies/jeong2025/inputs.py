"""Recovery on inputs of any law, normalized or not; and where it fails, how."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coarsegrad import spec
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.problem import Problem
from coarsegrad.problem.laws import LAWS
from coarsegrad.problem.normalized import HOW, Normalized
from coarsegrad.sim import recover
from coarsegrad.sim.hidden import before, step
from coarsegrad.sim.outcome import Recovery
from coarsegrad.sim.samples import samples
from coarsegrad.studies.verdict import Row

Settings = Mapping[str, Any]
WAYS = (*HOW, "batch norm")
FATES = ("recovered", "death", "frozen", "cycling", "slow")
"""The last iterate is the teacher; or nothing passes any more; or no latent moves towards 0, now or ever; or
signs still change in the last ``WATCHED`` steps; or none does, but some latent is on its way."""
FAILED = FATES[1:]
WATCHED = 100
V = ("unit", "ones", "positive", "zero-sum")


def problem(settings: Settings, how: str) -> Problem:
    """A teacher for each run, ``balanced`` (as many weights of each sign) or ``random``; |v| = 1.

    v is normal (``unit``), all alike (``ones``), normal without signs (``positive``) or less its mean
    (``zero-sum``). Teachers, starts and the law's own samples do not depend on surrogate, step or ``how``.
    """
    n, kind, shape = settings["n"], settings["teacher"], settings["v"]
    drawn = Problem.drawn(m=settings["m"], n=n, seed=settings["seed"], teachers=settings["runs"])
    w, v = drawn.w_star, drawn.v_star
    if kind == "balanced":
        w = w.argsort(-1).argsort(-1) - (n - 1) / 2
    elif kind != "random":
        raise ValueError(f"teacher={kind!r} is unknown; known: balanced, random")
    if shape not in V:
        raise ValueError(f"v={shape!r} is unknown; known: {', '.join(V)}")
    v = {"unit": v, "ones": torch.ones_like(v), "positive": v.abs(), "zero-sum": v - v.mean(-1, True)}[shape]
    return Problem(
        v / torch.linalg.vector_norm(v, dim=-1, keepdim=True),
        torch.where(w < 0, -1.0, 1.0).to(v) / math.sqrt(n),
        weights="binary", trained="w", samples=settings["samples"], batch_norm=how == "batch norm",
        inputs=Normalized(spec.read(settings["law"], LAWS), "none" if how == "batch norm" else how),
    )  # fmt: skip


def compare(settings: Settings, place: Path) -> Iterator[Row]:
    """A row for each of the settings' ways to normalize and step sizes: how many runs met which fate.

    ``restoring`` counts the runs in which K = (1^T v)^2 - |v|^2 is positive, ``restored`` those of them that
    recovered; ``negative`` is the share of negative signs where runs that failed ended.
    """
    surrogate = spec.read(settings["surrogate"], SURROGATES)
    for how in settings["ways"]:
        given = problem(settings, how)
        for step_size in settings["step_sizes"]:
            steps, runs = settings["steps"], settings["runs"]
            found = recover(
                given, surrogate, runs=runs, steps=steps, step_size=step_size, seed=settings["seed"],
                record=range(max(0, steps - WATCHED), steps + 1),
            )  # fmt: skip
            met = fates(given, surrogate, found, settings["seed"])
            lost, restoring = ~found.last, given.v_star.sum(-1) ** 2 > given.v_star.square().sum(-1)
            yield {
                "how": how, "step_size": step_size, "ergodic": int(found.ergodic.sum()),
                "hit": int(found.hit.sum()), "close": int(found.close.sum()),
                "gradients": int(found.gradients.sum()), "method": found.method,
                "restoring": int(restoring.sum()), "restored": int((restoring & found.last).sum()),
                **{fate: met.count(fate) for fate in FATES},
                "negative": float((found.w[lost] < 0).double().mean()) if lost.any() else None,
            }  # fmt: skip


def fates(given: Problem, surrogate: Surrogate, found: Recovery, seed: int) -> list[str]:
    """The fate of each run, one of ``FATES``.

    ``found`` recorded its signs at the last ``WATCHED`` steps, and was not computed ``matrix_free``: what
    passes, and which latents move, is looked up on the run's data.
    """
    still = (found.signs == found.signs[-1:]).all(0).all(-1)
    out = []
    for run, (last, rests) in enumerate(zip(found.last.tolist(), still.tolist(), strict=True)):
        if last or not rests:
            out.append("recovered" if last else "cycling")
            continue
        passing, moves = _forces(
            given.some(slice(run, run + 1)), surrogate, found.w[run : run + 1], seed, run
        )
        out.append("slow" if moves else "frozen" if passing else "death")
    return out


def _forces(given: Problem, surrogate: Surrogate, u: Tensor, seed: int, run: int) -> tuple[bool, bool]:
    """Whether the slope is not 0 at some pre-activation; whether the gradient takes a latent towards 0."""
    z, labels = samples(given, seed, range(run, run + 1))
    w = given.shown(u)
    slope = surrogate.slope(before(w, z, given.batch_norm))
    gradient = step(given.v_star, w, labels, z, surrogate, batch_norm=given.batch_norm)[2]
    return bool(slope.any()), bool((gradient * u > 0).any())
