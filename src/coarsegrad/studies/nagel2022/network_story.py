"""The network's chapters: each arm's accuracy, what the intervals say, other bits than those trained for."""

from collections.abc import Mapping, Sequence

from coarsegrad import spec
from coarsegrad.measure import Interval, mean_interval
from coarsegrad.optim import RULES, Dampen, Induce
from coarsegrad.studies import drawn
from coarsegrad.studies.nagel2022.claims import accuracy, by_seed, gain, network_rows
from coarsegrad.studies.nagel2022.training import ARMS, AVERAGING, TRAINED_FLOAT
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows, paired
from coarsegrad.view import Bars, Figure, TableView

NAMES = (*list(ARMS)[:3], AVERAGING, *list(ARMS)[3:])
SCHEDULES = {"constant": "the rate constant", "cosine": "the rate annealed to 0"}
_NOTHING = "Nothing was measured yet."


def network_chapters(rows: Rows) -> list[Chapter]:
    """Three chapters; those of which nothing was measured say so."""
    return [_arms(rows), _said(rows), _other_bits(rows)]


def findings(rows: Rows) -> str:
    """The network in a few sentences; empty where there is none."""
    told = []
    for schedule, words in _schedules(rows).items():
        gained = _mean(gain(rows, "none", schedule))
        if gained is None:
            continue
        told.append(
            f"With {words}, re-estimating batch norm gains {_points(gained)} points on weights left alone."
        )
        fewest = min(row["tested"] for row in network_rows(rows, "accuracy", schedule=schedule))
        for tested, where in ((None, "re-estimated"), (fewest, f"requantized to {_bits(fewest)}")):
            parts = []
            for arm in NAMES[1:]:
                less = paired(*(accuracy(rows, name, schedule, "fresh", tested) for name in (arm, "none")))
                parts += [] if less is None else [f"{arm} {verdict(less)} ({_points(less)})"]
            if parts:
                told.append(f"Beside *none*, {where}: {', '.join(parts)}.")
    return " ".join(["**The network.**", *told]) if told else ""


def verdict(difference: Interval) -> str:
    """What an interval says of the sign of a difference.

    >>> verdict(Interval(0.5, -0.1, 1.1)), verdict(Interval(0.5, 0.1, 0.9)), verdict(Interval(-1, -2, -0.1))
    ('is not told apart', 'is better', 'is worse')
    """
    if difference.low > 0:
        return "is better"
    return "is worse" if difference.high < 0 else "is not told apart"


def _arms(rows: Rows) -> Chapter:
    title = "The network, arm by arm"
    first = next(iter(network_rows(rows, "accuracy")), None)
    if first is None:
        return Chapter(title, _NOTHING)
    seeds = {row["seed"] for row in network_rows(rows, "accuracy")}
    images = (
        "all training images"
        if first["train_images"] is None
        else f"the first {first['train_images']} images"
    )
    start = _mean(by_seed(rows, "start", "accuracy"))
    sizes = _sizes(rows)
    text = (
        f"`{first['model']}` on {images} of {first['data']}, {len(seeds)} paired seeds; a float network "
        f"of {first['pretrain_epochs']} epochs ({_points(start)} % right), which all arms of a seed "
        f"start from, on the same batches. Weights of {first['bits']} bits, one fixed scale a layer "
        f"(least squares), the first and last layer and the activations float; {first['epochs']} epochs "
        f"of SGD with momentum 0.9 from the rate {first['lr']:g}, which is either kept or annealed to 0 "
        "(cosine).\n\n*none*: nothing is done. *dampening*: strength 0 to 0.1; *freezing*: threshold "
        "0.1 to 0.011, running mean of 0.01: the published values for 3 bits, both annealed over the "
        "whole run. *averaging*: the run *none*, each weight at the level that its last "
        f"{first['voting_epochs']} epochs vote for. *inducing*: Wenshøj et al.'s term on top of "
        "quantized training, at the strength 1 of their example, which their code divides by the "
        f"weights of a layer: {_a_weight('inducing', sizes)} a weight, where dampening's 0.1 is of each, "
        "so the two arms are the two signs of a term at very different strengths; and theirs is for "
        "Adam, which divides by a gradient's size, as SGD does not. *inducing alike*: the same at 0.1 a "
        "weight, from the first step on. *induced float*: as they use it, on the float loss, quantized "
        "when training is over; *float*: that without the term, which is post-training "
        "quantization.\n\n*Oscillating*: the share of weights with more than "
        f"{first['oscillates_above']:g} oscillations per step at the end. *Stale*: with the running "
        f"statistics of training; *fresh*: with statistics re-estimated on {first['bn_batches']} "
        f"batches. Of {' and '.join(f'*{arm}*' for arm in TRAINED_FLOAT)} the stale statistics are those "
        "of float weights. Batches, models and tests are those of a seed: differences are paired."
    )
    tables, figures = [], {}
    for schedule, words in _schedules(rows).items():
        tables.append(_table(rows, schedule, words))
        figures[f"arms-{schedule}"] = _bars(rows, schedule, words)
    return Chapter(title, text, tuple(tables), figures)


def _table(rows: Rows, schedule: str, words: str) -> TableView:
    table: list[Row] = []
    none = accuracy(rows, "none", schedule, "fresh")
    for arm in NAMES:
        stale, fresh = (accuracy(rows, arm, schedule, norms) for norms in ("stale", "fresh"))
        about = {"arm": arm, "schedule": schedule}
        loss = by_seed(rows, "watched", "train_loss", **about)
        share, frozen = (
            {seed: 100 * part for seed, part in by_seed(rows, "watched", key, **about).items()}
            for key in ("oscillating", "frozen")
        )
        table.append(
            {
                "arm": arm, "strength a weight": _a_weight(arm, _sizes(rows)),
                "oscillating [%]": _points(_mean(share)),
                "frozen [%]": _points(_mean(frozen)) if any(frozen.values()) else "",
                "training loss": _points(_mean(loss), 3), "stale [%]": _points(_mean(stale)),
                "fresh [%]": _points(_mean(fresh)),
                "fresh less stale": _points(_mean(gain(rows, arm, schedule))),
                "fresh less none's": "" if arm == "none" else _points(paired(fresh, none)),
            }
        )  # fmt: skip
    return TableView.of(
        table, caption=f"With {words}: means over seeds, 95 % intervals. Differences in points."
    )


def _sizes(rows: Rows) -> tuple[int, int]:
    """Weights of the smallest and largest layer that is quantized; 0 where none was watched yet."""
    found = network_rows(rows, "watched")
    return (found[0]["smallest_layer"], found[0]["largest_layer"]) if found else (0, 0)


def _a_weight(arm: str, sizes: tuple[int, int]) -> str:
    """The strength λ of an arm's term for each weight: its gradient is 2 λ (q(w) - w), up to the sign."""
    rule = spec.read(ARMS[arm].format(end=1), RULES) if ARMS.get(arm) else None
    if isinstance(rule, Dampen):
        return f"0 to {rule.strength:g}"
    if not isinstance(rule, Induce) or rule.strength == 0:
        return "–"
    small, large = sizes
    return (
        f"{rule.strength:g} / {large} to {rule.strength:g} / {small}" if rule.mean else f"{rule.strength:g}"
    )


def _bars(rows: Rows, schedule: str, words: str) -> Figure:
    items = [
        _errors(
            NAMES,
            [_mean(accuracy(rows, arm, schedule, norms)) for arm in NAMES],
            f"{norms} statistics",
            color,
        )
        for color, norms in enumerate(("stale", "fresh"))
    ]
    return drawn.figure(
        f"Errors by arm with {words}: stale statistics of batch norm beside re-estimated ones", "",
        "errors on test images [%]", items, caption="Means over paired seeds, 95 % intervals.",
    )  # fmt: skip


def _errors(names: Sequence[str], values: Sequence[Interval | None], label: str, color: int) -> Bars:
    """Bars of 100 less the values, of those that are there."""
    there = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
    ends = ("estimate", "high", "low")
    middle, low, high = ([min(100.0, max(0.0, 100 - getattr(v, e))) for _, v in there] for e in ends)
    return drawn.bars([name for name, _ in there], middle, label, low=low, high=high, color=color)


def _said(rows: Rows) -> Chapter:
    title = "What the intervals say"
    table: list[Row] = []
    for schedule, words in _schedules(rows).items():
        pairs = [(norms, arm, "none") for norms in ("stale", "fresh") for arm in NAMES[1:]]
        for norms, arm, to in (*pairs, ("fresh", *TRAINED_FLOAT)):
            less = paired(*(accuracy(rows, name, schedule, norms) for name in (arm, to)))
            if less is not None:
                about = {"rate": words.removeprefix("the rate "), "statistics": norms}
                told = {"difference, points": _points(less), "so the former": verdict(less)}
                table.append({**about, "arms": f"{arm} less {to}", **told})
    if not table:
        return Chapter(title, _NOTHING)
    text = (
        "A difference of an arm and *none* is the mean over paired seeds; it is told apart from 0 where "
        "its 95 % interval leaves 0 out. Each interval stands for itself: of twenty differences that are "
        f"none, one would be told apart.\n\n{_statistics_text(rows)}"
    )
    return Chapter(title, text.strip(), (TableView.of(table),))


def _statistics_text(rows: Rows) -> str:
    told = []
    for schedule, words in _schedules(rows).items():
        quantized, free = gain(rows, "none", schedule), gain(rows, "float", schedule, 32)
        more = paired(quantized, free)
        apart = [
            {seed: 1000 * value for seed, value in by_seed(rows, "watched", key, **about).items()}
            for about in [{"arm": "none", "schedule": schedule}] for key in ("apart_depth", "apart_point")
        ]  # fmt: skip
        if more is not None and apart[0]:
            depth, point = (_points(_mean(found)) for found in apart)
            told.append(
                f"With {words}, re-estimation gains {_points(_mean(quantized))} points on the quantized "
                f"network *none* and {_points(_mean(free))} on the float one, whose weights move too: "
                f"{_points(more)} more. The two kinds of statistics are, in thousandths of a nat a channel "
                f"(Kullback-Leibler, *none*), {depth} apart behind depthwise convolutions and {point} behind "
                "pointwise ones."
            )
    shares = [by_seed(rows, "watched", "oscillating", arm="none", schedule=name) for name in SCHEDULES]
    if all(shares):
        kept, annealed = (_points(_mean({seed: 100 * part for seed, part in by.items()})) for by in shares)
        fewer = paired(shares[1], shares[0])
        told.append(
            f"Annealing the rate leaves {annealed} % of the weights oscillating, of {kept} %. In the toy it "
            "would leave all: there the frequency does not depend on the step."
        )
        if fewer is not None and fewer.high < 0:
            told.append(
                "In a network gradients are noisy, and many a weight near a threshold is there by that "
                "noise, which a smaller rate does quiet. *Heuristic.*"
            )
    return " ".join(told)


def _other_bits(rows: Rows) -> Chapter:
    title = "Other bits than those trained for"
    figures, table = {}, []
    for schedule, words in _schedules(rows).items():
        items = []
        for color, arm in enumerate(ARMS):
            bits = sorted({r["tested"] for r in network_rows(rows, "accuracy", arm=arm, schedule=schedule)})
            values = [_mean(accuracy(rows, arm, schedule, "fresh", tested)) for tested in bits]
            names = tuple(map(_bits, bits))
            items.append(_errors(names, values, arm, color))
            told = {name: _points(value) for name, value in zip(names, values, strict=True)}
            table.append({"rate": words.removeprefix("the rate "), "arm": arm, **told})
        figures[f"bits-{schedule}"] = drawn.figure(
            f"Errors when the latents are quantized to other bits, with {words}", "bits of the weights",
            "errors on test images [%]", items,
            caption="Re-estimated batch norms; means over seeds, 95 % intervals.",
        )  # fmt: skip
    if not table:
        return Chapter(title, _NOTHING)
    text = (
        "The counter-view's claim of robustness: the latents at the end of training are quantized anew "
        "by least squares to other bits, and batch norm is re-estimated. At the bits trained for, arms "
        "with a quantized loss keep their own scale."
    )
    limits = (
        "**What this cannot say.** The papers train MobileNets, ResNet-18 and a vision transformer for "
        "tens of epochs, Nagel et al. with learned scales and quantized activations, Wenshøj et al. "
        "with Adam and stopping early by quantized accuracy. Here the network is small, its training "
        "short, its scales fixed, its activations float, the optimizer SGD, and each method has one "
        "published strength (and inducing a second, of ours): a verdict is about an arm at its strength "
        "and not about the sign of its term, and a difference that is not told apart here may be there."
    )
    return Chapter(title, text, (TableView.of(table),), figures, after=limits)


def _bits(tested: int) -> str:
    return "float" if tested == 32 else f"{tested} bits"


def _schedules(rows: Rows) -> dict[str, str]:
    there = {row["schedule"] for row in network_rows(rows, "accuracy")}
    return {name: words for name, words in SCHEDULES.items() if name in there}


def _mean(found: Mapping[int, float]) -> Interval | None:
    return mean_interval(found.values()) if found else None


def _points(value: Interval | None, digits: int = 2) -> str:
    """An interval as a reader wants it: fixed digits, and no interval where one seed gives none."""
    if value is None:
        return "–"
    if abs(value.low) == float("inf"):
        return f"{value.estimate:.{digits}f}"
    return f"{value.estimate:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
