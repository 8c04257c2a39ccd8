"""The gradient of each new sign pattern through a batch norm, from stored data: the direct way's own, once.

A flipped sign moves mean and variance, and by them what every row sends back, so nothing is kept of the
pattern before.
"""

import numpy as np
import torch

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem import Problem
from coarsegrad.sim.hidden import before, output, step
from coarsegrad.sim.outcome import TIE
from coarsegrad.sim.samples import fill, noise


class BatchNormed:
    """A ``Source``: one run's data, in the array that is passed in. One teacher, v fixed."""

    compiled = None

    def __init__(self, problem: Problem, surrogate: Surrogate, seed: int, run: int, data: np.ndarray):
        self.problem, self.surrogate, self.close = problem, surrogate, 0
        fill(problem, seed, run, data)
        self.z = torch.from_numpy(data)
        self.labels = output(problem.v_star, problem.w_star, self.z, batch_norm=True)
        self.labels += torch.from_numpy(noise(problem, seed, run)).to(self.labels)

    def value(self, negative: np.ndarray) -> np.ndarray:
        """The coarse gradient at these signs."""
        w = self.problem.shown(torch.from_numpy(np.where(negative, -1, 1)).to(self.z))
        self.close += int((before(w, self.z, batch_norm=True).abs() < TIE).sum())
        found = step(self.problem.v_star, w, self.labels, self.z, self.surrogate, batch_norm=True)
        return found[2].numpy()
