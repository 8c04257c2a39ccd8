"""Classification on subspaces: ``sim.classify``, all starts at once, beside the loop one writes in torch.

OMP_NUM_THREADS=2 python benchmarks/subspaces.py [--small] [--only relu,...] [--rounds 3] [--json FILE]
python benchmarks/subspaces.py --table FILE  # the table of such a file

The paper's problem (two planes at 90 degrees, 880 points each, k = 24, 2 bits), 100 starts. A run ends at
zero loss, in every arm, or after ``STEPS``. Arms take turns in one process (rounds, median): the loop, start
by start, with one and with two of torch's threads, in float64 and, for what a smaller type would gain, in
float32; and ``sim.classify`` with one and with two threads. The loop is timed on the first starts; times are
per step made of one start. *Times* is over the faster float64 loop; *apart*, how far both ends are, at most.
"""

import argparse
import json
import statistics
import time

import torch

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.problem.subspaces import Subspaces
from coarsegrad.sim import classify

STEPS, RUNS, LOOPED = 400, 100, 3
PAPERS = ("relu", "reverse_exponential", "log_tailed_relu")


class Staircase(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h, top, surrogate):
        ctx.save_for_backward(h)
        ctx.surrogate = surrogate
        return h.ceil().clamp(0, top)

    @staticmethod
    def backward(ctx, upstream):  # pyright: ignore
        (h,) = ctx.saved_tensors
        arrived = ctx.surrogate.pullback(upstream.reshape(1, -1), h.reshape(1, -1))
        return arrived.view_as(h), None, None


def loop(problem, surrogate, starts, dtype):
    """One start after the other; returns the ends and the number of steps made."""
    radii = torch.tensor(problem.radii, dtype=torch.float64)
    x = (problem.x[:, None] * radii[:, None]).flatten(0, 1).to(dtype)
    label = problem.labels.flatten()[:, None]
    v = problem.v * torch.nn.functional.one_hot(problem.served).to(dtype)  # [k, classes]
    ends, made = [], 0
    for start in starts:
        w = start.to(dtype, copy=True).requires_grad_()
        for _ in range(STEPS):
            output = Staircase.apply(x @ w.T, problem.top, surrogate) @ v
            right = output.gather(1, label)
            rival = output.scatter(1, label, -torch.inf).amax(1, keepdim=True)
            loss = torch.relu(1 - right + rival).mean()
            if loss == 0:
                break
            loss.backward()
            with torch.no_grad():
                w -= w.grad
                w.grad = None
            made += 1
        ends.append(w.detach())
    return torch.stack(ends), made


def engine(problem, surrogate, starts, threads):
    found = classify(
        problem, surrogate, runs=len(starts), steps=STEPS, step_size=1.0, seed=0, start=starts,
        threads=threads,
    )  # fmt: skip
    return found.w, int(torch.where(found.solved, found.steps, STEPS).sum()), found


def timed(arm, *given):
    began = time.perf_counter()
    found = arm(*given)
    return (time.perf_counter() - began) / found[1] * 1e6, found


def measured(name, problem, starts, rounds, looped):
    """A row per arm."""
    surrogate = SURROGATES[name]().over([float(i) for i in range(int(problem.top) + 1)])
    arms = {
        "loop, 1 thread": (1, loop, (starts[:looped], torch.float64)),
        "loop, 2 threads": (2, loop, (starts[:looped], torch.float64)),
        "loop, float32, 1 thread": (1, loop, (starts[:looped], torch.float32)),
        "classify, 1 thread": (1, engine, (starts, 1)),
        "classify, 2 threads": (2, engine, (starts, 2)),
    }
    engine(problem, surrogate, starts[:2], 1)  # compiles
    turns = {arm: [] for arm in arms}
    found = {}
    for _ in range(rounds):
        for arm, (threads, how, given) in arms.items():
            torch.set_num_threads(threads)
            microseconds, found[arm] = timed(how, problem, surrogate, *given)
            turns[arm].append(microseconds)
    one, two = (found[f"classify, {n}"] for n in ("1 thread", "2 threads"))
    assert torch.equal(one[0], two[0])
    apart = float((one[0][:looped] - found["loop, 1 thread"][0]).abs().max())
    told = {arm: statistics.median(several) for arm, several in turns.items()}
    best = min(told["loop, 1 thread"], told["loop, 2 threads"])
    return [
        {"surrogate": name, "arm": arm, "us_per_step": us, "times": best / us, "apart": apart,
         "solved": int(one[2].solved.sum()), "runs": len(starts), "steps": one[1], "method": one[2].method}
        for arm, us in told.items()
    ]  # fmt: skip


def table(rows):
    """Markdown: a row a surrogate."""
    lines = [
        "| surrogate | at zero loss | loop, us a step | float32 | classify, 1 thread | 2 threads | "
        "times, 1 thread | 2 threads | apart |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(row["surrogate"] for row in rows):
        by = {row["arm"]: row for row in rows if row["surrogate"] == name}
        one, two = by["classify, 1 thread"], by["classify, 2 threads"]
        loop_us = min(by[f"loop, {n}"]["us_per_step"] for n in ("1 thread", "2 threads"))
        lines.append(
            f"| {name} | {one['solved']} of {one['runs']} | {loop_us:.0f} | "
            f"{by['loop, float32, 1 thread']['us_per_step']:.0f} | {one['us_per_step']:.1f} | "
            f"{two['us_per_step']:.1f} | {one['times']:.1f} | {two['times']:.1f} | {one['apart']:.0e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rest = [name for name in SURROGATES if name not in PAPERS]
    parser.add_argument("--small", action="store_true", help="a few starts, to see that it runs")
    parser.add_argument("--only", default=",".join([*PAPERS, *rest]), help="surrogates, by name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--table", help="print the rows of this file as a table, and measure nothing")
    given = parser.parse_args()
    if given.table:
        with open(given.table) as file:
            print(table(json.load(file)["rows"]))
        raise SystemExit
    problem, rows = Subspaces(), []
    starts = problem.starts(8 if given.small else RUNS, seed=0)
    for name in given.only.split(","):
        rows += measured(name, problem, starts, given.rounds, 1 if given.small else LOOPED)
        print(table(rows[-5:]).splitlines()[-1], flush=True)
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"rows": rows, "points": problem.points, "k": problem.neurons}, file, indent=1)
