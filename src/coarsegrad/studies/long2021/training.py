"""LeNet-5 on MNIST with the paper's three estimators, seed by seed; do its features lie on subspaces?

Once with float weights, as in the paper, once with binary ones. These take an hour or more: the presets
``short`` and ``paper`` plan them. Ranges were chosen on seed 100, which no preset uses.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from coarsegrad.measure import Interval
from coarsegrad.studies.long2021.claims import outermost
from coarsegrad.studies.long2021.features import all_classes, features, lie, nearest
from coarsegrad.studies.long2021.grid import PAPERS
from coarsegrad.studies.long2021.told import word
from coarsegrad.studies.study import Task, check_data
from coarsegrad.studies.verdict import CONFIRMED, Claim, Row, Rows, paired

Settings = Mapping[str, Any]
BITS, WEIGHTS = (2, 4), ("float", "binary")
_BINARY = "weight=binary(scale=scale(statistic='mean_abs',axis=0,live=True));"
RECIPES = {
    f"{_BINARY if weights == 'binary' else ''}activation=quantized_relu(bits={bits})": (weights, bits)
    for weights in WEIGHTS for bits in BITS
}  # fmt: skip
"""What is compared, in written form: (weights, bits of the activations). All layers are alike."""
SEEDS = (2021, 2022, 2023)
_LENET = {"data": "mnist", "model": "lenet5(affine=False)", "batch_size": 64, "lr": 0.1, "weight_decay": 0.0}
NETWORKS: dict[str, dict[str, Any]] = {
    "short": {**_LENET, "schedule": "step(epochs=(2,3))", "epochs": 4, "pretrain_epochs": 3},
    "paper": {**_LENET, "schedule": "step(epochs=(20,40))", "epochs": 50, "pretrain_epochs": 3},
}
CALIBRATION = 16
"""Batches of training images, on which the batch norms of the untrained network are fitted."""
DRAWN = {
    "untrained": (nearest, all_classes), "float": (nearest,),
    "float weights, 2 bits, relu": (nearest, all_classes), "binary weights, 2 bits, relu": (nearest,),
}  # fmt: skip
"""The networks that are drawn, and how."""


def tasks(preset: str, data_folder: str | None) -> list[Task]:
    """A task per seed; none for a preset that trains nothing.

    Raises ``ValueError`` where networks are to be trained and no folder of data is said.
    """
    if preset not in NETWORKS:
        return []
    check_data(preset, data_folder, "MNIST")
    return [
        Task("lenet5", networks, {"seed": seed, **NETWORKS[preset]}, where={"data_folder": data_folder},
             says=f"seed {seed}") for seed in SEEDS
    ]  # fmt: skip


def networks(settings: Settings, place: Path) -> Iterator[Row]:
    """One seed: three estimators at 2 and 4 bits, weights float and binary, all from one float model.

    A row ``final`` for each, for that float model, trained as long, for the untrained one, and for the images
    themselves, with how the features of the test images lie; and rows ``point`` and ``ray`` of those in
    ``DRAWN``. What is trained stays in ``place``, so a killed task goes on from its checkpoints.
    """
    import torch

    from coarsegrad.nn import reestimate_bn
    from coarsegrad.train.build import float_model, load_data, load_run
    from coarsegrad.train.compare import Comparison, compare, table_of

    base = {key: value for key, value in settings.items() if key != "seed"}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    comparison = Comparison.of(
        {**base, "seed": settings["seed"], "first": None, "last": None, "device": device, "seeds": 1,
         "activations": "instead_of_relus", "bits": tuple(RECIPES), "surrogates": PAPERS}
    )  # fmt: skip
    for _ in compare(comparison, place):
        pass
    data, plan, table = load_data(comparison.base), comparison.base, table_of(place)

    def told(about: Row, found: torch.Tensor, scores: Settings) -> Iterator[Row]:
        yield {"what": "final", **about, **scores, "failed": None, **lie(found, data.test_labels)}
        for view in DRAWN.get(name(about), ()):
            yield from ({**row, **about} for row in view(found, data.test_labels))

    none: Row = dict.fromkeys(("train_loss", "test_loss", "test_accuracy"))
    pixels = torch.cat([images.flatten(1) for images, _ in data.test_batches().epoch(0)])
    yield from told({"weights": "float", "bits": 32, "surrogate": "images"}, pixels, none)
    untrained = float_model(plan, data.in_shape, len(data.classes))
    batches = data.train_batches(plan.batch_size, seed=plan.seed).epoch(0)
    reestimate_bn(untrained, [images for _, (images, _) in zip(range(CALIBRATION), batches, strict=False)])
    found = features(untrained.eval(), data.test_batches().epoch(0))
    yield from told({"weights": "float", "bits": 32, "surrogate": "untrained"}, found, none)
    for row in (*table.rows(kind="run"), *table.rows(kind="failed")):
        weights, bits = RECIPES.get(str(row["bits"]), ("float", 32))
        about = {"weights": weights, "bits": bits, "surrogate": row.get("activation_surrogate") or "float"}
        if row.get("reason"):
            yield {"what": "final", **about, **none, "failed": row["reason"]}
        elif row["epoch"] == plan.epochs:
            _, model, _ = load_run(place / "runs" / str(row["task"]))
            found = features(model, data.test_batches().epoch(0))
            yield from told(about, found, {score: row[score] for score in none})


def name(row: Row) -> str:
    """Of a row's network, for a reader."""
    if row["bits"] == 32:
        return row["surrogate"]
    return f"{row['weights']} weights, {row['bits']} bits, {row['surrogate']}"


def finals(rows: Rows, key: str) -> dict[tuple[str, int, str], dict[int, float]]:
    """By (weights, bits, surrogate) and seed."""
    found: dict[tuple[str, int, str], dict[int, float]] = {}
    for row in rows.get("lenet5", ()):
        if row["what"] == "final" and row.get(key) is not None:
            arm = row["weights"], row["bits"], row["surrogate"]
            found.setdefault(arm, {})[row["seed"]] = row[key]
    return found


def lost(rows: Rows) -> set[tuple[str, int, str]]:
    """The networks of which a seed stopped being finite."""
    found = (row for row in rows.get("lenet5", ()) if row["what"] == "final" and row.get("failed"))
    return {(row["weights"], row["bits"], row["surrogate"]) for row in found}


def _unlimited(found: Interval | None, gone: set) -> Interval | None:
    """What is left of an estimate when networks that belong to it are gone: no limits."""
    if not gone:
        return found
    return Interval(math.nan if found is None else found.estimate, -math.inf, math.inf)


def gap(better: tuple[str, int, str], worse: tuple[str, int, str]) -> Callable[[Rows], Interval | None]:
    """Paired difference of test accuracies, points; with no limits where a seed of either was lost."""

    def estimate(rows: Rows) -> Interval | None:
        found = finals(rows, "test_accuracy")
        gone = lost(rows) & {better, worse}
        return _unlimited(paired(found.get(better, {}), found.get(worse, {})), gone)

    return estimate


def worst(key: str, beside: bool = False) -> Callable[[Rows], Interval | None]:
    """The trained network, of the float and all quantized ones, whose mean over seeds is smallest.

    ``beside``: of the paired differences from the untrained network.
    """

    def estimate(rows: Rows) -> Interval | None:
        found = finals(rows, key)
        _, untrained = (found.pop(("float", 32, name), {}) for name in ("images", "untrained"))
        means = [
            paired(by_seed, untrained if beside else dict.fromkeys(by_seed, 0.0))
            for by_seed in found.values()
        ]
        return _unlimited(outermost(min, [m for m in means if m is not None]), lost(rows))

    return estimate


_TRAINED = {"short": CONFIRMED, "paper": CONFIRMED}
_PAPER = "Long, Yin & Xin 2021, arXiv:2011.11256, experiments"
_HERE = "found here; the paper's weights are float"
_GAP = "difference of test accuracies, points, paired by seed"
_ALIKE = [
    Claim(
        f"lenet5-{'binary-' * (weights == 'binary')}{bits}bit-{surrogate}-relu".replace("_", "-"),
        f"LeNet-5{', binary weights' * (weights == 'binary')}, {bits} bits: {word(surrogate)} "
        "ends within 0.5 points of ReLU.",
        "simulation", _PAPER if weights == "float" else _HERE, _GAP,
        gap((weights, bits, surrogate), (weights, bits, "relu")), least=-0.5, most=0.5, expected=_TRAINED,
    ) for weights in WEIGHTS for bits in BITS for surrogate in PAPERS[1:]
]  # fmt: skip
_COSTS = [
    Claim(
        f"lenet5-binary-{bits}bit-costs", f"LeNet-5, {bits} bits, ReLU: binary weights cost at most a point.",
        "simulation", _HERE, _GAP, gap(("binary", bits, "relu"), ("float", bits, "relu")), least=-1.0,
        expected=_TRAINED,
    ) for bits in BITS
]  # fmt: skip
CLAIMS = (
    *_ALIKE,
    *_COSTS,
    Claim("features-near-subspaces", "In every trained network each class's last features lie near a "
          "subspace of 3 of their 500 dimensions.", "simulation", _PAPER,
          "share of squared length captured, the worst class of the worst network", worst("captured"),
          least=0.6, expected=_TRAINED),
    Claim("features-nearer-by-training", "They lie nearer to such subspaces than the "
          "untrained network's.", "simulation", "found here",
          "gain of that share, the least of all networks, paired by seed", worst("captured", beside=True),
          least=0.1, expected=_TRAINED),
    Claim("features-independent", "In every trained network the ten classes' "
          "subspaces are linearly independent.", "simulation", _PAPER,
          "smallest singular value of all directions together, the least of all networks",
          worst("conditioned"), least=0.1, expected=_TRAINED),
    Claim("features-apart-by-training", "Training turns the nearest two of "
          "these subspaces apart.", "simulation",
          "found here", "gain of the smallest principal angle, degrees, the least of all networks, paired",
          worst("angle", beside=True), least=0.0, expected=_TRAINED),
)  # fmt: skip
