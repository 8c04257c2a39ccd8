"""Do students with binary weights find their teacher? The one call, and the three ways to compute it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import Identity
from coarsegrad.problem import Problem
from coarsegrad.problem.descent import checked_record, checked_start, checked_step
from coarsegrad.sim.direct import direct
from coarsegrad.sim.outcome import Recovery
from coarsegrad.sim.plan import MEMORY, Plan, plan, width


def recover(
    problem: Problem,
    surrogate: Surrogate,
    *,
    runs: int,
    steps: int,
    step_size: float,
    seed: int,
    start: tuple[Tensor, Tensor] | None = None,
    record: Iterable[int] = (),
    weight: Surrogate | None = None,
    batch: int | None = None,
    method: str = "auto",
    memory: float = MEMORY,
    threads: int | None = None,
) -> Recovery:
    """Coarse gradient descent on latent weights whose signs the network uses; what became of each run.

    Args:
        problem: with ``samples`` and ``weights="binary"``; a teacher of all runs, or one for each.
        surrogate: of the activation; any, also your own.
        runs: how many; run k's start, data and noise depend on ``seed`` and k alone.
        steps: at least 1.
        step_size: of the latents, and of v where it is trained.
        seed: a whole number that is not negative.
        start: (v ``[runs, m]``, latent w ``[runs, n]``) in place of ``problem.starts(runs, seed)``.
        record: the steps at which the signs are kept.
        weight: the weights' own estimator, at the latent itself: by default ``Identity()``; ``HardTanh()``
            stops a latent that has left (-1, 1).
        batch: samples a step, whole batches of a fresh order in every epoch; None for all of them.
        method: ``direct``, batched autograd, the oracle; ``events``, the same trajectory, a gradient for each
            new sign pattern; ``matrix_free``, the same in distribution, for standard normal inputs and a
            fixed v; ``auto`` takes the fastest that applies, and the outcome says which and why.
        memory: bytes for samples, images and kept patterns, of all runs at a time.
        threads: at work at a time; by default torch's. The outcome is the same, bit for bit, for any number.

    Raises ``ValueError`` with the mend for what cannot run, or does not fit. Jeong, Xin & Yin 2025,
    arXiv:2505.18113.

    >>> from coarsegrad.core.surrogates import ReLU
    >>> problem = Problem.drawn(m=4, n=10, seed=0, samples=200, trained="w", weights="binary")
    >>> found = recover(problem, ReLU(), runs=3, steps=200, step_size=0.3, seed=0, method="direct")
    >>> found.last.tolist(), found.visits.tolist()
    ([True, True, True], [1, 1, 1])
    """
    weight, recorded = weight or Identity(), checked_record(steps, record)
    for name, given in (("surrogate", surrogate), ("weight", weight)):
        if not isinstance(given, Surrogate):
            raise ValueError(f"{name}={given!r} is no surrogate; give an object, such as ReLU()")
    step_size, start = checked_step(step_size), _checked(problem, runs, steps, seed, start, batch, threads)
    way = plan(
        problem, surrogate, steps=steps, weight=weight, batch=batch, method=method, memory=memory,
        record=len(recorded),
    )  # fmt: skip
    problem, at_once = _on_corners(problem), max(1, int(memory // way.size))
    if way.method == "direct":
        parts = []
        for first in range(0, runs, at_once):
            some = range(first, min(first + at_once, runs))
            part = slice(some.start, some.stop)
            parts.append(
                direct(
                    problem.some(part), surrogate, (start[0][part], start[1][part]), seed, some,
                    steps=steps, step_size=step_size, recorded=recorded, weight=weight, batch=batch,
                    why=way.why,
                )
            )  # fmt: skip
        return Recovery.joined(parts)
    threads = threads or torch.get_num_threads()
    how = dict(steps=steps, step_size=step_size, recorded=recorded, window=weight.passes)
    return _told(problem, _walked(problem, surrogate, start, seed, way, how, threads, at_once))


def _walked(problem, surrogate, start, seed, way: Plan, how, threads: int, at_once: int) -> Recovery:
    """The runs beside each other; or, where only one has room, its data shared among the threads."""
    from coarsegrad.sim.batch_norm import BatchNormed
    from coarsegrad.sim.events import Events
    from coarsegrad.sim.matrix_free import MatrixFree
    from coarsegrad.sim.walk import Walk

    both, (v, w), runs = problem.trained == "both", start, len(start[0])
    walk = Walk(trained=both, slots=way.slots, width=width(problem.m, problem.n, both=both), **how)
    shape, kind = (problem.samples, problem.m, problem.n), v.numpy().dtype
    beside, stored = min(threads, runs, at_once), BatchNormed if problem.batch_norm else Events
    data: SimpleQueue[np.ndarray] = SimpleQueue()
    for _ in range(beside if way.method == "events" else 0):
        data.put(np.empty(shape, kind))

    def one(k: int) -> Recovery:
        own = problem.of(k)
        given = dict(method=way.method, why=way.why)
        if way.method == "matrix_free":
            source = MatrixFree(own, surrogate, seed, k, way.most, each, hands)
            return walk.follow(source, v[k], w[k], own.w_star < 0, **given)
        z = data.get()
        try:
            return walk.follow(stored(own, surrogate, seed, k, z), v[k], w[k], own.w_star < 0, **given)
        finally:
            data.put(z)

    with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
        each, hands = (map, 1) if pool is None or beside > 1 else (pool.map, threads)
        return Recovery.joined(list((pool.map if pool and beside > 1 else map)(one, range(runs))))


def _told(problem: Problem, found: Recovery) -> Recovery:
    """With a word on how the gain ended, where it did."""
    changes, gradients = int(found.changes.sum()), int(found.gradients.sum())
    why = found.why
    if problem.noise and found.method == "events" and changes and 2 * (gradients - len(found.w)) > changes:
        why += f"; patterns rarely recurred ({gradients} gradients for {changes} changes): the gain ends here"
    if found.capped.any():
        why += f"; {int(found.capped.sum())} of {len(found.w)} runs ended where memory did (capped)"
    return replace(found, why=why)


def _on_corners(problem: Problem) -> Problem:
    """A teacher that is binary but for rounding, made so bit for bit; then its own images repeat exactly."""
    shown = problem.shown(problem.w_star)
    return replace(problem, w_star=shown) if torch.allclose(shown, problem.w_star, rtol=1e-5) else problem


def _checked(problem, runs, steps, seed, start, batch, threads) -> tuple[Tensor, Tensor]:
    if problem.weights != "binary":
        raise ValueError('sim.recover needs Problem(weights="binary"); sim.descend is for float weights')
    if problem.samples is None:
        raise ValueError("sim.recover needs Problem(samples=...); the population's descent is theory.descend")
    if steps < 1:
        raise ValueError("steps=0 leaves no iterate to average; say steps=1 at least")
    if batch is not None and not (type(batch) is int and 1 <= batch <= problem.samples):
        raise ValueError(f"batch=... is a whole number from 1 to {problem.samples} samples, got {batch!r}")
    if threads is not None and not (type(threads) is int and threads >= 1):
        raise ValueError(f"threads=... is a whole number of at least 1, got {threads!r}")
    problem.check_runs(runs)
    start = checked_start(problem, problem.starts(runs, seed) if start is None else start)
    if len(start[0]) != runs:
        raise ValueError(f"runs={runs}, but start=(v, w) has {len(start[0])}; say as many")
    if problem.trained == "w" and bool((start[0] != problem.v_star).any()):
        raise ValueError('start=(v, w): Problem(trained="w") gives the student the teacher\'s v; start there')
    return start
