r"""Coarse gradient descent on the population loss, exactly: Algorithm 1 of Yin et al. 2019, arXiv:1903.05662.

Z is rotation invariant, so a step moves w in the plane of w and w_star, and v within the span of its start,
v_star and 1. So four numbers a run say everything: \(v = \alpha v_0 + \beta v^* + \gamma 1\), alpha being
the same for all, and w by its coordinates (a, b) along w_star and across. A step costs the same for any m
and n.
"""

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem import Descent, Problem, Window
from coarsegrad.problem.descent import Watch, checked_start, checked_step
from coarsegrad.problem.descent import descend as follow
from coarsegrad.problem.laws import STANDARD
from coarsegrad.theory import general, hidden
from coarsegrad.theory.gauss import THRESHOLD, Staircase, _slope_moments, plain

METHODS = ("auto", "reduced", "full")
_GROUP = 4096  # a group's numbers stay in the cache


def descend(
    problem: Problem,
    surrogate: Surrogate,
    *,
    start: tuple[Tensor, Tensor],
    steps: int,
    step_size: float,
    record: Iterable[int] | None = None,
    window: Window | None = None,
    method: str = "auto",
) -> Descent:
    """Descent from each start against the expected gradient in v and the expected coarse gradient in w.

    Args:
        problem: its ``samples`` and ``noise`` do not matter here: they leave the expectations as they are.
            For inputs other than standard normal w and w_star are binary, the surrogate is the identity or
            the ReLU, and the law one that ``theory.general`` knows.
        surrogate: one that has a slope; also your own. Without declared ``passes`` each step integrates.
        start: (v ``[runs, m]``, w ``[runs, n]``), as ``problem.starts(runs, seed)`` draws them.
        steps: of the descent.
        step_size: of both layers.
        record: the steps at which loss, angle and |w| are kept; by default the first and the last.
        window: where a step counts as inside.
        method: ``reduced``, the few numbers a run, for float weights, the threshold and starts off w = 0;
            ``full``, through ``theory.hidden``, for all; ``auto`` takes the first that applies.

    Where a run ended, ``critical.classify`` tells; one that diverged is not finite, and ``undefined`` there.
    Raises ``ValueError`` with the mend for what cannot run.

    >>> from coarsegrad.core.surrogates import ReLU
    >>> problem = Problem.drawn(m=2, n=3, seed=1)
    >>> end = descend(problem, ReLU(), start=problem.starts(4, seed=0), steps=400, step_size=0.1)
    >>> end.loss.shape, bool((end.loss[1] < end.loss[0]).all()), end.method
    (torch.Size([2, 4]), True, 'reduced')
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; known: {', '.join(METHODS)}")
    if problem.inputs != STANDARD and (problem.weights == "float" or problem.activation is not None):
        raise ValueError(
            f"theory.descend knows standard normal inputs, not {problem.inputs}, unless weights are binary "
            "and the activation is the threshold; sim.descend samples any law"
        )
    if problem.batch_norm:
        raise ValueError("theory.descend knows no batch norm; sim.descend samples it")
    start = checked_start(problem, start)
    off_origin = bool(start[1].ne(0).any(-1).all())
    few = problem.weights == "float" and problem.activation is None and off_origin
    if method == "reduced" and not few:
        raise ValueError(
            'method="reduced" is for float weights, the threshold and starts off w = 0; use method="full"'
        )
    one = _full if method == "full" or not few else _reduced
    kept = None if record is None else tuple(record)
    parts = []
    for first in range(0, len(start[0]), _GROUP):
        some = slice(first, first + _GROUP)
        parts.append(
            one(
                problem.some(some), surrogate, (start[0][some], start[1][some]),
                steps=steps, step_size=step_size, record=kept, window=window,
            )
        )  # fmt: skip
    return Descent.joined(parts)


def _full(problem: Problem, surrogate: Surrogate, start: tuple[Tensor, Tensor], **how) -> Descent:
    teacher, staircase = (problem.v_star, problem.w_star), THRESHOLD
    if problem.activation is not None:
        quantizer = cast(Quantizer, problem.activation)
        staircase = Staircase.of(quantizer, **quantizer.fit(problem.w_star))

    def field(v, w):
        if problem.inputs != STANDARD:
            return general.field(v, w, *teacher, surrogate, problem.inputs)
        loss = hidden.loss(v, w, *teacher, activation=staircase)
        dv, _ = hidden.gradient(v, w, *teacher, activation=staircase)
        return loss, dv, hidden.coarse_gradient(v, w, *teacher, surrogate, activation=staircase)

    return follow(problem, field, start, method="full", **how)


def _reduced(
    problem: Problem,
    surrogate: Surrogate,
    start: tuple[Tensor, Tensor],
    *,
    steps: int,
    step_size: float,
    record: Iterable[int] | None,
    window: Window | None,
) -> Descent:
    (v, w), v_star, w_star, m = start, problem.v_star, problem.w_star, problem.m
    surrogate = plain(surrogate)
    step_size, watch = checked_step(step_size), Watch(problem, steps, record, window)
    h = step_size / 4 if problem.trained == "both" else 0.0
    size, total = v_star.square().sum(-1), v_star.sum(-1)
    r0, q0, p0 = v.square().sum(-1), (v * v_star).sum(-1), v.sum(-1)
    teacher_loss = size + total.square()
    a = (w * w_star).sum(-1)
    side = w - a[:, None] * w_star
    b = torch.linalg.vector_norm(side, dim=-1)
    side = side / torch.where(b > 0, b, 1.0)[:, None]
    alpha, beta, gamma = 1.0, torch.zeros_like(a), torch.zeros_like(a)
    for step in range(steps + 1):
        p = alpha * p0 + beta * total + gamma * m  # 1^T v
        q = alpha * q0 + beta * size + gamma * total  # v^T v_star
        r = alpha * (alpha * r0 + beta * q0 + gamma * p0) + beta * q + gamma * p  # |v|^2
        across, norm = b.abs(), torch.hypot(a, b)
        theta = torch.atan2(across, a)
        kappa = 1 - theta * (2 / math.pi)
        rest = total - p
        loss = (r - 2 * kappa * q + p * (p - 2 * total) + teacher_loss) / 8
        watch.see(step, loss, theta, norm)
        if step == steps:
            break
        along_u, along_star = _direction(surrogate, a, across, norm, r, q, (p * (p - total) - r + q) / 2)
        shrink = 1 - step_size * along_u / norm.clamp(min=torch.finfo(norm.dtype).tiny)
        a, b = a * shrink - step_size * along_star, b * shrink
        alpha, beta, gamma = (1 - h) * alpha, (1 - h) * beta + h * kappa, (1 - h) * gamma + h * rest
    v = alpha * v + beta[:, None] * v_star + gamma[:, None]
    return watch.close(v, a[:, None] * w_star + b[:, None] * side, "reduced")


def _direction(surrogate, a, across, norm, r, q, pairs):
    """The expected coarse gradient as its coefficients of w/|w| and w_star (``hidden.coarse_gradient``)."""
    size = norm.clamp(min=torch.finfo(norm.dtype).tiny)
    moments = _slope_moments(surrogate, norm, a / size, across / size, torch.ones_like(norm), THRESHOLD)
    if surrogate.passes is None:
        hidden._settled(moments, surrogate)
    return r * moments.own + pairs * moments.lone - q * moments.student, -q * moments.teacher
