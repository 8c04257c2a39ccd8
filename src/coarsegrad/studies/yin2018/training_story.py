"""The page's chapters about networks: what the blending weight is worth beside BinaryConnect."""

import math
from collections.abc import Sequence

from coarsegrad.measure import Interval, mean_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.studies.yin2018 import training
from coarsegrad.view import Figure, TableView

_NOTHING = "Nothing was measured yet."


def digits(rows: Rows) -> Chapter:
    """A small network under every blending weight, at two schedules."""
    title = "A small network: the effect of the weight"
    if not rows.get("digits"):
        return Chapter(title, _NOTHING)
    one = rows["digits"][0]
    there = [schedule for schedule in training.SCHEDULES if training.at(rows, "digits", "flips", schedule)]
    tables = tuple(
        TableView.of(_arms(rows, "digits", schedule), caption=f"{schedule.capitalize()} rate.")
        for schedule in there
    )
    figures = {
        "digits-loss": _over_weights(
            rows, there, "train_loss", "training loss of the last epoch [nats]",
            "Training loss over the blending weight, at a constant and at a falling rate",
        ),
        "digits-flips": _over_weights(
            rows, there, "flips", "signs changed in the last epoch [% of the weights]",
            "Signs changed in the last epoch, over the blending weight",
        ),
    }  # fmt: skip
    text = (
        f"{one['model']} on scikit-learn's digits, all weights of 1 bit, activations of 4; {one['epochs']} "
        f"epochs from a float model of {one['pretrain_epochs']}, which all arms of a seed share, batches of "
        f"{one['batch_size']}, rate {one['lr']:g}, momentum {one['momentum']:g}. BinaryConnect clips latents "
        "to [-1, 1] and does not blend; *neither* and the blended arms do not clip, so what blending does is "
        f"their difference. {_clip(rows, 'digits')} A weight of blending is kept for the whole run; in the "
        "authors' code it grows every epoch from 0.00001 up to 0.01. Differences are paired by seed, with "
        "95 % intervals."
    )
    return Chapter(title, text, tables, figures)


def _over_weights(rows: Rows, schedules: Sequence[str], key: str, label: str, title: str) -> Figure:
    blends = {1e-6: "", **{_rho(arm): arm for arm in training.ARMS if arm.startswith("blend")}}
    lines = []
    for color, schedule in enumerate(schedules):
        found = training.at(rows, "digits", key, schedule)
        values = {rho: mean_interval(found[arm].values()) for rho, arm in blends.items() if arm in found}
        low, high = ([_end(getattr(v, end)) for v in values.values()] for end in ("low", "high"))
        mid = [value.estimate for value in values.values()]
        lines.append(drawn.line(list(values), mid, f"{schedule} rate", low, high, color=color))
    return drawn.figure(
        title, "blending weight rho (leftmost: none)", label, lines, log_x=True,
        caption="Means over seeds, band: 95 %.",
    )  # fmt: skip


def resnet(rows: Rows) -> Chapter:
    """ResNet-20, by epoch."""
    title = "ResNet-20 on CIFAR-10, a short schedule"
    if not rows.get("resnet20"):
        return Chapter(title, f"{_NOTHING} The preset `paper` trains it, with --data-folder.")
    one = rows["resnet20"][0]
    lines, there = [], {row["arm"] for row in rows["resnet20"]}
    for color, arm in enumerate(arm for arm in training.ARMS if arm in there):
        x, mid, low, high = [], [], [], []
        for left in reversed(range(one["epochs"])):
            values = training.at(rows, "resnet20", "train_loss", left=left).get(arm, {}).values()
            value = mean_interval(values)
            x.append(one["epochs"] - left)
            mid.append(value.estimate)
            low.append(_end(value.low))
            high.append(_end(value.high))
        lines.append(drawn.line(x, mid, training.ARMS[arm], low, high, color=color))
    figure = drawn.figure(
        "ResNet-20: training loss by epoch, blending beside BinaryConnect", "epoch", "training loss [nats]",
        lines, caption="Means over seeds, band: 95 %.",
    )  # fmt: skip
    text = (
        f"All weights of 1 bit, activations of 4; {one['epochs']} epochs over all images from a float "
        f"model of {one['pretrain_epochs']}, rate {one['lr']:g}, a tenth of it in the last epoch. **This "
        "is no claim about full schedules:** the authors' code trains for 200 epochs, and what differs "
        f"early may not differ late. {_clip(rows, 'resnet20')} Differences are paired by seed."
    )
    table = TableView.of(_arms(rows, "resnet20"), caption="After the last epoch.")
    before = TableView.of(_arms(rows, "resnet20", left=1), caption="An epoch before, at the full rate.")
    return Chapter(title, text, (table, before), {"resnet20": figure}, columns=1)


def _clip(rows: Rows, kind: str) -> str:
    """Whether BinaryConnect's clip acts, and how far latents go without it."""
    ends = [row for row in rows[kind] if row["epoch"] == row["epochs"]]
    bound, free = (
        [row["largest"] for row in ends if row["arm"] == arm]
        for arm in (training.BINARY_CONNECT, training.NEITHER)
    )
    at = sum(largest >= 1 for largest in bound)
    acts = "so its clip acts" if at else "so its clip did little or nothing"
    told = f"BinaryConnect ends with latents at its bounds in {at} of {len(bound)} runs, {acts}"
    return f"{told}; with neither the largest latent is {max(free):.2f}." if free else f"{told}."


def _arms(rows: Rows, kind: str, schedule: str | None = None, left: int = 0) -> list[Row]:
    table = []
    found = training.at(rows, kind, "test_accuracy", schedule, left)
    for arm, says in {"float": "float, before", **training.ARMS}.items():
        if arm not in found:
            continue
        row: Row = {"arm": says, "seeds": len(found[arm])}
        for key, label in (("train_loss", "training loss"), ("test_accuracy", "accuracy [%]")):
            row[label] = str(
                _short(mean_interval(training.at(rows, kind, key, schedule, left)[arm].values()))
            )
            for other, name in ((training.NEITHER, "neither"), (training.BINARY_CONNECT, "BinaryConnect")):
                gap = training.gap(kind, key, arm, other, schedule=schedule, left=left)(rows)
                itself = arm in ("float", other)
                row[f"{label}, less {name}'s"] = "–" if gap is None or itself else str(_short(gap))
        flips = training.at(rows, kind, "flips", schedule, left).get(arm)
        row["signs changed [%]"] = mean_interval(flips.values()).estimate if flips else None
        table.append(row)
    return table


def _short(value: Interval) -> Interval | float:
    """Its estimate alone where there is no interval."""
    return value if math.isfinite(value.low) else round(value.estimate, 4)


def _end(value: float) -> float:
    """An end of an interval for a picture: a gap where there is none."""
    return value if math.isfinite(value) else math.nan


def _rho(arm: str) -> float:
    return float(arm.removeprefix("blend(rho=").split(",")[0].rstrip(")"))
