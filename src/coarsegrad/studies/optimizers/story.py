"""The page: who wins with which optimizer, what it costs to carry the winner over, and at which rates."""

import math
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

from coarsegrad.measure import Interval, mean_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.optimizers.claims import FEW, log_ratios
from coarsegrad.studies.optimizers.grid import (
    CHOSEN,
    Cell,
    Grid,
    Scores,
    agreement,
    cost_of_winner,
    gap,
    grid,
    mean_cost,
    moved,
    of_chosen,
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
        "help topics that come with Python. The first and the last layer's weights are float. No step "
        "between levels is trained, for then it would also be compared how an optimizer trains steps: "
        "weights have one per channel, of least squares (1 bit: the mean size), taken anew at every step; "
        "activations of LeNet-5 that of a half-normal, those of the transformer one fitted on the first "
        "batch.\n\n"
        "**Estimators.** *window*: slope 1 between the outer levels, the usual one. Of activations: "
        "*identity*, slope 1; *steep*, EDE, the slope of a tanh over the levels that grows from flat to "
        "steep during the run. Of weights: *smooth weights*, the slope of a tanh over the levels. What is "
        "not named is usual: the window for activations, slope 1 for weights, whose steps follow them.\n\n"
        "**One budget.** Every cell, an estimator with an optimizer, gets the same steps, batches, seeds, "
        "and the same number of learning rates, a factor of about 3 apart, centred for each optimizer on "
        "what the window liked in trials before, which favours it. A "
        "twentieth of the steps is warmup, then the rate falls with half a cosine. The rate of a cell is "
        "tuned on a held-out part, and on other seeds: for each seed it is the rate of lowest mean held-out "
        "loss over the *other* seeds. The numbers below are test losses, in bits a decision (an image's "
        "class, the next character); a run that breaks off or ends above guessing counts as guessing. SGD "
        "has momentum 0.9; Adam and AdamW betas 0.9 and 0.999, AdamW decay 0.1; Lion betas 0.9 and 0.99, "
        "decay 0.5; Muon momentum 0.95, decay 0.1, on the weights of hidden layers, AdamW, "
        "as above, on the rest.\n\n" + _budget(rows),
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
    most = max(run["steps"] for run in rows["train"])
    return (
        "\n".join(lines) + f"\n\nAll runs are short: {most} steps at most, where training to the end takes "
        "many thousands.\n\nEvery run, tuned or not, is a row of the results: `coarsegrad results FOLDER "
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
        said = "; ".join(
            f"*{won}* with {', '.join(_OPTIMIZERS[o] for o in scores if winners[o] == won)}"
            for won in dict.fromkeys(winners.values())
        )
        lines.append(
            f"- {name}: lowest mean loss for {said}. To take the estimator that wins with another optimizer "
            f"costs {_told(of_chosen(mean_cost(scores)))} bits in the mean over optimizers."
            f"{_dearest({p: price for p, price in prices.items() if winners[p[0]] != winners[p[1]]})}"
        )
        numbers = {
            "spread of estimators": of_chosen(spread_of_estimators(scores)),
            "spread of optimizers": of_chosen(spread_of_optimizers(scores)),
            "order: another optimizer": agreement(scores, one=False),
            "order: another seed": agreement(scores, one=True),
            "order: apart beyond chance": moved(scores),
        }
        table.append({"": name, **{what: _told(value) for what, value in numbers.items()}})
    lines += _disguised(rows)
    if not lines:
        return Chapter(title, _NOTHING)
    if not table:
        return Chapter(title, "\n".join(lines))
    after = (
        "Spreads: the loss of the worst less that of the best, in bits. Both are chosen on the other seeds "
        "and paid on this one, so that a spread by chance alone is 0 in the mean. Order: the rank "
        "correlation of the estimators' order with that of another optimizer, or of the same one, on another "
        "seed: 1 the same order, 0 chance. An optimizer whose losses are noisy agrees little with any, "
        "itself included: *apart beyond chance* takes this out, as the root of both optimizers' correlations "
        "with themselves less theirs with one another, 0 where one order holds for both; – where one does "
        "not agree with itself. Intervals of spreads and costs, and of every claim about the grid but the "
        "orders', are Student's of 99 %: best, worst and winner are chosen on one another's seeds, and in "
        "draws of pure noise these leave out 0 in 2 to 4 of 100. "
        "Of orders 95 %, by a jackknife over seeds, of three or more: one of no width, or beyond 1, says "
        "that so few seeds all gave about one number, not that it is known so well."
    )
    return Chapter(title, "\n".join(lines), (TableView.of(table),), after=after)


def _dearest(prices: Mapping[tuple[str, str], Interval]) -> str:
    """A sentence about the pairs of optimizers whose winners differ."""
    if not prices:
        return " All have the same winner."
    dear = sum(price.low > 0 for price in prices.values())
    most = max(prices, key=lambda pair: prices[pair].estimate)
    return (
        f" The winners of {len(prices)} ordered pairs differ; {dear} of these cost something (each judged by "
        f"itself; of a hundred one or two would by chance); the most is {_told(prices[most])}, "
        f"{_OPTIMIZERS[most[0]]}'s winner used with {_OPTIMIZERS[most[1]]}."
    )


def _disguised(rows: Rows) -> list[str]:
    """A sentence about the twins, where some seeds were measured with every optimizer."""
    told = []
    for optimizer, said in _OPTIMIZERS.items():
        ratio = over_seeds(log_ratios(rows, optimizer, "wave").values())
        if ratio is None:
            return []
        told.append(f"{said} {math.exp(ratio.estimate):.2f}")
    largest = {
        name: max(distances)
        for name in ("lion", "muon", "adam", "sgd")
        if (distances := [d for run in ("times 8", "over 8") for d in _distances(rows, name, run)])
    }
    return [
        "- Of an estimator of *weights* steep at the borders, the distance to the plain one's run, in units "
        f"of that of a rerun with its batches in another order: {', '.join(told)}. Of one with slope 8 or "
        f"1/8 the largest distance: {', '.join(f'{_OPTIMIZERS[n]} {d:.2g}' for n, d in largest.items())}."
    ]


def _distances(rows: Rows, optimizer: str, run: str) -> list[float]:
    """Of the twins that did not break."""
    return [
        row["distance"] for row in rows.get("twins", ())
        if (row["optimizer"], row["run"]) == (optimizer, run) and not row["broke"]
    ]  # fmt: skip


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
    return {(a, b): mean_interval(cost_of_winner(scores, a, b), CHOSEN) for a, b in permutations(scores, 2)}


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
        tables.append(TableView.of(lines, caption=f"{name}: bits lost, mean over seeds with 99 % interval."))
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
    twins = rows.get("twins", ())
    if not twins:
        return Chapter(title, _NOTHING)
    first, broke = twins[0], sum(row["broke"] for row in twins)
    runs = [run for run in dict.fromkeys(row["run"] for row in twins) if run != "plain"]
    optimizers = list(dict.fromkeys(row["optimizer"] for row in twins))
    lines = []
    for optimizer in optimizers:
        line: Row = {"optimizer": _OPTIMIZERS[optimizer]}
        for run in runs:
            whole = [r for r in twins if (r["optimizer"], r["run"]) == (optimizer, run) and not r["broke"]]
            for key, called in (("distance", "distance"), ("same", "same levels")):
                mean = round(sum(row[key] for row in whole) / len(whole), 3) if whole else None
                line[f"{run}: {called}"] = mean
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
    if broke:
        text += (
            f"\n\n{broke} of {len(twins)} runs broke off, or had a plain run that did: they are in no number "
            "here, and claims about them stay unresolved."
        )
    items = []
    shown = [o for o in optimizers if all(_distances(rows, o, run) for run in runs)]
    for color, run in enumerate(runs):
        seen = [_distances(rows, o, run) for o in shown]
        ends = [mean_interval(values) for values in seen]
        few = any(len(values) < 2 for values in seen)
        whiskers = {} if few else {"low": [e.low for e in ends], "high": [e.high for e in ends]}
        names = [_OPTIMIZERS[o] for o in shown]
        items.append(drawn.bars(names, [e.estimate for e in ends], run, color=color, **whiskers))
    figure = drawn.figure(
        "How far a weights' estimator leads from the plain one, optimizer by optimizer", "optimizer",
        "distance of the latents' moves", [*items, Marks((1.0,), axis="y")],
        caption="Means over seeds, 95 % intervals. At 1: moves at a right angle. A distance of 0 has no bar.",
    )  # fmt: skip
    return Chapter(title, text, (TableView.of(lines),), {"disguise": figure} if shown else {}, columns=1)


def _limits(rows: Rows) -> Chapter:
    return Chapter(
        "What this does not say",
        "Runs are short: they say who is ahead early, not who ends best. Three rates a cell are few, and "
        "decay and momentum were not tuned. With a handful of seeds an interval that crosses 0 says *don't "
        "know*, not *no difference*. Seeds share the choice of rates of one another, which the 95 % "
        "intervals of losses and gaps do not count. A spread or a cost whose best and worst are chosen on "
        "few other seeds is too small where chance decides the choice. *steep* is IR-Net's schedule for "
        "signs, used here over more levels than it was made for. Muon's update and AdamW's have one rate "
        "here, as Liu et al. 2025 scale it.",
    )


def _told(value: Interval | None) -> str:
    if value is None or math.isnan(value.estimate):
        return "–"
    return f"{value.estimate:.3f} ({value.low:.3f} to {value.high:.3f})"
