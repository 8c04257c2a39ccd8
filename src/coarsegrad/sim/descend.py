"""Coarse gradient descent on samples: the finite-sample twin of ``theory.descend``."""

from collections.abc import Iterable

from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem import Descent, Problem, Window
from coarsegrad.problem.descent import checked_start
from coarsegrad.problem.descent import descend as follow
from coarsegrad.sim.hidden import step
from coarsegrad.sim.samples import samples

METHODS = ("auto", "direct")


def descend(
    problem: Problem,
    surrogate: Surrogate,
    *,
    runs: int,
    steps: int,
    step_size: float,
    seed: int,
    start: tuple[Tensor, Tensor] | None = None,
    record: Iterable[int] | None = None,
    window: Window | None = None,
    method: str = "auto",
    memory: float = 2**28,
) -> Descent:
    """Full-batch coarse gradient descent of ``runs`` students, each on its own ``problem.samples`` samples.

    Args:
        problem: with ``samples``; a teacher of all runs, or one for each.
        surrogate: any, also one that looks at the upstream gradient; also your own.
        runs: how many; run k's start, data and noise depend on ``seed`` and k alone.
        steps: of the descent.
        step_size: of both layers.
        seed: a whole number that is not negative.
        start: (v ``[runs, m]``, w ``[runs, n]``) in place of ``problem.starts(runs, seed)``.
        record: the steps at which loss, angle and |w| are kept; by default the first and the last.
        window: where a step counts as inside.
        method: ``direct``, batched autograd with the data in memory; ``auto`` takes the fastest that applies.
        memory: bytes of samples held at a time; runs are taken in groups that fit, at least one at a time.

    The losses are those on the samples. Raises ``ValueError`` with the mend for what cannot be run. Yin et
    al. 2019, arXiv:1903.05662, Algorithm 1; Jeong, Xin & Yin 2025, arXiv:2505.18113.

    >>> from coarsegrad.core.surrogates import ReLU
    >>> problem = Problem.drawn(m=2, n=3, seed=1, samples=500)
    >>> end = descend(problem, ReLU(), runs=2, steps=40, step_size=0.5, seed=0)
    >>> end.loss.shape, bool((end.loss[1] < end.loss[0]).all()), end.method
    (torch.Size([2, 2]), True, 'direct')
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; known: {', '.join(METHODS)}")
    if problem.samples is None:
        raise ValueError("sim.descend needs Problem(samples=...); the population's descent is theory.descend")
    problem.check_runs(runs)
    start = checked_start(problem, problem.starts(runs, seed) if start is None else start)
    if len(start[0]) != runs:
        raise ValueError(f"runs={runs}, but start=(v, w) has {len(start[0])}; say as many")
    size = problem.samples * problem.m * problem.n * start[0].element_size()
    group = max(1, int(memory // size))
    kept = None if record is None else tuple(record)
    parts = []
    for first in range(0, runs, group):
        some = slice(first, min(first + group, runs))
        part = problem.some(some)
        z, labels = samples(part, seed, range(runs)[some])

        def field(v, w, labels=labels, z=z):
            return step(
                v, w, labels, z, surrogate, activation=problem.activation, batch_norm=problem.batch_norm
            )

        parts.append(
            follow(
                part, field, (start[0][some], start[1][some]),
                steps=steps, step_size=step_size, record=kept, window=window, method="direct",
            )
        )  # fmt: skip
    return Descent.joined(parts)
