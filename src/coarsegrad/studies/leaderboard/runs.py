"""Trials, runs, and what a float model is worth when it is quantized without training."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from coarsegrad.studies.leaderboard.methods import BITS, Trial, plan_values, quantizers, widths
from coarsegrad.studies.verdict import Row
from coarsegrad.train import TrainPlan

Settings = Mapping[str, Any]
BATCH = 128


def trained(settings: Settings, place: Path) -> Iterator[Row]:
    """One training: a row per epoch, the last with ``final`` True; one that fails is a single row.

    ``settings``: data, bits, method, lr, setting, seed, epochs, and ``held_out``: whether every fifth
    training image is what it is tested on, as trials are. A float run ends with a row ``ptq`` for all bits.
    What is trained stays in ``place``: a killed task goes on from its checkpoint.
    """
    from coarsegrad.train.health import NonFinite
    from coarsegrad.train.loop import train

    plan = plan_of(settings)
    kept = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds", "flips")
    try:
        for row in train(plan, place):
            values = {key: row[key] for key in kept if key in row}
            yield {"what": "epoch", "epoch": row["epoch"], "final": row["epoch"] == plan.epochs, **values}
    except NonFinite as error:
        yield {"what": "failed", "final": True, "reason": str(error)}
        return
    for bits in BITS if settings["method"] == "float" and not settings["held_out"] else ():
        yield {"what": "ptq", "bits": bits, "final": True, **untrained(plan, bits, place)}


def plan_of(settings: Settings) -> TrainPlan:
    """The training plan; rules that last or add up take their share of its steps."""
    from coarsegrad.train.build import load_data

    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = TrainPlan(
        data=settings["data"], data_folder=settings["data_folder"], held_out=settings["held_out"],
        epochs=settings["epochs"], seed=settings["seed"], optimizer="adam", weight_decay=0.0,
        batch_size=BATCH, device=device,
    )  # fmt: skip
    steps = math.ceil(len(load_data(plan).train_images) / BATCH) * settings["epochs"]
    trial: Trial = (settings["lr"], settings["setting"])
    values = plan_values(settings["data"], settings["bits"], settings["method"], trial, steps)
    return TrainPlan.of({**plan.values(), **values})


def untrained(plan: TrainPlan, bits: str, place: Path) -> Row:
    """Scores of the float run in ``place``, quantized by least squares, calibrated, and not trained.

    Behind its ReLUs one bit of activation is 0 or 1 times a scale, for there a sign would always be +1.
    """
    from coarsegrad.train.compare import quantized_float

    weights, activations = widths(bits)
    weight, _ = quantizers(bits)
    if weight and weights > 1:
        weight = f"uniform(bits={weights},scale=scale(statistic='mse',axis=0))"
    activation = f"uniform(bits={activations},signed=False)"
    recipe = f"weight={weight};activation={activation}" if weight else f"activation={activation}"
    values = {"recipe": recipe, "first": "float", "last": f"activation={activation}"}
    scores = quantized_float(TrainPlan.of({**plan.values(), **values}), place)
    return {key: scores[key] for key in ("test_loss", "test_accuracy")}
