"""The page: who wins with which optimizer, what it costs to carry the winner over, and at which rates."""

import math
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

from coarsegrad.measure import Interval, mean_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.optimizers.claims import FEW, log_ratios
from coarsegrad.studies.optimizers.grid import (
    Cell,
    Grid,
    Scores,
    agreement,
    cost_of_winner,
    gap,
    grid,
    mean_cost,
    over_seeds,
    seeds_of,
    shared,
    spread_of_estimators,
    spread_of_optimizers,
    told_apart,
    tuned,
    tuned_rate,
    winner,
)
from coarsegrad.studies.optimizers.nets import CONTEXT
from coarsegrad.studies.optimizers.runs import ESTIMATORS
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, Marks, TableView

_NETS = {
    "fashion_mnist": "LeNet-5 on Fashion-MNIST", "digits": "LeNet-5 on digits", "text": "Transformer on text",
}  # fmt: skip
_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "lion": "Lion", "muon": "Muon"}
_COLORS = {name: color for color, name in enumerate(ESTIMATORS)}
_PLAIN = "window"
_NOTHING = "Nothing was measured yet."


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    return [
        _about(rows), _found(rows), _grid(rows), _carried(rows), _rates(rows), _disguise(rows), _limits(rows),
    ]  # fmt: skip


def grids(rows: Rows) -> dict[str, tuple[Mapping[str, Any], Grid]]:
    """Every network and bits that were trained, by what it is called on the page."""
    found = told_apart(rows, "data", "width", "bits")
    return {
        f"{_NETS[one['data']]}, {one['bits'].upper()}": (one, grid(rows, **one))
        for one in sorted(found, key=lambda one: (one["data"], one["bits"]))
    }


def _about(rows: Rows) -> Chapter:
    return Chapter(
        "What is studied",
        "Estimators are mostly compared with one optimizer, and the winner is then used with another. Does "
        "the optimizer change which estimator wins? No paper claims an answer; this is a grid of estimators "
        "x SGD, Adam, AdamW, Lion, Muon x bits, fixed with its claims before it was run.\n\n"
        "**Networks.** LeNet-5 with a quantizer in place of every ReLU, on images; a transformer of two "
        f"layers on characters ({CONTEXT} at a time), quantized at the inputs of its linear layers, on the "
        "help topics that come with Python. The first and the last layer have 8 bits.\n\n"
        "**Estimators.** *window*: slope 1 between the outer levels, the usual one. Of activations: "
        "*identity*, slope 1; *steep*, EDE, the slope of a tanh over the levels that grows from flat to "
        "steep during the run. Of weights: *smooth weights*, the slope of a tanh over the levels. What is "
        "not named is usual: the window for activations; for weights of 1 bit slope 1, of more bits the "
        "window.\n\n"
        "**One budget.** Every cell, an estimator with an optimizer, gets the same steps, batches, seeds, "
        "and the same number of learning rates, a factor of about 3 apart, centred for each optimizer. A "
        "twentieth of the steps is warmup, then the rate falls with half a cosine. The rate of a cell is "
        "tuned on a held-out part, and on other seeds: for each seed it is the rate of lowest mean held-out "
        "loss over the *other* seeds. The numbers below are test losses, in bits a decision (an image's "
        "class, the next character); a run that breaks off or ends above guessing counts as guessing. SGD "
        "has momentum 0.9; Adam and AdamW betas 0.9 and 0.999, AdamW decay 0.1; Lion betas 0.9 and 0.99, "
        "decay 0.5; Muon momentum 0.95, decay 0.1, on the weights of hidden layers, AdamW on the rest.\n\n"
        + _budget(rows),
    )


def _budget(rows: Rows) -> str:
    """How much was run, from the rows."""
    lines = []
    for title, (one, found) in grids(rows).items():
        runs = [
            run for by in found.values() for cell in by.values() for r in cell.values() for run in r.values()
        ]
        steps, size = runs[0]["steps"], runs[0]["batch_size"]
        unit = f"{steps * size:,} images"
        if one["data"] == "text":
            unit = f"{steps * size * CONTEXT:,} characters, width {one['width']}"
        seeds, guessed = len({run["seed"] for run in runs}), sum(run["guessed"] for run in runs)
        lines.append(
            f"- {title}: {len(runs)} runs of {steps} steps, {unit}; {seeds} seeds; {guessed} ended "
            "at guessing."
        )
    if not lines:
        return _NOTHING
    return (
        "\n".join(lines) + "\n\nEvery run, tuned or not, is a row of the results: `coarsegrad results FOLDER "
        "--kind train --out runs.csv`."
    )


def _found(rows: Rows) -> Chapter:
    title = "What was found"
    lines, table = [], []
    for name, (_, found) in grids(rows).items():
        scores = tuned(found)
        if len(seeds_of(scores)) < 2 or len(scores) < 2:
            continue
        winners = {optimizer: winner(scores, optimizer) for optimizer in scores}
        prices = _prices(scores)
        dear = sum(price.low > 0 for price in prices.values())
        most = max(prices, key=lambda pair: prices[pair].estimate)
        said = "; ".join(
            f"*{won}* with {', '.join(_OPTIMIZERS[o] for o in scores if winners[o] == won)}"
            for won in dict.fromkeys(winners.values())
        )
        lines.append(
            f"- {name}: lowest mean loss for {said}. To take the estimator that wins with another optimizer "
            f"costs {_told(over_seeds(mean_cost(scores)))} bits in the mean over optimizers. Of "
            f"{len(prices)} ordered pairs {dear} cost something (95 % each: one in 40 would by chance); "
            f"the most is {_told(prices[most])}, {_OPTIMIZERS[most[0]]}'s winner used with "
            f"{_OPTIMIZERS[most[1]]}."
        )
        numbers = {
            "spread of estimators": spread_of_estimators(scores),
            "spread of optimizers": spread_of_optimizers(scores),
            "order: another optimizer": agreement(scores, one=False),
            "order: another seed": agreement(scores, one=True),
        }
        table.append({"": name, **{what: _told(over_seeds(v)) for what, v in numbers.items()}})
    lines += _disguised(rows)
    if not lines:
        return Chapter(title, _NOTHING)
    if not table:
        return Chapter(title, "\n".join(lines))
    after = (
        "Spreads: largest less smallest loss, in bits. Order: the rank correlation of the estimators' order "
        "with that of another optimizer, or of the same one, on another seed: 1 the same order, 0 chance. "
        "Means over seeds with 95 % intervals. A spread is above 0 by chance alone: compare the two."
    )
    return Chapter(title, "\n".join(lines), (TableView.of(table),), after=after)


def _disguised(rows: Rows) -> list[str]:
    """A sentence about the twins, where some seeds were measured with every optimizer."""
    told = []
    for optimizer, said in _OPTIMIZERS.items():
        ratio = over_seeds(log_ratios(rows, optimizer, "wave").values())
        if ratio is None:
            return []
        told.append(f"{said} {math.exp(ratio.estimate):.2f}")
    largest = {
        name: max(r["distance"] for r in rows["twins"] if r["optimizer"] == name and "8" in r["run"])
        for name in ("lion", "muon", "adam", "sgd")
    }
    return [
        "- Of an estimator of *weights* steep at the borders, the distance to the plain one's run, in units "
        f"of that of a rerun with its batches in another order: {', '.join(told)}. Of one with slope 8 or "
        f"1/8 the largest distance: {', '.join(f'{_OPTIMIZERS[n]} {d:.2g}' for n, d in largest.items())}."
    ]


def _grid(rows: Rows) -> Chapter:
    title = "The grid"
    tables, figures = [], {}
    for name, (one, found) in grids(rows).items():
        scores = tuned(found)
        if not seeds_of(scores):
            continue
        tables.append(_table(scores, f"{name}: test loss in bits at tuned rates. Lowest of a row: •."))
        accuracy = f"{name}: accuracy in percent of the same runs. Highest of a row: •."
        tables.append(_table(tuned(found, "accuracy"), accuracy, max, digits=2))
        if len(seeds_of(scores)) > 1 and all(_PLAIN in by for by in scores.values()):
            figures[f"gaps-{one['data']}-{one['bits']}"] = _gaps(name, scores)
    if not tables:
        return Chapter(title, _NOTHING)
    text = "Means over paired seeds, and half the width of their 95 % intervals."
    return Chapter(title, text, tuple(tables), figures)


def _table(scores: Scores, caption: str, best: Callable[..., str] = min, digits: int = 3) -> TableView:
    lines = []
    for optimizer, by in scores.items():
        means = {name: mean_interval(runs.values()) for name, runs in by.items()}
        first = best(means, key=lambda name: means[name].estimate)
        line = {"optimizer": _OPTIMIZERS[optimizer]}
        for name, value in means.items():
            half = f" ± {value.high - value.estimate:.{digits}f}" if len(by[name]) > 1 else ""
            line[name] = f"{value.estimate:.{digits}f}{half}{' •' if name == first else ''}"
        lines.append(line)
    return TableView.of(lines, caption=caption)


def _gaps(name: str, scores: Scores) -> Figure:
    names = [other for other in shared(scores) if other != _PLAIN]
    items = []
    for other in names:
        ends = [mean_interval(gap(scores, optimizer, _PLAIN, other)) for optimizer in scores]
        items.append(
            drawn.bars([_OPTIMIZERS[o] for o in scores], [e.estimate for e in ends], other,
                       low=[e.low for e in ends], high=[e.high for e in ends], color=_COLORS[other])
        )  # fmt: skip
    return drawn.figure(
        f"{name}: what an estimator loses to the window, optimizer by optimizer", "optimizer",
        "test loss above the window's [bits]", items,
        caption="Paired by seed, at tuned rates; whiskers are 95 % intervals. Below 0 it beats the window.",
    )  # fmt: skip


def _prices(scores: Scores) -> dict[tuple[str, str], Interval]:
    """What the winner chosen with the first optimizer costs with the second, of every pair."""
    return {(a, b): mean_interval(cost_of_winner(scores, a, b)) for a, b in permutations(scores, 2)}


def _carried(rows: Rows) -> Chapter:
    title = "What it costs to carry the winner over"
    tables = []
    for name, (_, found) in grids(rows).items():
        scores = tuned(found)
        if len(seeds_of(scores)) < 2 or len(scores) < 2:
            continue
        prices = _prices(scores)
        lines = [
            {"chosen with": f"{_OPTIMIZERS[a]}: {winner(scores, a)}",
             **{f"used with {_OPTIMIZERS[b]}": "–" if a == b else _told(prices[a, b]) for b in scores}}
            for a in scores
        ]  # fmt: skip
        tables.append(TableView.of(lines, caption=f"{name}: bits lost, mean over seeds with 95 % interval."))
    if not tables:
        return Chapter(title, _NOTHING)
    text = (
        "The estimator that wins with one optimizer, used with another, less that optimizer's own winner. "
        "Both are chosen on the other seeds and paid on this one, so a number may be below 0: then the own "
        "winner was chosen by chance. The estimator named is the winner over all seeds."
    )
    return Chapter(title, text, tuple(tables))


def _rates(rows: Rows) -> Chapter:
    title = "Learning rates"
    figures, tables = {}, []
    edge = cells = 0
    for name, (one, found) in grids(rows).items():
        scores = tuned(found)
        if max((len(cell) for by in found.values() for cell in by.values()), default=0) < 2:
            continue
        lines = []
        for optimizer, by in found.items():
            chosen = {n: [tuned_rate(cell, seed) for seed in seeds_of(scores)] for n, cell in by.items()}
            edge += sum(rate in (min(by[n]), max(by[n])) for n, rates in chosen.items() for rate in rates)
            cells += sum(map(len, chosen.values()))
            told = {n: ", ".join(f"{r:g}" for r in sorted(set(rates))) for n, rates in chosen.items()}
            lines.append({"optimizer": _OPTIMIZERS[optimizer], **told})
            if one["bits"] == FEW:
                figures[f"rates-{one['data']}-{optimizer}"] = _rate_figure(name, optimizer, by)
        tables.append(TableView.of(lines, caption=f"{name}: the tuned rates, of all seeds."))
    if not tables:
        return Chapter(title, _NOTHING)
    text = (
        f"Test loss against the learning rate, and the rates that were chosen: {edge} of {cells} times the "
        "first or last of those tried, where another might have been better still. Runs are short, which "
        "favours large rates."
    )
    return Chapter(title, text, tuple(tables), figures)


def _rate_figure(name: str, optimizer: str, by: Mapping[str, Cell]) -> Figure:
    items = []
    for estimator, cell in by.items():
        rates = sorted(cell)
        ends = [mean_interval(run["loss"] for run in cell[lr].values()) for lr in rates]
        band = [[getattr(end, part) for end in ends] for part in ("low", "high")]
        shown = band if all(len(cell[lr]) > 1 for lr in rates) else [None, None]
        items.append(
            drawn.line(rates, [e.estimate for e in ends], estimator, *shown, color=_COLORS[estimator])
        )
    return drawn.figure(
        f"{name}, {_OPTIMIZERS[optimizer]}: test loss against the learning rate", "learning rate",
        "test loss [bits]", items, log_x=True, caption="Means over seeds; bands are 95 % intervals.",
    )  # fmt: skip


def _disguise(rows: Rows) -> Chapter:
    title = "Estimators of weights in disguise"
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows.get("twins", ()):
        found.setdefault(row["run"], {}).setdefault(row["optimizer"], []).append(row)
    if not found:
        return Chapter(title, _NOTHING)
    first = rows["twins"][0]
    runs = [run for run in found if run != "plain"]
    optimizers = list(found["plain"])
    lines = []
    for optimizer in optimizers:
        line: Row = {"optimizer": _OPTIMIZERS[optimizer]}
        for run in runs:
            told = mean_interval(row["distance"] for row in found[run][optimizer])
            same = sum(row["same"] for row in found[run][optimizer]) / len(found[run][optimizer])
            line |= {f"{run}: distance": round(told.estimate, 3), f"{run}: same levels": round(same, 3)}
        lines.append(line)
    text = (
        f"LeNet-5 on digits, {first['steps']} steps of {first['batch_size']} images; weights of the hidden "
        "layers of 2 bits with fixed scales, all else float. The plain estimator, slope 1, beside slope 8 "
        "and 1/8, and the *wave* `1 - 0.8 cos 2πx`, steep at the borders of the levels: same start, same "
        "batches. The distance `|a - b| / sqrt(|a|² + |b|²)` of how the latents moved is 0 for one run, 1 "
        "for moves at a right angle. *Other order*: the plain estimator again, its batches in another "
        "order.\n\nA slope that is one number multiplies the gradients of the latents. Lion takes a sign, "
        "Muon divides a matrix by its norm: nothing changes (*theorem*; with powers of 2 also in rounding). "
        "Adam divides by their size plus 1e-8, so little changes; for SGD it is another learning rate. A "
        "slope that varies from weight to weight keeps every gradient's sign; Muon mixes the entries "
        "of a matrix."
    )
    items = []
    for color, run in enumerate(runs):
        ends = [mean_interval(row["distance"] for row in found[run][o]) for o in optimizers]
        few = any(len(found[run][o]) < 2 for o in optimizers)
        whiskers = {} if few else {"low": [e.low for e in ends], "high": [e.high for e in ends]}
        names = [_OPTIMIZERS[o] for o in optimizers]
        items.append(drawn.bars(names, [e.estimate for e in ends], run, color=color, **whiskers))
    figure = drawn.figure(
        "How far a weights' estimator leads from the plain one, optimizer by optimizer", "optimizer",
        "distance of the latents' moves", [*items, Marks((1.0,), axis="y")],
        caption="Means over seeds; whiskers are 95 % intervals. At 1: moves at a right angle.",
    )  # fmt: skip
    return Chapter(title, text, (TableView.of(lines),), {"disguise": figure}, columns=1)


def _limits(rows: Rows) -> Chapter:
    return Chapter(
        "What this does not say",
        "Runs are short: they say who is ahead early, not who ends best. Three rates a cell are few, and "
        "decay and momentum were not tuned. With a handful of seeds an interval that crosses 0 says *don't "
        "know*, not *no difference*. Seeds share the choice of rates and winners of one another, which their "
        "intervals, Student's, do not count. *steep* is IR-Net's schedule for signs, used here over more "
        "levels than it was made for. Muon's update and AdamW's have one rate here, as Liu et al. 2025 "
        "scale it.",
    )


def _told(value: Interval | None) -> str:
    return "–" if value is None else f"{value.estimate:.3f} ({value.low:.3f} to {value.high:.3f})"
