"""What the expected coarse gradient costs, against reading and writing the same tensors once, in one process.

    python benchmarks/theory_hidden.py [--batch 100000] [--n 100] [--m 6] [--rounds 15] [--out F.json]

The yardstick moves the memory that ``theory.hidden.coarse_gradient`` must move: it reads v, w, v_star and
w_star and writes ``[batch, n]``, by one sum of w and w_star and one of v and v_star. Twice: ``out=`` writes
into a tensor that is there already, in both arms; ``new`` makes the result, in both, as a plain call does.
The arms are interleaved, the order turned around every other round; a cell is the median over rounds of the
arm's time over the yardstick's time of the same round.
"""

import argparse
import json
import platform
import statistics
import sys
import time

import torch

from coarsegrad.core.surrogates import ClippedReLU, HardTanh, Identity, ReLU
from coarsegrad.spec import write
from coarsegrad.theory.hidden import coarse_gradient

SURROGATES = (Identity(), ReLU(), ClippedReLU(), HardTanh())


def problems(batch, n, m, dtype, seed=0):
    """Independent students and teachers, all of their own."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, k, dtype=dtype, generator=draw) for k in (m, n, m, n)]


def measured(inputs, reused, rounds):
    """One row per arm."""
    v, w, v_star, w_star = inputs
    out, small = (torch.empty_like(w), torch.empty_like(v)) if reused else (None, None)

    def traffic():
        torch.add(w, w_star, out=out)
        torch.add(v, v_star, out=small)

    arms = {"traffic": traffic} | {
        write(s): (lambda s=s: coarse_gradient(*inputs, s, out=out)) for s in SURROGATES
    }
    seconds = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name in list(arms)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            arms[name]()
            seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, taken in seconds.items():
        ratios = [t / base for t, base in zip(taken[1:], seconds["traffic"][1:], strict=True)]
        rows.append(
            {
                "dtype": str(w.dtype).removeprefix("torch."),
                "result": "out=" if reused else "new",
                "arm": name,
                "milliseconds": round(1e3 * statistics.median(taken[1:]), 2),
                "ratio": round(statistics.median(ratios), 2),
            }
        )  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=100_000)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--m", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for dtype in (torch.float64, torch.float32):
        inputs = problems(args.batch, args.n, args.m, dtype)
        for where in ("out=", "new"):
            rows += measured(inputs, where == "out=", args.rounds)
            for row in rows[-1 - len(SURROGATES) :]:
                print(
                    "{dtype:8} {result:5} {arm:14} {milliseconds:8.2f} ms  {ratio:5.2f} x traffic".format(
                        **row
                    )
                )
    if args.out:
        about = vars(args) | {
            "torch": torch.__version__, "python": sys.version.split()[0], "machine": platform.machine(),
        }  # fmt: skip
        with open(args.out, "w") as file:
            json.dump({"about": about, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
