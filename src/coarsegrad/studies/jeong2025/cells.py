"""Cells of the grid: at one n and many N, how often is the teacher found?"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.problem import Problem
from coarsegrad.sim import recover
from coarsegrad.sim.outcome import Recovery
from coarsegrad.studies.verdict import Row

Settings = Mapping[str, Any]
CRITERIA = ("last", "ergodic", "hit")
"""The last iterate is the teacher; the signs of the average are; it was ever reached."""
_SURE = 3  # neighbouring sizes that all succeed: beyond them none is tried


def problem(settings: Settings, samples: int, seed: int) -> Problem:
    """A teacher of binary weights for each run; ``v`` is ``unit`` (normal, then of length 1) or ``ones``."""
    m, n, runs = settings["m"], settings["n"], settings["runs"]
    drawn = Problem.drawn(m=m, n=n, seed=seed, teachers=runs, weights="binary", trained="w")
    v = drawn.v_star
    if settings["v"] == "ones":
        v = torch.full_like(v, 1 / math.sqrt(m))
    elif settings["v"] == "unit":
        v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    else:
        raise ValueError(f"v={settings['v']!r} is unknown; known: unit, ones")
    kind = getattr(torch, settings.get("dtype", "float64"))
    return Problem(
        v.to(kind), drawn.w_star.to(kind), weights="binary", trained="w", samples=samples,
        noise=settings.get("noise", 0.0),
    )  # fmt: skip


def cell(settings: Settings, samples: int, *, threads: int | None = None) -> Recovery:
    """``runs`` runs of N = ``samples``; their seed depends on the settings' seed, n and N alone."""
    seed = (settings["seed"] * 100_000 + settings["n"]) * 10_000_000 + samples
    given = problem(settings, samples, seed)
    start = given.starts(settings["runs"], seed)
    start = (start[0], start[1] * settings.get("start", 1.0))
    surrogate = spec.read(settings["surrogate"], SURROGATES)
    return recover(
        given, surrogate, runs=settings["runs"], steps=settings["steps"], step_size=settings["step_size"],
        seed=seed, start=start, method=settings.get("method", "auto"), threads=threads,
    )  # fmt: skip


def threshold(settings: Settings, place: Path) -> Iterator[Row]:
    """A row a cell: first N = n times each multiple, then between the neighbours where success changes.

    Sizes ascend and end after three where every run succeeds in every sense; then ``extra`` times the widest
    gap around the place where half succeed is halved (in log N), in turn for the last and ergodic iterate.
    """
    n = settings["n"]
    done: dict[int, Row] = {}

    def measured(samples: int) -> Row:
        found = cell(settings, samples)
        row = {"samples": samples, "runs": settings["runs"], "method": found.method}
        row |= {name: int(getattr(found, name).sum()) for name in CRITERIA}
        row["left"] = int((found.visits - found.last.long()).clamp(min=0).sum())
        row["gradients"], row["changes"] = int(found.gradients.sum()), int(found.changes.sum())
        row["capped"], row["close"] = int(found.capped.sum()), int(found.close.sum())
        hits = found.first[found.first >= 0]
        row["first"] = float(hits.double().median()) if len(hits) else None
        done[samples] = row
        return row

    sure = 0
    for multiple in settings["multiples"]:
        samples = max(2, round(multiple * n))
        if samples in done:
            continue
        row = measured(samples)
        yield row
        sure = sure + 1 if all(row[name] == row["runs"] for name in CRITERIA) else 0
        if sure == _SURE:
            break
    for number in range(settings["extra"]):
        middle = _between(done, CRITERIA[number % 2])
        if middle is not None:
            yield measured(middle)


def _between(done: Mapping[int, Row], criterion: str) -> int | None:
    """The geometric middle of the neighbours between which the rate of success passes 1/2."""
    sizes = sorted(done)
    below = [N for N in sizes if 2 * done[N][criterion] < done[N]["runs"]]
    if not below or below[-1] == sizes[-1]:
        return None
    low, high = below[-1], sizes[sizes.index(below[-1]) + 1]
    middle = round(math.sqrt(low * high))
    return middle if low < middle < high else None
