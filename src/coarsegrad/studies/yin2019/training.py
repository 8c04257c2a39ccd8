"""Table 1 and the instability experiment: networks trained with the three estimators, seed by seed.

These take hours: the presets ``short`` and ``paper`` plan them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from coarsegrad.measure import Interval, mean_interval
from coarsegrad.studies.place import part, trained
from coarsegrad.studies.study import Task, check_data
from coarsegrad.studies.verdict import Claim, Row, Rows
from coarsegrad.studies.yin2019.fields import PAPERS

Settings = Mapping[str, Any]
BITS = {bits: f"activation=quantized_relu(bits={bits})" for bits in (2, 4)}
SEEDS = (0, 1, 2)
_LENET = {"data": "mnist", "model": "lenet5(affine=False)", "batch_size": 64, "lr": 0.1, "weight_decay": 0.0}
_CIFAR = {"data": "cifar10", "batch_size": 128, "lr": 0.01, "weight_decay": 1e-4}
_WHOLE = {"train_images": None, "test_images": None}
_200 = {"schedule": "step(epochs=(80,140))", "epochs": 200, "pretrain_epochs": 200, "tiny_epochs": 20}
NETWORKS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "lenet5": {
            **_LENET, **_WHOLE, "schedule": "step(epochs=(20,40))", "epochs": 50, "pretrain_epochs": 8,
            "tiny_epochs": 20,
        },
        "resnet20": {**_CIFAR, **_WHOLE, **_200, "model": "resnet20(affine=False)"},
        "vgg11": {**_CIFAR, **_WHOLE, **_200, "model": "vgg11(affine=False)"},
    },
    "short": {  # a fifth of the paper's epochs for LeNet-5; ResNet-20 on a tenth of CIFAR-10, for 5
        "lenet5": {
            **_LENET, **_WHOLE, "schedule": "step(epochs=(4,8))", "epochs": 10, "pretrain_epochs": 3,
            "tiny_epochs": 4,
        },
        "resnet20": {
            **_CIFAR, "model": "resnet20(affine=False)", "train_images": 5_000, "test_images": 2_000,
            "schedule": "step(epochs=(4,))", "epochs": 5, "pretrain_epochs": 6, "tiny_epochs": 2,
        },
    },
}  # fmt: skip
PAPER_NETWORKS = {"lenet5": 50, "resnet20": 200, "vgg11": 200}
"""Epochs in the paper."""
PAPER_SAYS = {
    ("lenet5", 2): {"identity": (2.6e-2, 98.49), "relu": (5.1e-3, 99.24), "clipped_relu": (5.4e-3, 99.23)},
    ("lenet5", 4): {"identity": (6.0e-3, 98.98), "relu": (9.0e-4, 99.32), "clipped_relu": (8.8e-4, 99.24)},
    ("vgg11", 2): {"identity": (0.19, 86.58), "relu": (0.10, 88.69), "clipped_relu": (0.02, 90.92)},
    ("vgg11", 4): {"identity": (3.1e-2, 90.19), "relu": (1.5e-3, 92.01), "clipped_relu": (1.3e-3, 92.08)},
    ("resnet20", 2): {"identity": (1.56, 46.52), "relu": (1.50, 48.05), "clipped_relu": (0.24, 88.39)},
    ("resnet20", 4): {"identity": (1.38, 54.16), "relu": (0.25, 86.59), "clipped_relu": (0.04, 91.24)},
}
"""Training loss and validation accuracy [%] in the paper's Table 1."""


def tasks(preset: str, data_folder: str | None) -> list[Task]:
    """A task per network and seed; none for a preset that trains nothing. What takes longest comes last.

    Raises ``ValueError`` where networks are to be trained and no folder of data is said.
    """
    if preset not in NETWORKS:
        return []
    check_data(preset, data_folder, "MNIST and CIFAR-10 (binary version)")
    return [
        Task(network, table_one, {"seed": seed, "tiny_rate": 1e-5, **settings},
             where={"data_folder": data_folder}, says=f"seed {seed}")
        for network, settings in NETWORKS[preset].items() for seed in SEEDS
    ]  # fmt: skip


def table_one(settings: Settings, place: Path) -> Iterator[Row]:
    """One network and seed: three estimators at 2 and 4 bits from one float model; then the instability.

    Rows ``final`` hold the last epoch of each arm; rows ``instability`` the epochs (0: before) in which the
    identity goes on from the 4-bit solutions of the two others at a tiny learning rate. What is trained stays
    in ``place``, so a killed task goes on from its checkpoints.
    """
    import torch

    from coarsegrad.train.compare import Comparison, compare, table_of

    own = ("seed", "tiny_rate", "tiny_epochs", "train_images", "test_images")
    base = {k: v for k, v in settings.items() if k not in own}
    place.mkdir(parents=True, exist_ok=True)
    base |= part(settings, place)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    places = {"seed": settings["seed"], "first": None, "last": None, "device": device}
    comparison = Comparison.of(
        {**base, **places, "activations": "instead_of_relus", "bits": tuple(BITS.values()), "seeds": 1,
         "surrogates": PAPERS}
    )  # fmt: skip
    for _ in compare(comparison, place):
        pass
    bits_of: dict[Any, int] = {text: bits for bits, text in BITS.items()} | {"float": 32}
    table = table_of(place)
    last = [row for row in table.rows(kind="run") if row["epoch"] == comparison.base.epochs]
    for row in (*last, *table.rows(kind="failed")):
        about = {"bits": bits_of[row["bits"]], "surrogate": row.get("activation_surrogate") or "float"}
        scores = {k: row.get(k) for k in ("train_loss", "test_loss", "test_accuracy")}
        yield {"what": "final", **about, **scores, "failed": row.get("reason")}
    for row in last:
        origin = str(row["activation_surrogate"])
        if bits_of[row["bits"]] == 4 and origin in ("relu", "clipped_relu"):
            yield from _with_identity(settings, place, row, origin)


def _with_identity(settings: Settings, place: Path, end: Row, origin: str) -> Iterator[Row]:
    """Go on from a trained network, whose weights are float, with the identity at the tiny rate."""
    import torch

    from coarsegrad.train import zoo
    from coarsegrad.train.build import load_data, load_run

    plan, model, _ = load_run(place / "runs" / end["task"])
    data, state = load_data(plan), model.state_dict()
    plain = zoo.build(plan.model, in_shape=data.in_shape, classes=len(data.classes), seed=plan.seed)
    start = place / f"from-{origin}.pt"
    torch.save({name: state[name] for name in plain.state_dict()}, start)
    plan = replace(
        plan, start=str(start), activation_surrogate="identity", lr=settings["tiny_rate"],
        schedule="constant", epochs=settings["tiny_epochs"], pretrain_epochs=0,
    )  # fmt: skip
    about = {"what": "instability", "surrogate": origin}
    keys = ("train_loss", "test_loss", "test_accuracy")
    yield {**about, "epoch": 0, **{k: end[k] for k in keys}}
    for row in trained(plan, place / f"identity-from-{origin}"):
        yield {**about, "epoch": row["epoch"], **{k: row[k] for k in keys}}


def gap(network: str, bits: int, better: str, worse: str, key: str = "test_accuracy") -> Callable:
    """Mean over seeds of the paired difference of a column; None for fewer than two seeds."""

    def estimate(rows: Rows) -> Interval | None:
        found = _finals(rows, network, bits, key)
        both = [by[better] - by[worse] for by in found.values() if {better, worse} <= by.keys()]
        return mean_interval(both) if len(both) > 1 else None

    return estimate


def climb(network: str) -> Callable:
    """How the training loss rose over the identity's epochs, in nats: mean over origins, then over seeds."""

    def estimate(rows: Rows) -> Interval | None:
        runs: dict[tuple, list[Row]] = {}
        for row in rows.get(network, ()):
            if row["what"] == "instability":
                runs.setdefault((row["seed"], row["surrogate"]), []).append(row)
        rises: dict[int, list[float]] = {}
        for (seed, _), run in runs.items():
            first, last = min(run, key=_epoch), max(run, key=_epoch)
            rises.setdefault(seed, []).append(last["train_loss"] - first["train_loss"])
        by_seed = [sum(found) / len(found) for found in rises.values()]
        return mean_interval(by_seed) if len(by_seed) > 1 else None

    return estimate


def _epoch(row: Row) -> int:
    return row["epoch"]


def _finals(rows: Rows, network: str, bits: int, key: str) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for row in rows.get(network, ()):
        if row["what"] == "final" and row["bits"] == bits and row[key] is not None:
            found.setdefault(row["seed"], {})[row["surrogate"]] = row[key]
    return found


def table_rows(rows: Rows) -> list[Row]:
    """Table 1: ours over seeds, the paper's beside it."""
    found = []
    for (network, bits), said in PAPER_SAYS.items():
        for name, (loss, accuracy) in said.items():
            ours = {
                key: [by[name] for by in _finals(rows, network, bits, key).values() if name in by]
                for key in ("train_loss", "test_accuracy")
            }
            if ours["test_accuracy"]:
                shown = {k: str(mean_interval(v)) for k, v in ours.items()}
                about = {"network": network, "bits": bits, "surrogate": name}
                about |= {"seeds": len(ours["train_loss"]), "training loss": shown["train_loss"]}
                scores = {"accuracy [%]": shown["test_accuracy"], "paper's accuracy": accuracy}
                found.append({**about, "paper's loss": loss, **scores})
    return found


def schedules(rows: Rows) -> str:
    """How the networks that are there were trained, in words."""
    said = []
    for network in PAPER_NETWORKS:
        for row in rows.get(network, ())[:1]:
            whole = row["train_images"] is None
            images = "all images" if whole else f"the first {row['train_images']} images"
            said.append(
                f"{network}: {row['epochs']} epochs over {images} (the paper: {PAPER_NETWORKS[network]} over "
                f"all), from a float model of {row['pretrain_epochs']} epochs."
            )
    return " ".join(said)


_TABLE = "Yin et al. 2019, Table 1"
_WHERE_TRAINED = {"paper": "confirmed", "short": "confirmed"}


def _gap_claim(
    network: str,
    bits: int,
    better: str,
    worse: str,
    least: float,
    most: float,
    says: str,
    expected: Mapping[str, str] = _WHERE_TRAINED,
) -> Claim:
    return Claim(
        f"{network}-{bits}bit-{better}-{worse}".replace("_", "-"), says, "simulation", _TABLE,
        "difference of test accuracies, points, paired by seed", gap(network, bits, better, worse),
        least=least, most=most, expected=expected,
    )  # fmt: skip


CLAIMS = (
    _gap_claim("lenet5", 2, "relu", "identity", 0.1, 3.0,
               "LeNet-5, 2 bits: ReLU ends above the identity, by tenths of a point."),
    _gap_claim("lenet5", 2, "clipped_relu", "identity", 0.1, 3.0,
               "LeNet-5, 2 bits: so does clipped ReLU."),
    _gap_claim("lenet5", 2, "clipped_relu", "relu", -0.3, 0.3,
               "LeNet-5, 2 bits: the two are alike."),
    _gap_claim("lenet5", 4, "clipped_relu", "identity", 0.0, 1.0,
               "LeNet-5, 4 bits: clipped ReLU ends above the identity, by less."),
    _gap_claim("resnet20", 2, "clipped_relu", "relu", 5.0, 60.0,
               "ResNet-20, 2 bits: clipped ReLU ends far above ReLU."),
    _gap_claim("resnet20", 2, "clipped_relu", "identity", 5.0, 60.0,
               "ResNet-20, 2 bits: and far above the identity."),
    _gap_claim("resnet20", 4, "clipped_relu", "identity", 5.0, 60.0,
               "ResNet-20, 4 bits: far above the identity."),
    _gap_claim("vgg11", 2, "clipped_relu", "relu", 0.5, 10.0,
               "VGG-11, 2 bits: clipped ReLU ends above ReLU.", {"paper": "confirmed"}),
    _gap_claim("vgg11", 2, "relu", "identity", 0.5, 10.0,
               "VGG-11, 2 bits: ReLU ends above the identity.", {"paper": "confirmed"}),
    Claim("lenet5-instability", "LeNet-5: the identity, at a tiny rate, raises the loss from a good minimum.",
          "simulation", "Yin et al. 2019, section 4, for ResNet-20",
          "rise of the training loss, nats", climb("lenet5"), least=0.0, expected=_WHERE_TRAINED),
    Claim("resnet20-instability", "ResNet-20: the same.", "simulation", "Yin et al. 2019, section 4",
          "rise of the training loss, nats", climb("resnet20"), least=0.0, expected=_WHERE_TRAINED),
)  # fmt: skip
