"""What a recovery costs, beside the loop one would write in PyTorch and a gradient by hand on BLAS.

OMP_NUM_THREADS=2 python benchmarks/engine.py [--small] [--only short,wide,...] [--rounds 3] [--json FILE]
python benchmarks/engine.py --table FILE  # the tables of docs/recovery.md from such a file

All arms of a setting take turns in one process (rounds, median), on the same number of threads, and draw
their own data within the time. ReLU, m rows, |v| = 1. Arms: ``autograd`` (float32, run by run), ``blas``
(NumPy float32, run by run), and ``sim.recover`` with float64 and float32. ``stop``: the baselines end at
recovery; else they make every step. The engine is asked for every step; where nothing moves any more it knows
the rest. For a long descent the baselines are timed on their first steps. ``beyond``: without the time to
draw the data.
"""

import argparse
import json
import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue

import numpy as np
import torch

from coarsegrad import sim
from coarsegrad.core.surrogates import ReLU
from coarsegrad.problem import Problem
from coarsegrad.sim.samples import fill

STEP = 0.3
SETTINGS = {  # name: n, m, N, T, noise, step, runs, steps of the baselines (0: not run)
    "short": (50, 8, 2000, 200, 0.0, STEP, 20, 200),
    "wide": (1000, 4, 16_000, 120, 0.0, STEP, 1, 120),
    "huge": (10_000, 4, 200_000, 120, 0.0, STEP, 1, 0),
    "peak": (1000, 4, 10**6, 120, 0.0, STEP, 1, 0),
    "noisy": (20, 4, 2000, 10**6, 0.1, 0.01, 2, 500),
    "hard": (50, 4, 10_000, 10**6, 0.3, 0.01, 2, 100),
}
GROWTH = {  # one of n, m, N, T and the noise s at a time
    "n": [(n, 4, 2000, 200, 0.0, STEP) for n in (10, 30, 100, 300)],
    "m": [(50, m, 2000, 200, 0.0, STEP) for m in (1, 4, 16)],
    "N": [(50, 4, samples, 200, 0.0, STEP) for samples in (500, 2000, 8000, 32_000)],
    "T": [(50, 4, 200, steps, 0.0, STEP) for steps in (100, 1000, 10_000)],
    "s": [(20, 4, 2000, 100_000, noise, 0.01) for noise in (0.03, 0.1, 0.3, 1.0)],
}


def small(setting):
    """The same at a hundredth of the work, to see that it runs."""
    n, m, samples, steps, noise, step, runs, baseline = setting
    return min(n, 100), m, min(samples, 500), min(steps, 2000), noise, step, min(runs, 2), min(baseline, 20)


def made(n, m, samples, noise, runs):
    drawn = Problem.drawn(m=m, n=n, seed=0, trained="w", weights="binary", teachers=runs)
    v = drawn.v_star / drawn.v_star.norm(dim=-1, keepdim=True)
    return replace(drawn, v_star=v, samples=samples, noise=noise)


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u):
        return torch.where(u < 0, -1.0, 1.0) / u.numel() ** 0.5

    @staticmethod
    def backward(ctx, upstream):  # pyright: ignore
        return upstream


class Threshold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, upstream):  # pyright: ignore
        (x,) = ctx.saved_tensors
        return upstream * (x > 0)


def autograd(v, w_star, u, samples, noise, step, steps, stop):
    """The loop a researcher would write."""
    began = time.perf_counter()
    z = torch.randn(samples, len(v), len(u))
    drew = time.perf_counter() - began
    y = (z @ w_star > 0).float() @ v + noise * torch.randn(samples)
    u = u.clone().requires_grad_()
    for _ in range(steps):
        loss = (Threshold.apply(z @ Sign.apply(u)) @ v - y).square().mean() / 2
        loss.backward()
        with torch.no_grad():
            u -= step * u.grad
            u.grad = None
            if stop and torch.equal(u < 0, w_star < 0):
                break
    return drew


def blas(v, w_star, u, samples, noise, step, steps, stop):
    """The gradient by hand: two products with the data a step."""
    began = time.perf_counter()
    z = torch.randn(samples * len(v), len(u)).numpy()
    drew = time.perf_counter() - began
    v, w_star, u = v.numpy(), w_star.numpy(), u.numpy().copy()
    root = np.float32(len(u) ** 0.5)
    y = (z @ w_star > 0).reshape(samples, -1) @ v + noise * torch.randn(samples).numpy()
    for _ in range(steps):
        hidden = (z @ (np.where(u < 0, np.float32(-1), np.float32(1)) / root) > 0).reshape(samples, -1)
        rest = hidden @ v - y
        u -= np.float32(step / samples) * (((hidden * v) * rest[:, None]).astype(np.float32).ravel() @ z)
        if stop and np.array_equal(u < 0, w_star < 0):
            break
    return drew


def baseline(loop, setting, stop):
    n, m, samples, _, noise, step, runs, steps = setting
    problem, drew = made(n, m, samples, noise, runs), 0.0
    starts = problem.starts(runs, 0)[1]
    began = time.perf_counter()
    for k in range(runs):
        v, w_star, u = (t[k].float() for t in (problem.v_star, problem.w_star, starts))
        drew += loop(v, w_star, u, samples, noise, step, steps, stop)
    return {"seconds": time.perf_counter() - began, "drew": drew}


def engine(kind, setting, threads):
    n, m, samples, steps, noise, step, runs, _ = setting
    problem = made(n, m, samples, noise, runs)
    problem = replace(problem, v_star=problem.v_star.to(kind), w_star=problem.w_star.to(kind))
    problem = replace(problem, w_star=problem.shown(problem.w_star))
    began = time.perf_counter()
    end = sim.recover(problem, ReLU(), runs=runs, steps=steps, step_size=step, seed=0, threads=threads)
    seconds, drew = time.perf_counter() - began, 0.0
    if end.method == "events":
        drew = drawing(problem, runs, threads)
    return {
        "seconds": seconds, "drew": drew, "method": end.method, "last": end.last.double().mean().item(),
        "gradients": end.gradients.double().mean().item(), "changes": end.changes.double().mean().item(),
        "evictions": int(end.evictions.sum()), "capped": int(end.capped.sum()), "why": end.why,
    }  # fmt: skip


def drawing(problem, runs, threads):
    """Seconds to draw the data of all runs as the engine does: side by side, into arrays used before."""
    shape, kind = (problem.samples, problem.m, problem.n), problem.v_star.numpy().dtype
    rooms = SimpleQueue()
    for _ in range(min(threads, runs)):
        rooms.put(np.ones(shape, kind))

    def one(k):
        out = rooms.get()
        fill(problem, 0, k, out)
        rooms.put(out)

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(one, range(runs)))
        return time.perf_counter() - began


def arms(setting, threads):
    found = {
        "engine f64": lambda: engine(torch.float64, setting, threads),
        "engine f32": lambda: engine(torch.float32, setting, threads),
    }
    if setting[7]:
        for name, loop in (("autograd", autograd), ("blas", blas)):
            found[name] = lambda loop=loop: baseline(loop, setting, False)
            if not setting[4]:
                found[f"{name} stop"] = lambda loop=loop: baseline(loop, setting, True)
    return found


def measured(name, setting, rounds, threads):
    """A row an arm: medians over rounds in which the arms take turns."""
    turns = {arm: [] for arm in arms(setting, threads)}
    for _ in range(rounds):
        for arm, run in arms(setting, threads).items():
            turns[arm].append(run())
    rows, slow = [], None
    for arm in sorted(turns, key=lambda a: not a.startswith("autograd")):
        several = turns[arm]
        seconds, drew = (statistics.median(one[k] for one in several) for k in ("seconds", "drew"))
        n, m, samples, steps, noise, step, runs, few = setting
        made_steps = runs * (steps if arm.startswith("engine") else few)
        row = several[0] | dict(
            setting=name, arm=arm, n=n, m=m, N=samples, T=steps, noise=noise, step=step, runs=runs,
            seconds=seconds, drew=drew, us_per_step=1e6 * seconds / made_steps,
            us_beyond=1e6 * max(seconds - drew, 0.0) / made_steps,
        )  # fmt: skip
        slow = row if arm == "autograd" else slow
        if slow is not None:
            row["times"] = slow["us_per_step"] / row["us_per_step"]
            row["times_beyond"] = slow["us_beyond"] / max(row["us_beyond"], 1e-9)
        rows.append(row)
    return rows


def shown(row):
    told = (
        f"{row['setting']:8} {row['arm']:14} n={row['n']:<6} m={row['m']:<3} N={row['N']:<8} T={row['T']:<8} "
    )
    told += f"{row['seconds']:8.2f} s (drawing {row['drew']:6.2f})  us/step {row['us_per_step']:10.3f} "
    told += f"beyond {row['us_beyond']:10.3f}"
    if "times" in row:
        told += f"  x {row['times']:8.1f} beyond x {row['times_beyond']:8.1f}"
    if "method" in row:
        told += f"  {row['method']}: {row['gradients']:.0f} gradients, {row['changes']:.0f} changes, "
        told += f"recovered {row['last']:.2f}"
    return told


def table(rows):
    """Markdown: the named settings, then how the engine's cost grows."""
    lines = [
        "| setting | n, m, N, T | arm | seconds | us a step | beyond drawing | times autograd | beyond |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    named = [row for row in rows if not row["setting"].startswith("grow")]
    for row in named:
        shape = f"{row['n']}, {row['m']}, {row['N']}, {row['T']}"
        shape += f", noise {row['noise']}" if row["noise"] else ""
        times = [f"{row[k]:.3g}" if k in row else "–" for k in ("times", "times_beyond")]
        arm = f"{row['arm']}, {row['method']}" if "method" in row else row["arm"]
        taken = f"{row['seconds']:.3g} | {row['us_per_step']:.3g} | {row['us_beyond']:.3g}"
        lines.append(f"| {row['setting']} | {shape} | {arm} | {taken} | {times[0]} | {times[1]} |")
    lines += [
        "", "| n | m | N | T | noise | us a run | of these drawing | gradients a run | sign changes a run |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for row in rows:
        if row["setting"].startswith("grow") and row["arm"] == "engine f32":
            a_run = 1e6 * row["seconds"] / row["runs"], 1e6 * row["drew"] / row["runs"]
            lines.append(
                f"| {row['n']} | {row['m']} | {row['N']} | {row['T']} | {row['noise']} | {a_run[0]:.4g} | "
                f"{a_run[1]:.3g} | "
                f"{row['gradients']:.0f} | {row['changes']:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a hundredth of the work, to see that it runs")
    parser.add_argument("--only", default=",".join([*SETTINGS, "growth"]), help="settings, by name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--table", help="print the rows of this file as tables, and measure nothing")
    given = parser.parse_args()
    if given.table:
        with open(given.table) as file:
            print(table(json.load(file)["rows"]))
        raise SystemExit
    threads, rows, asked = torch.get_num_threads(), [], given.only.split(",")
    settings = {name: setting for name, setting in SETTINGS.items() if name in asked}
    if "growth" in asked:
        settings |= {
            f"grow {axis}{k}": (*shape, 10, 0)
            for axis, shapes in GROWTH.items()
            for k, shape in enumerate(shapes)
        }
    for kind in (torch.float64, torch.float32):  # compiled, and out of the way
        for noise in (0.0, 0.1):
            engine(kind, (20, 4, 50, 20, noise, STEP, 2, 0), threads)
        engine(kind, (400, 4, 50, 20, 0.0, STEP, 1, 0), threads)
    for name, setting in settings.items():
        for row in measured(name, small(setting) if given.small else setting, given.rounds, threads):
            rows.append(row | {"threads": threads})
            print(shown(row), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{threads} thread(s); the process held {peak:.2f} GiB at most")
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"rows": rows, "threads": threads, "peak_gib": peak}, file, indent=1)
