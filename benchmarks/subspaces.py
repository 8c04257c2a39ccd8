"""Classification on subspaces: all starts side by side against a loop over the starts.

OMP_NUM_THREADS=2 python benchmarks/subspaces.py [--runs 100] [--steps 100] [--looped 4]

The loop is autograd through ``core``, a start at a time, on torch's threads; it is measured on fewer starts
and told per start and step. Every run makes all the steps: they are fewer than any needs.
"""

import argparse
import time

import torch

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.problem.subspaces import Subspaces
from coarsegrad.sim import classify

SURROGATE_NAMES = ("relu", "log_tailed_relu", "reverse_exponential", "arctan")


def microseconds(problem, surrogate, starts, steps, method):
    """Per start and step; the results, which the caller compares."""
    began = time.perf_counter()
    parts = [
        classify(
            problem,
            surrogate,
            runs=len(start),
            steps=steps,
            step_size=0.05,
            seed=0,
            start=start,
            method=method,
        )
        for start in starts
    ]
    made = sum(steps * len(start) for start in starts)
    return (time.perf_counter() - began) / made * 1e6, torch.cat([part.w for part in parts])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("runs", 100), ("steps", 100), ("looped", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    problem = Subspaces()
    levels = [float(i) for i in range(int(problem.top) + 1)]
    start = problem.starts(given.runs, seed=0)
    size = f"{problem.points} points, k = {problem.neurons}, {given.runs} starts"
    print(f"{size}, {torch.get_num_threads()} threads")
    for name in SURROGATE_NAMES:
        surrogate = SURROGATES[name]().over(levels)
        microseconds(problem, surrogate, [start[:2]], 2, "auto")  # compiles
        fast, ends = microseconds(problem, surrogate, [start], given.steps, "auto")
        slow, said = microseconds(problem, surrogate, start[: given.looped].split(1), given.steps, "direct")
        torch.testing.assert_close(ends[: given.looped], said, rtol=1e-6, atol=1e-8)
        print(
            f"{name}: loop {slow:.0f} us, side by side {fast:.1f} us per start and step: {slow / fast:.0f}x"
        )
