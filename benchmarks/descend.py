"""The time of 10,000 starts x 5,000 steps x 3 surrogates on the population, every end point classified.

OMP_NUM_THREADS=2 python benchmarks/descend.py [--runs 10000] [--steps 5000] [--m 6] [--n 5]
"""

import argparse
import time

import torch

from coarsegrad.core.surrogates import ClippedReLU, Identity, ReLU
from coarsegrad.problem import Problem
from coarsegrad.theory import critical
from coarsegrad.theory.descend import descend

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("runs", 10_000), ("steps", 5_000), ("m", 6), ("n", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    problem = Problem.drawn(m=given.m, n=given.n, seed=3)
    began = time.perf_counter()
    start = problem.starts(given.runs, seed=0)
    print(f"{given.runs} starts: {time.perf_counter() - began:.2f} s; spurious minimizers exist: "
          f"{bool(critical.exists(problem.v_star))}")  # fmt: skip
    for surrogate in (Identity(), ReLU(), ClippedReLU()):
        since = time.perf_counter()
        end = descend(problem, surrogate, start=start, steps=given.steps, step_size=0.05)
        ran = time.perf_counter() - since
        found = critical.classify(end.v, end.w, problem.v_star, problem.w_star, tolerance=1e-3)
        shares = torch.bincount(found.kind, minlength=len(critical.KINDS)).tolist()
        ends = ", ".join(f"{k} {n}" for k, n in zip(critical.KINDS, shares, strict=True))
        print(f"{surrogate.name}: {ran:.1f} s, with classes {time.perf_counter() - since:.1f} s: {ends}")
    print(f"all: {time.perf_counter() - began:.1f} s on {torch.get_num_threads()} thread(s)")
