"""Coarse gradients on samples and in closed form: at random points, at critical points, along a line."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coarsegrad import own
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.measure import cosine
from coarsegrad.problem import Problem, stream
from coarsegrad.sim import hidden as sampled
from coarsegrad.studies.verdict import Row
from coarsegrad.theory import critical, hidden

Settings = Mapping[str, Any]
PAPERS = ("identity", "relu", "clipped_relu")
"""The three of the paper."""
SLOPED = tuple(name for name in SURROGATES if name != "ewgs" and name not in own.SOURCES)
"""All of the library that have a slope; EWGS looks at the upstream gradient and has none."""


def surrogate_of(name: str) -> Surrogate:
    """The surrogate of this written form; a scheduled one halfway through training."""
    return own.surrogate(name).at(0.5)


def random_point(seed: int, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(v, w, v_star, w_star): m 1 to 8, n 2 to 12, |w| 0.3 to 5, theta uniform in (0, pi), |w_star| = 1."""
    draw = stream(seed, "teacher", number)
    m, n = int(draw.integers(1, 9)), int(draw.integers(2, 13))
    v, v_star = torch.from_numpy(draw.standard_normal((2, m)))
    side, w_star = torch.from_numpy(draw.standard_normal((2, n)))
    theta, size = torch.tensor(draw.uniform(0, math.pi)), 0.3 * (5 / 0.3) ** draw.uniform()
    w_star = w_star / w_star.norm()
    return v, critical.place(theta.double(), w_star, side, size), v_star, w_star


def compared(blocks: Tensor, formula: Tensor) -> Row:
    """Means of blocks (axis 0) beside their prediction, in plain numbers.

    ``t``: the largest deviation in standard errors over the ``comparisons`` components, Student's t with
    ``df`` degrees of freedom; ``dot`` and ``size``: the product of mean and prediction, and the prediction's
    square. Where all blocks are equal, t is 0 or infinite.
    """
    blocks, formula = blocks.reshape(len(blocks), -1), formula.reshape(-1)
    mean, error = blocks.mean(0), blocks.std(0) / math.sqrt(len(blocks))
    off = (mean - formula).abs()
    t = torch.where(off > 1e-12 * (1 + formula.abs()), off / error, 0.0)
    return {
        "comparisons": t.numel(), "t": float(t.max()), "df": len(blocks) - 1,
        "dot": float((mean * formula).sum()), "size": float(formula.square().sum()),
        "error": float(error.square().sum().sqrt()),
    }  # fmt: skip


def agreement(settings: Settings, place: Path) -> Iterator[Row]:
    """One random point: loss, gradient, and per surrogate coarse gradient and correlation, also sampled.

    The sampled correlation is the product of two estimates from samples of their own, so it knows no formula.
    ``weight`` is about the inverse of a row's variance, by which points are weighted when they are pooled; it
    does not look at the samples.
    """
    point = random_point(settings["seed"], settings["number"])
    v, w = point[:2]
    z = gaussian(settings, "data", settings["blocks"], settings["samples"], len(v), len(w))
    dv, dw = sampled.gradient(*point, z)
    predicted_dv, predicted_dw = hidden.gradient(*point)
    theta, f = float(torch.arccos((cosine(w, point[3])).clamp(-1, 1))), float(hidden.loss(*point))
    about = {"m": len(v), "n": len(w), "norm": float(w.norm()), "theta": theta}
    # the variance of the sampled gradient in w is about (f / |w| sin theta)^2, that of the coarse one about f
    sure = (about["norm"] * math.sin(theta) / f) ** 2
    yield {**about, "what": "loss", **compared(sampled.loss(*point, z), hidden.loss(*point))}
    yield {**about, "what": "dv", **compared(dv, predicted_dv)}
    yield {**about, "what": "dw", "weight": sure, **compared(dw, predicted_dw)}
    for name in settings.get("surrogates", SLOPED):
        surrogate, half = surrogate_of(name), len(z) // 2
        found = sampled.coarse_gradient(*point, surrogate, z)
        formula = hidden.coarse_gradient(*point, surrogate)
        both = (found[:half] * dw[half : 2 * half]).sum(-1)
        here = {**about, "cosine": float(cosine(formula, predicted_dw)), "surrogate": name}
        yield {**here, "what": "coarse", "weight": 1 / f, **compared(found, formula)}
        predicted, size = hidden.correlation(*point, surrogate), float(formula.square().sum())
        yield {
            **here,
            "what": "correlation",
            "weight": sure / size if size else 0.0,
            **compared(both, predicted),
        }


def random_points(seed: int, points: int) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Theta ``[points]`` and (v, w, v_star, w_star) of as many random points: m = 4, n = 5, |w| 0.3 to 5."""
    draw, m, n = stream(seed, "teacher", 0), 4, 5
    v, v_star = torch.from_numpy(draw.standard_normal((2, points, m)))
    side, w_star = torch.from_numpy(draw.standard_normal((2, points, n)))
    theta = torch.from_numpy(draw.uniform(0, math.pi, points))
    size = torch.from_numpy(0.3 * (5 / 0.3) ** draw.uniform(size=points))
    w_star = w_star / w_star.norm(dim=-1, keepdim=True)
    return theta, (v, critical.place(theta, w_star, side) * size[:, None], v_star, w_star)


def alignment(settings: Settings, place: Path) -> Iterator[Row]:
    """One surrogate at many random points, by formula: cosine with the gradient in w, by angle.

    Per bin of theta the quantiles of the cosine of coarse gradient and gradient in w; then one row ``all``,
    with the smallest cosine (below 0 is uphill) and the largest ratio of the descent inequality to its
    constant.
    """
    points, surrogate = settings["points"], surrogate_of(settings["surrogate"])
    theta, point = random_points(settings["seed"], points)
    found = hidden.correlation(*point, surrogate)
    coarse, true = hidden.coarse_gradient(*point, surrogate), hidden.gradient(*point)[1]
    cosines = found / (coarse.norm(dim=-1) * true.norm(dim=-1))
    bins = settings["bins"]
    for k in range(bins):
        mine = cosines[(theta >= k * math.pi / bins) & (theta < (k + 1) * math.pi / bins)]
        if len(mine):
            low, middle, high = (float(mine.quantile(q)) for q in (0.05, 0.5, 0.95))
            spread = {"low": low, "median": middle, "high": high}
            yield {"what": "bin", "theta": (k + 0.5) * math.pi / bins, **spread}
    low, middle, high = (float(cosines.quantile(q)) for q in (0.05, 0.5, 0.95))
    overall = {"smallest": float(cosines.min()), "low": low, "median": middle, "high": high}
    uphill = {"uphill": int((cosines < -1e-12).sum()), "tried": points}
    bound = None
    if settings["surrogate"] in ("relu", "clipped_relu"):
        constant = hidden.descent_constant(surrogate, point[0].norm(dim=-1), point[1].norm(dim=-1))
        bound = float((hidden.descent_ratio(*point, surrogate) / constant).max())
    yield {"what": "all", **overall, **uphill, "bound": bound}


def at_critical_points(settings: Settings, place: Path) -> Iterator[Row]:
    """Sampled derivatives where the formulas put saddle and spurious minimizer, for one random teacher.

    Only for teachers that have them. Rows ``zero``: a sampled derivative that must vanish; rows ``push``: the
    sampled coarse gradient along w_star at the spurious minimizer beside its predicted length; rows
    ``nearby``: the descent inequality's ratio at points nearer and nearer to it.
    """
    number = settings["number"]
    problem = with_spurious(settings["seed"], number)
    v_star, w_star = problem.v_star, problem.w_star
    z = gaussian(settings, "data", settings["blocks"], settings["samples"], problem.m, problem.n)
    saddle, spurious = critical.saddle(v_star), critical.spurious_minimizer(v_star)
    side = torch.from_numpy(stream(settings["seed"], "start", number).standard_normal(problem.n))
    at_saddle = saddle.v, critical.place(saddle.theta, w_star, side), v_star, w_star
    at_spurious = spurious.v, -w_star, v_star, w_star
    nothing = torch.zeros(problem.m, dtype=v_star.dtype)
    yield {"what": "zero", "of": "dv, saddle", **compared(sampled.gradient(*at_saddle, z)[0], nothing)}
    yield {"what": "zero", "of": "dv, spurious", **compared(sampled.gradient(*at_spurious, z)[0], nothing)}
    for name in ("relu", "clipped_relu"):
        for where, point in (("saddle", at_saddle), ("spurious", at_spurious)):
            found = sampled.coarse_gradient(*point, surrogate_of(name), z)
            yield {"what": "zero", "of": f"{name}, {where}", **compared(found, torch.zeros_like(w_star))}
    yield from pushes(settings, problem, z, SLOPED)
    yield from ratios_nearby(settings, problem, PAPERS)


def pushes(settings: Settings, problem: Problem, z: Tensor, names: Iterable[str]) -> Iterator[Row]:
    """Per surrogate a row ``push``, at a problem's spurious minimizer."""
    v_star, w_star = problem.v_star, problem.w_star
    point = critical.spurious_minimizer(v_star).v, -w_star, v_star, w_star
    for name in names:
        found = sampled.coarse_gradient(*point, surrogate_of(name), z) @ w_star
        push = critical.push(v_star, w_star, surrogate_of(name))
        sign = -1 if found.mean() < 0 else 1
        sizes = {"formula": float(push), "sample": float(sign * found.mean())}
        relative = {"relative": float(push / v_star.norm().square())}
        yield {"what": "push", "surrogate": name, **sizes, **relative, **compared(sign * found, push)}


def ratios_nearby(settings: Settings, problem: Problem, names: Iterable[str]) -> Iterator[Row]:
    """Per surrogate and distance a row ``nearby``, beside a problem's spurious minimizer."""
    v_star, w_star = problem.v_star, problem.w_star
    side = torch.from_numpy(stream(settings["seed"], "start", settings["number"]).standard_normal(problem.n))
    for name in names:
        for distance in settings["distances"]:
            point = critical.spurious_minimizer(v_star).v, -w_star + distance * side, v_star, w_star
            ratio = float(hidden.descent_ratio(*point, surrogate_of(name)))
            yield {"what": "nearby", "surrogate": name, "distance": distance, "ratio": ratio}


def along_a_line(settings: Settings, place: Path) -> Iterator[Row]:
    """The empirical loss against the step along the negative coarse gradient of the same samples, v fixed.

    Per trial (its own point and samples) a row ``trial``; the curves of trial 0 in rows ``curve``.
    ``roughness``: all rises of the empirical loss from one step size to the next, up to where the
    population's loss is lowest on the line, in units of the population's fall; ``falls``: whether the
    empirical loss is lower there than at the start; ``off``: the root mean square over the line of how far
    the two losses have drifted apart since step 0, in units of the population's loss there.
    """
    m, n, surrogate = settings["m"], settings["n"], surrogate_of(settings["surrogate"])
    steps = torch.linspace(0, settings["reach"], settings["grid"] + 1, dtype=torch.float64)
    for trial in range(settings["trials"]):
        draw = stream(settings["seed"], "start", trial)  # one point for all sample sizes and surrogates
        v_star = torch.from_numpy(draw.standard_normal(m))
        v = v_star + 0.3 * torch.from_numpy(draw.standard_normal(m))
        side, w_star = torch.from_numpy(draw.standard_normal((2, n)))
        w_star = w_star / w_star.norm()
        w = critical.place(torch.tensor(2 * math.pi / 3).double(), w_star, side)
        z = gaussian({**settings, "number": trial}, "data", settings["samples"], m, n)
        coarse = sampled.coarse_gradient(v, w, v_star, w_star, surrogate, z)
        down = -coarse / coarse.norm()
        planes = torch.stack((z @ w, z @ down, z @ w_star), -1)  # what the losses on the line depend on
        teacher = torch.tensor([0.0, 0.0, 1.0], dtype=z.dtype)
        places = torch.stack((torch.ones_like(steps), steps, torch.zeros_like(steps)), -1)
        empirical = torch.stack([sampled.loss(v, at, v_star, teacher, planes) for at in places])
        population = hidden.loss(v, w + steps[:, None] * down, v_star, w_star)
        lowest = int(population.argmin())
        fall = float(population[0] - population[lowest])
        rises = float(empirical.diff()[:lowest].clamp(min=0).sum())
        drift = empirical - empirical[0] - population + population[0]
        yield {
            "what": "trial", "trial": trial,
            "roughness": rises / fall if fall > 0 else None,  # so few samples may lead uphill from the start
            "falls": bool(empirical[lowest] < empirical[0]),
            "off": float(drift.square().mean().sqrt() / population[0]),
        }  # fmt: skip
        for t, a, b in zip(steps.tolist(), empirical.tolist(), population.tolist(), strict=True):
            if trial == 0:
                yield {"what": "curve", "step": t, "empirical": a, "population": b}


def gaussian(settings: Settings, purpose: str, *shape: int) -> Tensor:
    """Standard normal numbers of a task, its own by ``seed``, ``purpose`` and ``number``."""
    return torch.from_numpy(stream(settings["seed"], purpose, settings["number"]).standard_normal(shape))


def with_spurious(seed: int, number: int) -> Problem:
    """The first problem that has a spurious minimizer with a push: m 2 to 6, n = 4."""
    for again in range(1000):
        problem = Problem.drawn(m=2 + number % 5, n=4, seed=seed + 1000 * (number + 1) + again)
        if critical.exists(problem.v_star) and problem.v_star.sum().abs() > 0.3 * problem.v_star.norm():
            return problem
    raise ArithmeticError("no teacher with a spurious minimizer in 1000 draws")
