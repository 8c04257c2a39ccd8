"""Rows of the study of inputs as they would be if every claim held: for its claims, and for its page."""

from coarsegrad.studies.jeong2025 import input_grid
from coarsegrad.studies.jeong2025.inputs import FATES

ONE_SIDED = ("relu", "clipped_relu")
MENDED = ("centring", "z-score", "whitening", "layer norm", "batch norm")


def breaks(task, how, name):
    """Whether these inputs are to break this surrogate, as the claims have it."""
    s = task.settings
    if task.kind == "shape":
        return name == "relu" and how == "none" and (s["shape"] in (2, 3, 4) or s["inputs"] == "U[0, 1]")
    if task.kind == "factor" and s["factor"] in ("neighbours", "spread"):
        return how in ("none", "batch norm") and s["value"] in (0.99, 1000.0)
    if task.kind == "factor" and s["factor"] == "shift":
        return how == "none" and s["value"] == 8.0 and name in ("hardtanh", "clipped_relu")
    if task.kind == "factor":
        return how == "none" and s["factor"] == "mean" and s["value"] == 4.0 and name != "identity"
    if s["inputs"] == "Cauchy":
        return how == "batch norm"
    return name in ONE_SIDED and s["inputs"] in input_grid.MEAN and how not in MENDED


def ideal(runs=40):
    """What a run would give in which every claim holds: with a mean, runs of K > 0 alone recover."""
    rows = {}
    for task in input_grid.tasks("paper", {}):
        s = task.settings
        beside = {k: v for k, v in s.items() if isinstance(v, int | float | str)}
        for how in s["ways"]:
            broken = breaks(task, how, s["surrogate"])
            total = task.kind != "cell" or s["inputs"] in ("U[0, 1]", "Cauchy")
            recovered = (0 if total else 14) if broken else runs
            for step_size in s["step_sizes"]:
                fates = {**dict.fromkeys(FATES, 0), "recovered": recovered, "death": runs - recovered}
                if s["surrogate"] in ("identity", "leaky_relu"):
                    fates |= {"death": 0, "cycling": runs - recovered}
                rows.setdefault(task.kind, []).append({
                    **beside, **fates, "how": how, "step_size": step_size, "runs": runs, "ergodic": recovered,
                    "restoring": 16, "restored": min(16, recovered),
                    "negative": 0.9 if broken else None, "gradients": 9, "hit": recovered, "close": 0,
                })  # fmt: skip
    return rows


IDEAL = ideal()
