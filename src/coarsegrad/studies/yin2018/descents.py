"""Blended coarse gradient descent on the population, step by step: what a step does to the objective."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coarsegrad import spec
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.optim import Blend
from coarsegrad.problem import Problem
from coarsegrad.studies.verdict import Row
from coarsegrad.studies.yin2018.sets import SETS, Weights
from coarsegrad.theory import blended, hidden, recovery, recurrence

Settings = Mapping[str, Any]
_STILL = 1e-12
"""Squared distances of directions, and changes of the objective, that are rounding."""


class Step(NamedTuple):
    """A step: v ``[runs, m]``, quantized w ``[runs, n]`` and objective ``[runs]`` before it and after."""

    v: Tensor
    w: Tensor
    loss: Tensor
    g: Tensor
    """The coarse gradient that it took, ``[runs, n]``."""
    w_next: Tensor
    loss_next: Tensor


def follow(
    given: Problem,
    surrogate: Surrogate,
    weights: Weights,
    start: tuple[Tensor, Tensor],
    rules: Sequence[Blend],
    step_size: float,
    steps: int,
) -> Iterator[Step]:
    """All starts ``[runs, ...]`` under each rule in turn: row ``k * runs + i`` is start i under rule k."""
    v_star, w_star = (t.repeat(len(rules), 1) for t in (given.v_star, given.w_star))
    v, latent = (t.repeat(len(rules), 1) for t in start)
    w = weights.quantize(latent)
    loss = hidden.loss(v, w, v_star, w_star)
    for step in range(steps):
        g = hidden.coarse_gradient(v, w, v_star, w_star, surrogate)
        parts = zip(rules, latent.chunk(len(rules)), strict=True)
        latent = torch.cat([rule.before(part, weights, step) for rule, part in parts]) - step_size * g
        v_next = v - step_size * hidden.gradient(v, w, v_star, w_star)[0] if given.trained == "both" else v
        w_next = weights.quantize(latent)
        loss_next = hidden.loss(v_next, w_next, v_star, w_star)
        yield Step(v, w, loss, g, w_next, loss_next)
        v, w, loss = v_next, w_next, loss_next


def descents(settings: Settings, place: Path) -> Iterator[Row]:
    r"""A row a run and blending weight; that is given by ``ratios``, r = rho/(step size times c).

    ``least``: the smallest fall of the objective over \(|u^+ - u|^2\), u the direction, among steps that turn
    it. ``excess``: the smallest by which that is above ``blended.fall``, where that speaks. ``inner``: the
    smallest of \(-\langle w^+ - w, g\rangle / |w^+ - w|^2\), over rho/(2 step size) with blending. None where
    no step counts. ``late``: of the second half.
    """
    given, weights, ratios = _problem(settings), SETS[settings["weights"]], settings["ratios"]
    surrogate = spec.read(settings["surrogate"], SURROGATES)
    runs, steps, step_size = (settings[name] for name in ("runs", "steps", "step_size"))
    start = given.starts(runs, settings["seed"])
    rules = _rules(given, surrogate, ratios, step_size)
    rho = torch.tensor([rule.rho for rule in rules]).double().repeat_interleave(runs)
    ratio = torch.tensor(ratios).double().repeat_interleave(runs)
    best = recurrence.optimum(given.w_star, weights.directions) if weights.directions else None
    books = _Books(runs * len(ratios), steps)
    for number, step in enumerate(follow(given, surrogate, weights, start, rules, step_size, steps)):
        scale = _norm(step.w)
        speaks = weights.directions is not None and given.trained == "w"
        books.see(number, step, rho / (2 * step_size), ratio * scale if speaks else torch.zeros_like(scale))
        if best is not None and number >= steps // 2:
            right = step.w_next.sign() == best.repeat(len(ratios), 1)
            books.hits += right.all(-1)
            books.wrong += (~right).double().mean(-1)
        if number == 0:
            first = scale
    for k in range(len(books.hits)):
        one = {name: _number(getattr(books, name)[k]) for name in ("least", "excess", "inner")}
        counted = {name: int(getattr(books, name)[k]) for name in ("rises", "late_rises", "late_turns")}
        late = steps - steps // 2
        run, r = k % runs, ratios[k // runs]
        yield {
            "ratio": r, "run": run, **one, **counted, "late_loss": float(books.late_loss[k]) / late,
            "first_scale": float(first[k]), "last_scale": float(_norm(step.w_next)[k]),
            "hits": None if best is None else float(books.hits[k]) / late,
            "wrong": None if best is None else float(books.wrong[k]) / late,
            **_foretold(settings, given.w_star[run], start[1][run], r, step.w_next[k]),
        }  # fmt: skip


def _foretold(settings: Settings, w_star: Tensor, start: Tensor, ratio: float, end: Tensor) -> Row:
    """Where the fixed scale has a formula: the share of wrong signs, and how many ended elsewhere."""
    if settings["weights"] != "fixed" or settings["trained"] != "w":
        return {"foretold_wrong": None, "elsewhere": None}
    ends = blended.settled(w_star, start, ratio)
    return {
        "foretold_wrong": float(blended.wrong(w_star, start, ratio).mean()),
        "elsewhere": int(((ends != 0) & (ends != end.sign())).sum()),
    }


def trace(settings: Settings, place: Path) -> Iterator[Row]:
    """One run under each blending weight, from v = v*: objective and scale before each step."""
    given, ratios = _problem({**settings, "runs": 1}), settings["ratios"]
    surrogate = spec.read(settings["surrogate"], SURROGATES)
    rules = _rules(given, surrogate, ratios, settings["step_size"])
    start, weights = (given.v_star, given.starts(1, settings["seed"])[1]), SETS[settings["weights"]]
    found = follow(given, surrogate, weights, start, rules, settings["step_size"], settings["steps"])
    for number, step in enumerate(found):
        for r, loss, scale in zip(ratios, step.loss.tolist(), _norm(step.w).tolist(), strict=True):
            yield {"ratio": r, "step": number, "loss": loss, "scale": scale}


def _problem(settings: Settings) -> Problem:
    """A float teacher for each run, its second layer of length 1."""
    drawn = Problem.drawn(
        m=settings["m"], n=settings["n"], seed=settings["seed"], teachers=settings["runs"],
        trained=settings["trained"],
    )  # fmt: skip
    return replace(drawn, v_star=drawn.v_star / _norm(drawn.v_star)[:, None])


def _rules(given: Problem, surrogate: Surrogate, ratios: Sequence[float], step_size: float) -> list[Blend]:
    c = float(recovery.constant(given.v_star[:1], surrogate)[0])
    return [Blend(rho=ratio * step_size * c, cap=1.0) for ratio in ratios]


class _Books:
    """What is kept of each run, ``[runs]`` each."""

    def __init__(self, runs: int, steps: int):
        self._half, nothing = steps // 2, torch.zeros(runs, dtype=torch.float64)
        self.least, self.excess, self.inner = (torch.full_like(nothing, math.inf) for _ in range(3))
        self.rises, self.late_rises, self.late_turns = (nothing.clone() for _ in range(3))
        self.late_loss, self.hits, self.wrong = (nothing.clone() for _ in range(3))

    def see(self, number: int, step: Step, unit: Tensor, ratio: Tensor) -> None:
        """Note a step; ``unit`` is that of ``inner`` where not 0, ``ratio`` the r of this step, or 0."""
        moved = step.w_next - step.w
        away = moved.square().sum(-1)
        turned = (
            (step.w_next / _norm(step.w_next)[:, None] - step.w / _norm(step.w)[:, None]).square().sum(-1)
        )
        turns, fell = turned > _STILL, step.loss - step.loss_next
        share = fell / turned
        inner = -(moved * step.g).sum(-1) / away / torch.where(unit > 0, unit, 1.0)
        self._least("inner", inner, away > 1e-16)
        self._least("least", share, turns)
        self._least("excess", share - blended.fall(ratio), turns & (ratio >= 1 - _STILL))
        self.rises += fell < -_STILL
        if number >= self._half:
            self.late_rises += fell < -_STILL
            self.late_turns += turns
            self.late_loss += step.loss_next

    def _least(self, name: str, value: Tensor, counts: Tensor) -> None:
        before = getattr(self, name)
        setattr(self, name, torch.where(counts, torch.minimum(before, value), before))


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1)


def _number(x: Tensor) -> float | None:
    return float(x) if math.isfinite(x) else None
