"""Networks with 1-bit weights and 4-bit activations: blending beside BinaryConnect, seed by seed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from coarsegrad.measure import Interval
from coarsegrad.studies.place import trained
from coarsegrad.studies.study import Task, check_data
from coarsegrad.studies.verdict import Row, Rows, paired

Settings = Mapping[str, Any]
BINARY_CONNECT = "clip()"
ARMS = {
    BINARY_CONNECT: "BinaryConnect", "": "neither, unclipped", "blend(rho=1e-05)": "blending 0.00001",
    "blend(rho=0.0001)": "blending 0.0001", "blend(rho=0.001)": "blending 0.001",
    "blend(rho=0.01)": "blending 0.01", "blend(rho=0.1,cap=0.1)": "blending 0.1",
}  # fmt: skip
"""Rules for latents by their written form.

In the authors' code the weight grows every epoch, from 0.00001 up to 0.01; here each is kept. BinaryConnect
clips latents, the others do not: what blending does is seen beside ``NEITHER``.
"""
NEITHER, AUTHORS, CAP, HEAVY = "", "blend(rho=1e-05)", "blend(rho=0.01)", "blend(rho=0.1,cap=0.1)"
SCHEDULES = ("constant", "cosine")
_DIGITS = {
    "data": "digits", "model": "mlp(widths=(32,32))", "batch_size": 64, "lr": 0.05, "momentum": 0.9,
    "weight_decay": 1e-4, "epochs": 8, "pretrain_epochs": 5, "arms": tuple(ARMS),
}  # fmt: skip
_CIFAR = {
    "data": "cifar10", "model": "resnet20", "batch_size": 128, "lr": 0.1, "momentum": 0.9,
    "weight_decay": 1e-4, "epochs": 2, "pretrain_epochs": 1, "schedule": "step(epochs=(1,))",
    "arms": (BINARY_CONNECT, NEITHER, AUTHORS, CAP),
}  # fmt: skip
_SCORES = ("train_loss", "test_loss", "test_accuracy")
_BITS = {"recipe": "w1a4", "first": "w1a8", "last": None}
"""All weights of 1 bit; the images enter with 8."""


def on_digits(seeds: range, short: bool) -> list[Task]:
    """A task a schedule and seed; ``short``: one epoch before, two after, at a constant rate alone."""
    few = {"epochs": 2, "pretrain_epochs": 1} if short else {}
    return [
        Task("digits", networks, {**_DIGITS, **few, **_BITS, "schedule": schedule, "seed": seed},
             where={"data_folder": None}, says=f"{schedule} rate, seed {seed}")
        for schedule in SCHEDULES[: 1 if short else None] for seed in seeds
    ]  # fmt: skip


def on_cifar(data_folder: str | None, seeds: range) -> list[Task]:
    """A task a seed. ``ValueError`` where there are some, and no folder of data is said."""
    if seeds:
        check_data("paper", data_folder, "CIFAR-10 (binary version)")
    return [
        Task("resnet20", networks, {**_CIFAR, **_BITS, "seed": seed}, where={"data_folder": data_folder},
             says=f"seed {seed}") for seed in seeds
    ]  # fmt: skip


def networks(settings: Settings, place: Path) -> Iterator[Row]:
    """One seed: a float model, then each arm from it; a row per arm and epoch, of the float model its last.

    ``flips``: percent of the weights whose sign the epoch changed. ``largest``: the largest latent at the
    end. What is trained stays in ``place``, so a killed task goes on from its checkpoints.
    """
    from coarsegrad.nn import pairs
    from coarsegrad.train.build import load_run
    from coarsegrad.train.plan import TrainPlan

    own = ("arms", "pretrain_epochs", "epochs", "schedule", "recipe")
    given = {key: value for key, value in settings.items() if key not in own}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = TrainPlan.of(
        {**given, "recipe": "float", "epochs": settings["pretrain_epochs"], "schedule": "constant",
         "device": device}
    )  # fmt: skip
    before = trained(plan, place / "float")[-1]
    yield {"arm": "float", "epoch": settings["epochs"], **{key: before[key] for key in _SCORES}}
    plan = replace(
        plan, recipe=settings["recipe"], epochs=settings["epochs"], schedule=settings["schedule"],
        start=str(place / "float" / "checkpoint.pt"),
    )  # fmt: skip
    for number, arm in enumerate(settings["arms"]):
        folder = place / f"arm-{number}"
        epochs = trained(replace(plan, latent=(arm,) if arm else ()), folder)
        _, model, _ = load_run(folder)
        largest = max(float(parameter.detach().abs().max()) for parameter, _ in pairs(model))
        for row in epochs:
            scores = {key: row[key] for key in _SCORES}
            flips = 100 * row["flips"]
            yield {"arm": arm, "epoch": row["epoch"], **scores, "flips": flips, "largest": largest}


def at(
    rows: Rows, kind: str, key: str, schedule: str | None = None, left: int = 0
) -> dict[str, dict[int, float]]:
    """By arm and seed, when so many epochs are left; ``schedule`` None: whichever it is."""
    found: dict[str, dict[int, float]] = {}
    for row in rows.get(kind, ()):
        if schedule in (None, row["schedule"]) and row["epoch"] == row["epochs"] - left and key in row:
            found.setdefault(row["arm"], {})[row["seed"]] = row[key]
    return found


def gap(
    kind: str, key: str, arm: str, other: str = NEITHER, **when: Any
) -> Callable[[Rows], Interval | None]:
    """Mean over seeds of the paired difference of a column, ``when`` as `at` has it; None for one seed."""

    def estimate(rows: Rows) -> Interval | None:
        found = at(rows, kind, key, **when)
        return paired(found.get(arm, {}), found.get(other, {}))

    return estimate
