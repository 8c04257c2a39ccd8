"""The report of a run or a comparison: one page with curves, tables, weights against levels, and settings."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from coarsegrad import nn as pair
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.train.build import HELD_OUT, load_data
from coarsegrad.train.compare import CALIBRATION, Arm, Comparison, Row, arm_of, table_of
from coarsegrad.train.levels import level_sections
from coarsegrad.train.loop import load_run
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.results import differences, finals, sentences, summary
from coarsegrad.train.zoo import build as build_float
from coarsegrad.view import (
    Bars,
    Code,
    Figure,
    Figures,
    KeyValues,
    Line,
    Marks,
    Note,
    Points,
    TableView,
    Text,
    page,
    write_page,
)
from coarsegrad.view.page import Section

_CURVES = {"train_loss": "Training loss [nats]", "test_loss": "Test loss [nats]",
           "train_accuracy": "Training accuracy [%]", "test_accuracy": "Test accuracy [%]"}  # fmt: skip


def report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run's or a comparison's folder; returns its path.

    Raises ``FileNotFoundError`` where the folder holds neither.
    """
    folder = Path(folder)
    if (folder / "comparison.toml").exists():
        title, sections = _of_comparison(folder)
    elif (folder / "plan.toml").exists():
        title, sections = _of_run(folder)
    else:
        raise FileNotFoundError(
            f"{folder} holds neither a run nor a comparison: coarsegrad train or compare --out writes one"
        )
    return write_page(folder / "report.html", page(title, sections))


def surrogate_figure(
    surrogates: Sequence[tuple[str, Surrogate]], progress: Sequence[float] = (0.0,)
) -> Figure:
    """Curve (solid) and slope (dashed) of named surrogates; scheduled ones at each training progress."""
    items: list[Line | Marks] = []
    for text, surrogate in surrogates:
        scheduled = surrogate.at(0.5) != surrogate
        for p in progress if scheduled else progress[:1]:
            now, name, color = surrogate.at(p), f"{text} at {p:g}" if scheduled else text, len(items) // 2
            x = _grid(now)
            try:
                slope, what = now.slope(x), "slope"
            except TypeError:  # EWGS looks at the upstream gradient
                slope, what = now.pullback(torch.ones_like(x), x), "slope for upstream +1"
            at, curve, slope = (tuple(v.tolist()) for v in (x, now.curve(x), slope))
            items.append(Line(at, curve, f"{name}: curve", color=color))
            items.append(Line(at, slope, f"{name}: {what}", dashed=True, color=color))
    return Figure(
        "Surrogates: curve and slope",
        "quantizer's input, in units of its scale",
        "curve, slope",
        tuple(items),
    )


def _grid(surrogate: Surrogate) -> torch.Tensor:
    """Points on both sides of each jump, close by."""
    x = torch.linspace(-2.5, 2.5, 401, dtype=torch.float64)
    near = [b + d for b in surrogate.breaks or () if abs(b) < 2.5 for d in (-1e-6, 1e-6)]
    return torch.cat([x, torch.tensor(near, dtype=torch.float64)]).unique()


# A run.


def _of_run(folder: Path) -> tuple[str, list[Section]]:
    plan, model, rows = load_run(folder)
    title = f"{plan.model} on {plan.data}, {_bits(plan)}"
    last: Row = rows[-1] if rows else {}
    sections: list[Section] = [
        Text("## Result"),
        Note("measured", f"After epoch {len(rows)} of {plan.total_epochs}, seed {plan.seed}: test accuracy "
             f"{last.get('test_accuracy', float('nan')):.2f} %. One run says nothing about its spread over "
             "seeds; `coarsegrad compare` does."),
        Text("## Curves"),
        Figures(tuple(_run_curves(rows)), columns=2),
    ]  # fmt: skip
    flips = _flips({"": [rows]})
    if flips:
        sections += [Text("## Weight codes that change"), _FLIP_NOTE, Figures(tuple(flips), columns=2)]
    if plan.quantized and rows and rows[-1]["phase"] == "quantized":
        sections += level_sections([(_bits(plan), plan, model)])
    sections += [Text("## Epochs"), TableView.of([_plain(row) for row in rows])]
    return title, [*sections, *_settings(plan, folder, plan.values())]


def _run_curves(rows: list[Row]) -> Iterator[Figure]:
    epochs = tuple(row["epoch"] for row in rows)
    begin = next((row["epoch"] - 0.5 for row in rows if row["phase"] == "quantized"), 0)
    marks = (Marks((begin,), "quantized from here"),) if begin > 1 else ()
    for what, label in (("loss", "cross entropy [nats]"), ("accuracy", "accuracy [%]")):
        lines = [Line(epochs, tuple(r[f"{p}_{what}"] for r in rows), p) for p in ("train", "test")]
        positive = what == "loss" and all(r[f"{p}_loss"] > 0 for r in rows for p in ("train", "test"))
        yield Figure(what.capitalize(), "epoch", label, (*lines, *marks), log_y=positive)


# A comparison.


def _of_comparison(folder: Path) -> tuple[str, list[Section]]:
    c, table = Comparison.read(folder / "comparison.toml"), table_of(folder)
    rows = [row for kind in ("run", "ptq") for row in table.rows(kind=kind)]
    several = len(c.weight_surrogates) > 1
    found, failed = finals(rows, c), table.rows(kind="failed")
    missing = c.seeds * (len(c.arms) + 1) - sum(len(v) for arm, v in found.items() if arm.kind == "run")
    title = f"{', '.join(c.bits)}: {c.base.model} on {c.base.data}, {c.seeds} seeds"
    sections: list[Section] = [Text("## Result")]
    sections += [Note("measured", text) for text in sentences(rows, c)]
    if missing - len(failed) > 0:
        sections.append(Note("don't know", f"{missing} of the runs are not finished: run the command again."))
    for r in failed:
        text = f"{arm_of(r).label(several)}, seed {r['seed']}, failed: {r['reason']}"
        sections.append(Note("measured", text))
    wide = [
        {k: v for k, v in row.items() if k not in ("bits", "weight_surrogate", "activation_surrogate")}
        for row in summary(rows, c)
    ]
    best = {"accuracy": "max"}
    caption = (
        "Test accuracy [%] after the last epoch; `low` to `high` is the mean's 95 % interval over seeds."
    )
    sections += [
        Figures((_errors(found, several),), columns=1),
        TableView.of(wide, caption=caption, best=best),
    ]
    sections += [Text("## Differences"), Text(_HOW_DIFFERENCES), TableView.of(differences(rows, c))]
    sections.append(Note("heuristic", _HOW_SEEDS))
    sections += [Text("## Curves"), Figures(tuple(_bands(rows, found, several)), columns=2)]
    by_arm = {arm.label(several): _by_seed(rows, arm, c) for arm in c.arms}
    flips = _flips(by_arm)
    if flips:
        sections += [Text("## Weight codes that change"), _FLIP_NOTE, Figures(tuple(flips), columns=2)]
    sections += level_sections(list(_first_models(found, folder, several)))
    sections += [Text("## How they were compared"), Text(_budget(c))]
    if c.tune:
        sections.append(_tuning(table.rows(kind="trial"), c, several))
    return title, [*sections, *_settings(c.plan(c.arms[0], c.base.seed), folder, c.values())]


_FLIP_NOTE = Note(
    "measured", "The share of a layer's weight codes that differ before and after each epoch, in [0, 1]."
)
_HOW_DIFFERENCES = (
    "Paired by seed: the runs of a pair share first weights and batch order. `difference` is mean(a - b) in "
    "points of test accuracy with one pair's own 95 % interval (Student t). `p_holm` is corrected for the "
    "number of pairs (Holm 1979): the chance of one false *resolved* in the whole table is at most 5 %. "
    "Differences equal in all seeds have no spread to test against and count as unresolved."
)
_HOW_SEEDS = (
    "`more_seeds` plans a new comparison: that many seeds more would resolve the pair with power 0.8 if its "
    "true difference and spread were those seen here. Adding seeds until something shows raises the rate of "
    "false alarms."
)


def _budget(c: Comparison) -> str:
    b = c.base
    before = (
        f"Each starts from its seed's float model of {b.pretrain_epochs} epochs. "
        if b.pretrain_epochs
        else ""
    )
    tuned = (
        f"Learning rate: each arm, the float one too, had {c.tune} trials of equal length on a seed of their "
        f"own, with every {HELD_OUT}th *training* image held out; the test images took no part."
        if c.tune
        else f"Learning rate {b.lr:g} for all, tuned for none."
    )
    return (
        f"Every row: {b.epochs} epochs of batches of {b.batch_size}, {b.optimizer}, {b.schedule} schedule, "
        f"the same seeds. {before}{tuned}\n\n*float* is the same network without quantizers, trained alike. "
        "*calibrated only* is that float network, quantized after training: ranges and batch norm statistics "
        f"from {CALIBRATION} training images, no training. The last epoch counts, not the best one: no "
        "choice is made on test images."
    )


def _errors(found: dict[Arm, dict[int, Row]], several: bool) -> Figure:
    """Bars from zero have a meaning for errors, not for accuracies."""
    shown = {
        arm.label(several): [100 - r["test_accuracy"] for r in by.values()] for arm, by in found.items() if by
    }
    points = [(float(k), error) for k, errors in enumerate(shown.values()) for error in errors]
    items = (
        Bars(tuple(shown), tuple(sum(errors) / len(errors) for errors in shown.values()), "mean over seeds"),
        Points(tuple(x for x, _ in points), tuple(y for _, y in points), "one seed each"),
    )
    return Figure("Test error", "", "test error [%], lower is better", items)


def _bands(rows: list[Row], found: dict[Arm, dict[int, Row]], several: bool) -> Iterator[Figure]:
    for key, label in _CURVES.items():
        items: list[Any] = []
        for color, arm in enumerate(arm for arm in found if arm.kind == "run"):
            runs = [row for row in rows if arm_of(row) == arm and row["seed"] in found[arm]]
            by_epoch: dict[int, list[float]] = {}
            for row in runs:
                by_epoch.setdefault(row["epoch"], []).append(row[key])
            x, values = list(by_epoch), list(by_epoch.values())
            mean, low, high = (tuple(f(v) for v in values) for f in (lambda v: sum(v) / len(v), min, max))
            items.append(Line(tuple(x), mean, arm.label(several), low, high, color=color))
        positive = key.endswith("loss") and all(v > 0 for item in items for v in item.low)
        yield Figure(
            label.split(" [")[0],
            "epoch",
            label,
            tuple(items),
            log_y=positive,
            caption="Mean; band: lowest to highest seed.",
        )


def _by_seed(rows: list[Row], arm: Arm, c: Comparison) -> list[list[Row]]:
    mine = [row for row in rows if arm_of(row) == arm]
    return [runs for seed in c.all_seeds if (runs := [r for r in mine if r["seed"] == seed])]


def _flips(by_arm: dict[str, list[list[Row]]]) -> list[Figure]:
    """A figure per layer with a line per arm; for one arm alone one figure with a line per layer."""
    lines: dict[str, dict[str, Line]] = {}
    for color, (arm, runs) in enumerate(by_arm.items(), start=1):  # 0 is the float model's elsewhere
        layers = dict.fromkeys(key for run in runs for row in run for key in row if key.startswith("flips/"))
        for layer in layers:
            by_epoch: dict[int, list[float]] = {}
            for row in (row for run in runs for row in run if layer in row):
                by_epoch.setdefault(row["epoch"], []).append(row[layer])
            mean = tuple(sum(v) / len(v) for v in by_epoch.values())
            name = layer.removeprefix("flips/")
            label, number = (arm, color) if len(by_arm) > 1 else (name, len(lines))
            lines.setdefault(name, {})[arm] = Line(tuple(by_epoch), mean, label, color=number)
    if len(by_arm) == 1 and lines:
        items = tuple(line for by in lines.values() for line in by.values())
        return [Figure("Flips per layer", "epoch", "share of codes changed in the epoch", items)]
    return [
        Figure(name, "epoch", "share of codes changed in the epoch", tuple(by.values()))
        for name, by in lines.items()
    ]


def _first_models(
    found: dict[Arm, dict[int, Row]], folder: Path, several: bool
) -> Iterator[tuple[str, TrainPlan, Any]]:
    for arm, rows in found.items():
        if arm.kind == "run" and arm.bits != "float" and rows:
            place = folder / "runs" / next(iter(rows.values()))["task"]
            if (place / "plan.toml").exists():
                plan, model, _ = load_run(place)
                yield arm.label(several), plan, model


def _tuning(trials: list[Row], c: Comparison, several: bool) -> TableView:
    last = [r for r in trials if r["epoch"] == c.base.epochs]
    rows: dict[str, Row] = {}
    for r in last:
        label = arm_of(r).label(several)
        rows.setdefault(label, {"arm": label})[f"lr {r['rate']:g}"] = r["test_accuracy"]
    return TableView.of(rows.values(), caption="Held-out accuracy [%] of each learning rate tried.")


# What it was made with.


def plan_text(plan: TrainPlan) -> str:
    """What the plan quantizes, layer by layer, as ``coarsegrad plan`` prints it; MACs are for one image."""
    data = load_data(plan)
    model = build_float(plan.model, in_shape=data.in_shape, classes=len(data.classes))
    recipe = plan.read_recipe()
    if recipe is None:
        return f"{plan.model}: float, {sum(p.numel() for p in model.parameters()):,} parameters"
    return str(pair.plan(model, recipe, torch.zeros(1, *data.in_shape)))


def _settings(plan: TrainPlan, folder: Path, values: dict[str, Any]) -> list[Section]:
    sections: list[Section] = []
    try:
        sections += [Text("## Plan\n\nMultiply-accumulates are for one image."), Code(plan_text(plan))]
    except (OSError, ValueError, ImportError) as error:
        sections.append(Note("don't know", f"No plan: the data could not be read ({error})."))
    shown = {k: ", ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in values.items()}
    sections += [Text("## Configuration"), KeyValues(tuple(shown.items()))]
    files = [folder / "versions.json", *sorted(folder.glob("runs/*/versions.json"))]
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    if found:
        sections += [
            Text("## Versions"),
            KeyValues(tuple((k, v) for k, v in found[0].items() if k not in ("seed", "plan_id"))),
        ]
    command = folder / "command.txt"
    if command.exists():
        sections += [
            Text("## The command that repeats it"),
            Code(command.read_text(encoding="utf-8").strip()),
        ]
    return sections


def _bits(plan: TrainPlan) -> str:
    return plan.recipe or "float"


def _plain(row: Row) -> Row:
    keep = (
        "phase",
        "epoch",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "lr",
        "seconds",
        "samples_per_second",
        "flips",
    )
    return {key: row.get(key) for key in keep if key in row}
