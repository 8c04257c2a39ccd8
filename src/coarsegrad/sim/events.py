"""The gradient of each new sign pattern from stored data: only what the flipped signs changed is touched.

Flipped columns change the pre-activations (``kernels.move``); rows that have come to pass the window, or to
be stopped, change their sample's part of the gradient (``kernels.alone``); samples with residual 0 cost
nothing. All sums are taken afresh now and then.
"""

from typing import Any

import numpy as np
import torch

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem import Problem
from coarsegrad.sim import kernels
from coarsegrad.sim.plan import width
from coarsegrad.sim.samples import fill, noise


class Events:
    """A ``Source``: one run's data, in the array that is passed in. ``problem`` is of one teacher."""

    def __init__(self, problem: Problem, surrogate: Surrogate, seed: int, run: int, data: np.ndarray):
        self.surrogate, self.both, self.m = surrogate, problem.trained == "both", problem.m
        fill(problem, seed, run, data)
        self.z, self.v, self.w_star = (
            data.reshape(-1, problem.n),
            problem.v_star.numpy(),
            problem.w_star.numpy(),
        )
        kind, rows = self.z.dtype, len(self.z)
        self.unit = problem.shown(torch.ones_like(problem.w_star)).numpy()
        self.x, self.rest, self.labels = np.empty(rows, kind), *np.empty((2, len(data)), kind)
        kernels.forward(self.z, self.w_star, self.x)
        kernels.heads(self.x, self.v, noise(problem, seed, run).astype(kind), self.labels)
        self.shown, self.total = self.w_star.copy(), np.zeros_like(self.w_star)
        self.sums, self.sent = np.zeros(2, np.int64), np.empty(rows, kind)
        self.rows, self.by = np.empty(rows + 1, np.int32), np.empty(rows + 1, kind)

    @property
    def close(self) -> int:
        """Pre-activations within 1e-12 of 0 that were met."""
        return int(self.sums[1])

    @property
    def compiled(self) -> tuple[Any, ...] | None:
        """What ``kernels.alone`` needs beside the walk, where it can do without Python."""
        if self.both or self.surrogate.passes is None:
            return None
        passes, samples = np.empty(len(self.z), np.bool_), len(self.labels)
        parts, open_rows = np.empty((samples, len(self.w_star)), self.z.dtype), np.empty(samples, np.int32)
        data = (
            self.z, self.unit, self.w_star, self.shown, self.x, self.v, self.labels, self.rest, passes,
            parts, open_rows, self.rows, self.by, self.total, self.sums,
        )  # fmt: skip
        return data, *self.surrogate.passes

    def value(self, negative: np.ndarray) -> np.ndarray:
        """The coarse gradient at these signs, or with v trained the tensors of all its gradients."""
        kernels.move(self.z, negative, self.unit, self.w_star, self.shown, self.x, self.sums)
        self.sums[1] += kernels.residuals(self.x, self.v, self.labels, self.rest)
        if self.both:
            return self._tensors() / len(self.labels)
        send(self.surrogate, self.x, self.v, self.rest, self.sent)
        count = kernels.nonzero(self.sent, self.rows, self.by)
        self.total[:] = 0
        kernels.backward(self.z, self.rows[:count], self.by[:count], self.total)
        return self.total / len(self.labels)

    def _tensors(self) -> np.ndarray:
        send(self.surrogate, self.x, np.ones_like(self.v), np.ones_like(self.rest), self.sent)
        out = np.zeros(width(self.m, self.z.shape[1], both=True), self.z.dtype)
        kernels.tensors(self.z, self.x, self.sent, self.labels, self.m, out)
        return out


def send(surrogate: Surrogate, x: np.ndarray, v: np.ndarray, rest: np.ndarray, out: np.ndarray) -> None:
    """What arrives at each pre-activation x ``[N m]`` where the residuals are ``rest`` ``[N]``."""
    if surrogate.passes is not None:
        kernels.window(x, v, rest, *surrogate.passes, out)
    else:
        upstream = torch.from_numpy(np.multiply.outer(rest, v)).reshape(1, -1)
        out[:] = surrogate.pullback(upstream, torch.from_numpy(x)[None])[0].numpy()
