"""Rows of the preset ``paper`` as they would be if losses were sums of known effects."""

import math
import random

from coarsegrad.studies.optimizers import STUDY

OPTIMIZER = {"sgd": 0.5, "adam": 0.0, "adamw": 0.01, "lion": 0.1, "muon": 0.05}
ESTIMATOR = {"smooth weights": 0.0, "window": 0.05, "steep": 0.1, "identity": 0.15}


def planted(tmp_path, *, interplay=0.1, too_high=0.5, few=1.0, swap=(), noise=0.002):
    """Rows ``train``: base + optimizer + ``few`` x estimator (a fifth of it at 4 bits) + a bowl in the rate.

    ``interplay``: what the identity loses more with Adam; ``too_high``: what it loses more at the highest
    rate; ``swap``: optimizers whose order of estimators is turned around.
    """
    draw, rows = random.Random(5), []
    tasks = [t.settings for t in STUDY.planned("paper", {"data_folder": str(tmp_path)}) if t.kind == "train"]
    rates = {}
    for s in tasks:
        rates.setdefault((s["data"], s["optimizer"]), set()).add(s["lr"])
    for s in tasks:
        place = sorted(rates[s["data"], s["optimizer"]]).index(s["lr"])
        effect = ESTIMATOR[s["estimator"]]
        if s["optimizer"] in swap:
            effect = 0.15 - effect
        effect *= few if s["bits"] == "w1a2" else 0.2
        if s["estimator"] == "identity":
            effect += interplay * (s["optimizer"] == "adam") + too_high * (place == 2)
        loss = 1.0 + OPTIMIZER[s["optimizer"]] + effect + 0.3 * (place - 1) ** 2
        rows.append(
            {**s, "held_out": loss + draw.gauss(0, noise), "loss": loss + draw.gauss(0, noise),
             "accuracy": 100 - 20 * loss, "guessed": False}
        )  # fmt: skip
    return {"train": rows, "twins": twins()}


def twins(*, wave=None):
    """Rows ``twins`` with the log ratios that were seen while exploring, or another for one optimizer."""
    draw, rows = random.Random(6), []
    seen = {"sgd": (0.57, -0.05), "adam": (-1.9, -0.6), "adamw": (-1.8, -0.6), "lion": (None, -0.37),
            "muon": (None, 0.14)}  # fmt: skip
    for optimizer, (times, waved) in seen.items():
        waved = (wave or {}).get(optimizer, waved)
        for seed in range(8):
            logs = {"times 8": times, "over 8": times, "wave": waved, "other order": 0.0}
            distances = {"plain": 0.0} | {
                run: 0.0 if log is None else 0.45 * math.exp(log + draw.gauss(0, 0.02) * (log != 0))
                for run, log in logs.items()
            }
            rows += [
                {"optimizer": optimizer, "seed": seed, "steps": 120, "batch_size": 64, "run": run,
                 "broke": False,
                 "distance": d, "same": 1 - d / 2, "loss": 0.06} for run, d in distances.items()
            ]  # fmt: skip
    return rows
