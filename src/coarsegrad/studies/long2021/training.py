"""LeNet-5 on MNIST with the paper's three estimators, seed by seed; do its features lie on subspaces?

These take hours: the presets ``short`` and ``paper`` plan them.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coarsegrad.measure import Interval, mean_interval
from coarsegrad.studies.long2021.grid import PAPERS
from coarsegrad.studies.study import Task, check_data
from coarsegrad.studies.verdict import CONFIRMED, Claim, Row, Rows

Settings = Mapping[str, Any]
BITS = {bits: f"activation=quantized_relu(bits={bits})" for bits in (2, 4)}
SEEDS = (0, 1, 2)
_LENET = {"data": "mnist", "model": "lenet5(affine=False)", "batch_size": 64, "lr": 0.1, "weight_decay": 0.0}
NETWORKS: dict[str, dict[str, Any]] = {
    "short": {**_LENET, "schedule": "step(epochs=(4,8))", "epochs": 10, "pretrain_epochs": 3},
    "paper": {**_LENET, "schedule": "step(epochs=(20,40))", "epochs": 50, "pretrain_epochs": 3},
}
FEATURES = 3
"""Leading directions of a class that are taken for its subspace."""
_SHOWN = (0, 1, 2)
_POINTS = 60


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
    """One seed: three estimators at 2 and 4 bits, after the float model that all start from.

    A row ``final`` for each, with what its features look like on the test images, and rows ``point`` of the
    float model's: three classes, projected on their two leading directions. What is trained stays in
    ``place``, so a killed task goes on from its checkpoints.
    """
    from coarsegrad.train.build import load_data, load_run
    from coarsegrad.train.compare import Comparison, compare, table_of

    base = {key: value for key, value in settings.items() if key != "seed"}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    comparison = Comparison.of(
        {**base, "seed": settings["seed"], "first": None, "last": None, "device": device, "seeds": 1,
         "activations": "instead_of_relus", "bits": tuple(BITS.values()), "surrogates": PAPERS}
    )  # fmt: skip
    for _ in compare(comparison, place):
        pass
    bits_of: dict[Any, int] = {text: bits for bits, text in BITS.items()} | {"float": 32}
    for row in table_of(place).rows(kind="run"):
        if row["epoch"] != comparison.base.epochs:
            continue
        plan, model, _ = load_run(place / "runs" / str(row["task"]))
        data = load_data(plan)
        found, labels = features(model, data.test_images), data.test_labels
        about = {"bits": bits_of[row["bits"]], "surrogate": row.get("activation_surrogate") or "float"}
        scores = {key: row[key] for key in ("train_loss", "test_loss", "test_accuracy")}
        yield {"what": "final", **about, **scores, **lie(found, labels)}
        if about["bits"] == 32:
            yield from _projected(found, labels)


def features(model: nn.Module, images: Tensor, batch: int = 500) -> Tensor:
    """What the last linear layer is given, ``[images, features]``; the model is left as it was."""
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    try:
        with torch.no_grad():
            for part in images.split(batch):
                model(part)
    finally:
        hook.remove()
    return torch.cat(seen).double()


def lie(found: Tensor, labels: Tensor, size: int = FEATURES) -> Row:
    """How near the classes' features lie to subspaces of ``size`` dimensions, and how these lie.

    ``captured``: the smallest share of a class's squared length that lies in its leading directions, in
    [0, 1]. ``angle``: the smallest principal angle of any two such subspaces, in degrees, and ``mean_angle``
    the mean over pairs of each pair's smallest. ``conditioned``: the smallest singular value of all
    directions together, 0 where they are dependent, 1 where all are orthogonal.

    >>> plane = torch.eye(4).double()[[0, 1, 0, 2, 3, 2]]
    >>> lie(plane, torch.tensor([0, 0, 0, 1, 1, 1]), size=2)
    {'captured': 1.0, 'angle': 90.0, 'mean_angle': 90.0, 'conditioned': 1.0}
    """
    bases, captured = [], []
    for label in labels.unique():
        _, values, directions = torch.linalg.svd(found[labels == label].double(), full_matrices=False)
        bases.append(directions[:size])
        captured.append(float(values[:size].square().sum() / values.square().sum()))
    cosines = torch.tensor(
        [torch.linalg.matrix_norm(a @ b.T, 2).clamp(max=1) for k, a in enumerate(bases) for b in bases[:k]]
    )
    angles = cosines.double().acos().rad2deg()
    least = torch.linalg.svdvals(torch.cat(bases))[-1]
    return {
        "captured": min(captured), "angle": float(angles.min()), "mean_angle": float(angles.mean()),
        "conditioned": float(least),
    }  # fmt: skip


def _projected(found: Tensor, labels: Tensor) -> Iterator[Row]:
    chosen = torch.isin(labels, torch.tensor(_SHOWN))
    _, _, directions = torch.linalg.svd(found[chosen], full_matrices=False)
    for label in _SHOWN:
        for x, y in (found[labels == label][:_POINTS] @ directions[1:3].T).tolist():
            yield {"what": "point", "class": label, "x": x, "y": y}


def finals(rows: Rows, bits: int, key: str) -> dict[str, dict[int, float]]:
    """By surrogate and seed."""
    found: dict[str, dict[int, float]] = {}
    for row in rows.get("lenet5", ()):
        if row["what"] == "final" and row["bits"] == bits and row[key] is not None:
            found.setdefault(row["surrogate"], {})[row["seed"]] = row[key]
    return found


def gap(bits: int, better: str, worse: str) -> Callable[[Rows], Interval | None]:
    """Mean over seeds of the paired difference of test accuracies, points; None for fewer than two seeds."""

    def estimate(rows: Rows) -> Interval | None:
        found = finals(rows, bits, "test_accuracy")
        a, b = found.get(better, {}), found.get(worse, {})
        both = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
        return mean_interval(both) if len(both) > 1 else None

    return estimate


def table_rows(rows: Rows) -> list[Row]:
    """A row per bits and surrogate: means over seeds with intervals."""
    keys = {
        "training loss": "train_loss", "accuracy [%]": "test_accuracy", "captured": "captured",
        "smallest angle [degrees]": "angle", "smallest singular value": "conditioned",
    }  # fmt: skip
    table = []
    for bits in (32, 2, 4):
        for name, seeds in finals(rows, bits, "test_accuracy").items():
            values = {said: [*finals(rows, bits, key)[name].values()] for said, key in keys.items()}
            shown = {said: str(mean_interval(v)) for said, v in values.items()}
            table.append({"bits": bits, "surrogate": name, "seeds": len(seeds), **shown})
    return table


_WHERE_TRAINED = {"short": CONFIRMED, "paper": CONFIRMED}
CLAIMS = tuple(
    Claim(
        f"lenet5-{bits}bit-{name}-relu".replace("_", "-"),
        f"LeNet-5, {bits} bits: {name.replace('_', ' ')} ends within 0.5 points of ReLU.", "simulation",
        "Long, Yin & Xin 2021, arXiv:2011.11256, experiments",
        "difference of test accuracies, points, paired by seed", gap(bits, name, "relu"),
        least=-0.5, most=0.5, expected=_WHERE_TRAINED,
    ) for bits in BITS for name in PAPERS[1:]
)  # fmt: skip
