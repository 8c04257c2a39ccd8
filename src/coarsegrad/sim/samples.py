"""The samples of a run: its inputs Z and its labels, from ``seed`` and the run's number alone."""

import numpy as np
import torch
from torch import Tensor

from coarsegrad.problem import Problem, stream
from coarsegrad.problem.laws import STANDARD
from coarsegrad.sim.hidden import output
from coarsegrad.sim.normals import Normals


def fill(problem: Problem, seed: int, run: int, z: np.ndarray) -> None:
    """Write the run's inputs into ``z`` ``[N, m, n]``; ``ValueError`` where the law leaves it unfinished."""
    if problem.inputs == STANDARD:
        Normals(seed, "data", run).fill(z)
        return
    z.reshape(-1)[-1] = np.nan  # what a law leaves is not to be taken for a sample
    problem.inputs.fill(stream(seed, "data", run), z)
    if not np.isfinite(z.sum()):
        raise ValueError(
            f"{problem.inputs}.fill(draw, out) must write finite numbers into all of out, in place"
        )


def noise(problem: Problem, seed: int, run: int) -> np.ndarray:
    """What is added to the run's labels, ``[N]``, float64."""
    if not problem.noise:
        return np.zeros(problem.samples or 0)
    return problem.noise * stream(seed, "noise", run).standard_normal(problem.samples or 0)


def samples(problem: Problem, seed: int, runs: range) -> tuple[Tensor, Tensor]:
    """Z ``[runs, N, m, n]`` and the labels ``[runs, N]`` of these runs."""
    z = torch.empty(len(runs), problem.samples or 0, problem.m, problem.n, dtype=problem.v_star.dtype)
    for place, run in zip(z.numpy(), runs, strict=True):
        fill(problem, seed, run, place)
    z = z.to(problem.v_star.device)
    labels = output(
        problem.v_star, problem.w_star, z, activation=problem.activation, batch_norm=problem.batch_norm
    )
    if problem.noise:
        labels = labels + torch.from_numpy(np.stack([noise(problem, seed, run) for run in runs])).to(labels)
    return z, labels
