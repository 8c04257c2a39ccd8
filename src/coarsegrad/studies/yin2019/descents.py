"""Algorithm 1 from many starts: where it ends, and whether the loss falls on the way."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coarsegrad import sim, theory
from coarsegrad.problem import Descent, Problem, Window
from coarsegrad.studies.verdict import Row
from coarsegrad.studies.yin2019.fields import surrogate_of
from coarsegrad.theory import critical, hidden

Settings = Mapping[str, Any]
TOLERANCE = 1e-3
"""Within which the end of a run counts as a critical point: radians, and |v_star| in v."""


def window_of(settings: Settings) -> Window:
    """The window of these settings: |w| at least ``window``, any angle."""
    return Window(norm=settings["window"], angle=0.0)


def ends(settings: Settings, place: Path) -> Iterator[Row]:
    """A batch of starts of one surrogate, a teacher for each: where they end and how often the loss rose.

    One row for the teachers that have spurious minimizers, ``exists``, and one for the others.
    """
    runs, seed = settings["runs"], settings["seed"]
    problem = Problem.drawn(m=settings["m"], n=settings["n"], seed=seed, teachers=runs)
    end = theory.descend(
        problem, surrogate_of(settings["surrogate"]), start=problem.starts(runs, seed),
        steps=settings["steps"], step_size=settings["step_size"], window=window_of(settings),
    )  # fmt: skip
    kinds, condition = kinds_of(end, problem), critical.exists(problem.v_star)
    for exists in (True, False):
        mine = condition == exists
        yield {"exists": exists, "starts": int(mine.sum()), **_counts(kinds[mine]), **_rises(end, mine)}


def kinds_of(end: Descent, problem: Problem) -> Tensor:
    """Where each run ended, ``[runs]``: indices into ``critical.KINDS``."""
    return critical.classify(end.v, end.w, problem.v_star, problem.w_star, tolerance=TOLERANCE).kind


def near_the_spurious_minimizer(settings: Settings, place: Path) -> Iterator[Row]:
    """Starts ``off`` from the spurious minimizer in v and in w, |w| about 1: does the loss rise from there?

    A row ``teacher`` for each of them: how many starts climbed by more than ``climb`` of the loss there, and
    where they ended; and the way of its first start, rows ``path``:
    the largest loss and the smallest |w| of every stretch of steps.
    """
    runs, steps, number = settings["runs"], settings["steps"], settings["teachers"]
    draws = (Problem.drawn(m=6, n=5, seed=seed) for seed in range(settings["seed"], settings["seed"] + 1000))
    fit = (p for p in draws if critical.exists(p.v_star) and _leaning(p.v_star))
    teachers = [problem for problem, _ in zip(fit, range(number), strict=False)]
    v_star, w_star = (torch.stack([getattr(p, k) for p in teachers]) for k in ("v_star", "w_star"))
    bottom = critical.spurious_minimizer(v_star).v
    losses = hidden.loss(bottom, -w_star, v_star, w_star)
    surrogate = surrogate_of(settings["surrogate"])
    push = critical.push(v_star, w_star, surrogate)
    problem = Problem(v_star.repeat_interleave(runs, 0), w_star.repeat_interleave(runs, 0))
    v, w = problem.starts(number * runs, settings["seed"])
    v = bottom.repeat_interleave(runs, 0) + settings["off"] * v / v.norm(dim=-1, keepdim=True)
    end = theory.descend(
        problem, surrogate, start=(v, settings["off"] * w - problem.w_star), steps=steps,
        step_size=settings["step_size"], record=range(steps + 1), window=window_of(settings),
    )  # fmt: skip
    climb, kinds = (end.loss.amax(0) - end.loss[0]) / end.loss[0], kinds_of(end, problem)
    whose = torch.arange(number).repeat_interleave(runs)
    for k in range(number):
        mine = whose == k
        at = {"teacher": k, "bottom": float(losses[k]), "push": float(push[k])}
        climbed = {
            "climbed": int((climb[mine] > settings["climb"]).sum()), "largest_climb": float(climb[mine].max())
        }  # fmt: skip
        counts = {**_counts(kinds[mine]), **_rises(end, mine)}
        yield {"what": "teacher", "starts": runs, **at, **climbed, **counts}
        stride = max(1, steps // 200)
        for step in range(0, steps + 1, stride):
            loss, norm = (trace[step : step + stride, k * runs] for trace in (end.loss, end.norm))
            yield {"what": "path", "step": step, **at, "loss": float(loss.max()), "norm": float(norm.min())}


def twin(settings: Settings, place: Path) -> Iterator[Row]:
    """The population's descent beside descents on samples, from one start: how far apart they end.

    ``off`` is the distance of (v, w) from the population's end in units of the way that the population went;
    ``bias`` the same distance of the mean over runs, beside the error of that mean.
    """
    drawn = Problem.drawn(m=3, n=4, seed=settings["seed"])
    problem = Problem(drawn.v_star, drawn.w_star, samples=settings["samples"])
    v, w = drawn.starts(1, settings["seed"])
    runs, surrogate = settings["runs"], surrogate_of(settings["surrogate"])
    start = v.expand(runs, -1), settings["stretch"] * w.expand(runs, -1)
    how: dict[str, Any] = {"start": start, "steps": settings["steps"], "step_size": settings["step_size"]}
    found = sim.descend(problem, surrogate, runs=runs, seed=settings["seed"], **how)
    formula = theory.descend(drawn, surrogate, **how)
    apart = torch.cat((found.v - formula.v, found.w - formula.w), -1)
    way = torch.cat((formula.v - start[0], formula.w - start[1]), -1)[0].norm()
    error = (apart.square().sum(-1).mean() / runs).sqrt()
    yield {
        "off": float(apart.square().sum(-1).mean().sqrt() / way), "way": float(way),
        "bias": float(apart.mean(0).norm() / way), "bias_error": float(error / way),
    }  # fmt: skip


def slice_of_the_landscape(settings: Settings, place: Path) -> Iterator[Row]:
    r"""One teacher's loss over (theta, kappa), \(v = (I + 11^T)^{-1}(\kappa I + 11^T) v^*\).

    All its critical points lie there. Rows ``level`` (two kappas per level and theta, None where there is
    none), ``arrow`` (a step against the gradient and against each coarse gradient at |w| = 1, as parts along
    theta and kappa), ``critical``, and ``path`` (a descent, v projected onto the slice).
    """
    v_star = torch.tensor(settings["v_star"], dtype=torch.float64)
    w_star = torch.tensor([1.0, 0.0], dtype=torch.float64)
    axis, origin = slice_axes(v_star)
    yield from _levels(settings, v_star, w_star, axis, origin)
    names = settings["surrogates"]
    for theta in torch.linspace(0.12, math.pi - 0.12, settings["columns"], dtype=torch.float64):
        for kappa in torch.linspace(-1.4, 1.4, settings["rows"], dtype=torch.float64):
            v = origin + kappa * axis
            w = torch.stack((theta.cos(), theta.sin()))
            across = torch.stack((theta.sin(), -theta.cos()))  # along it theta falls
            dv, dw = hidden.gradient(v, w, v_star, w_star)
            turns = {"true": dw} | {
                name: hidden.coarse_gradient(v, w, v_star, w_star, surrogate_of(name)) for name in names
            }
            for name, g in turns.items():
                parts = {"d_theta": float(g @ across), "d_kappa": float(-dv @ axis / (axis @ axis))}
                yield {"what": "arrow", "field": name, "theta": float(theta), "kappa": float(kappa), **parts}
    found = (critical.global_minimizer, critical.spurious_minimizer, critical.saddle)
    for kind, point in zip(critical.KINDS, (make(v_star) for make in found), strict=False):
        if bool(point.exists):
            kappa = float((point.v - origin) @ axis / (axis @ axis))
            yield {"what": "critical", "is": kind, "theta": float(point.theta), "kappa": kappa}
    starts = torch.tensor(settings["starts"], dtype=torch.float64)
    start = (
        origin + starts[:, 1:] * axis,
        settings["norm"] * torch.stack((starts[:, 0].cos(), starts[:, 0].sin()), -1),
    )
    for name in names:
        for step, (v, w) in _path(Problem(v_star, w_star), name, start, settings):
            theta, kappa = torch.atan2(w[:, 1].abs(), w[:, 0]), (v - origin) @ axis / (axis @ axis)
            loss = hidden.loss(v, w, v_star, w_star)
            for k, at in enumerate(zip(theta.tolist(), kappa.tolist(), loss.tolist(), strict=True)):
                here = dict(zip(("theta", "kappa", "loss"), at, strict=True))
                yield {"what": "path", "surrogate": name, "start": k, "step": step, **here}


def slice_axes(v_star: Tensor) -> tuple[Tensor, Tensor]:
    """(axis, origin), ``[m]`` each: origin + kappa axis is the best v at theta = pi (1 - kappa) / 2."""
    share = v_star.sum() / (len(v_star) + 1)
    return v_star - share, share.expand_as(v_star)


def _path(
    problem: Problem, name: str, start: tuple[Tensor, Tensor], settings: Settings
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Descents in strides, the points after each."""
    steps, now = settings["steps"], start
    stride = max(1, steps // settings["strides"])
    yield 0, now
    for step in range(stride, steps + 1, stride):
        how = {"start": now, "steps": stride, "step_size": settings["step_size"]}
        end = theory.descend(problem, surrogate_of(name), **how)
        now = end.v, end.w
        yield step, now


def _levels(
    settings: Settings, v_star: Tensor, w_star: Tensor, axis: Tensor, origin: Tensor
) -> Iterator[Row]:
    """At each theta the loss is a parabola in kappa: three values give it, its roots are the level lines."""
    theta = torch.linspace(0, math.pi, settings["fineness"] + 1, dtype=torch.float64)
    w = torch.stack((theta.cos(), theta.sin()), -1)
    low, middle, high = (hidden.loss(origin + k * axis, w, v_star, w_star) for k in (-1.0, 0.0, 1.0))
    bend, lean = (high + low) / 2 - middle, (high - low) / 2
    lowest = middle - lean.square() / (4 * bend)
    for level in settings["levels"]:
        reach = ((level - lowest) / bend).clamp(min=0).sqrt()
        for k, t in enumerate(theta.tolist()):
            there = bool(lowest[k] <= level)
            center = float(-lean[k] / (2 * bend[k]))
            ends = {"low": center - float(reach[k]), "high": center + float(reach[k])} if there else {}
            yield {"what": "level", "level": level, "theta": t, "low": None, "high": None, **ends}


def _leaning(v_star: Tensor) -> bool:
    """Whether 1^T v_star is far enough from 0 that the identity is pushed."""
    return bool(v_star.sum().abs() > 0.3 * v_star.norm())


def _counts(kinds: Tensor) -> Row:
    counts = torch.bincount(kinds, minlength=len(critical.KINDS)).tolist()
    return dict(zip(critical.KINDS, counts, strict=True))


def _rises(end: Descent, mine: Tensor) -> Row:
    return {
        "steps_inside": int(end.steps_inside[mine].sum()),
        "rises_inside": int(end.rises_inside[mine].sum()),
        "rises_outside": int(end.rises_outside[mine].sum()),
        "runs_rising": int((end.rises_inside[mine] + end.rises_outside[mine] > 0).sum()),
        "largest_rise": float(torch.maximum(end.largest_rise_inside, end.largest_rise_outside)[mine].max())
        if mine.any()
        else 0.0,
    }
