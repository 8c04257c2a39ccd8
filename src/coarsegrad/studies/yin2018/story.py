"""The page: what blending does to a step, where runs end, and what it is worth in networks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from coarsegrad.studies import drawn
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.studies.yin2018 import training, training_story
from coarsegrad.studies.yin2018.claims import FREE, cells
from coarsegrad.studies.yin2018.sets import SETS
from coarsegrad.theory import blended
from coarsegrad.view import Figure, TableView

_NOTHING = "Nothing was measured yet."
_KNOWN = {"w": "v known", "both": "v trained"}


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    return [
        _about(rows),
        _derived(),
        _steps(rows),
        _fixed(rows),
        _free(rows),
        training_story.digits(rows),
        training_story.resnet(rows),
    ]


def _about(rows: Rows) -> Chapter:
    return Chapter(
        "What is studied",
        "Blended coarse gradient descent changes one thing in the usual training of quantized weights: "
        "before each step the latents y are pulled a little towards their quantized values w, `y ← (1 - "
        "rho) y + rho w - step size × g`, then w is the quantized weights nearest to y. Here g is the "
        "coarse gradient at w, and rho = 0 is BinaryConnect without its clip. The abstract says that this "
        "yields *sufficient descent* in the objective. Only the abstract and the authors' code could be "
        "read for this page: what sufficient descent is taken to mean, and on which condition, is our "
        "reading, and the proofs below are ours.\n\nMeasured here: every step of the descent on the "
        "population of the two-layer problem `f(v, w) = E (v^T s(Zw) - v*^T s(Zw*))² / 2`, with quantized "
        "w and a teacher w* that is not quantized, v known or trained "
        "too; and networks with 1-bit weights and 4-bit activations beside BinaryConnect.\n\n" + _found(rows),
    )


def _found(rows: Rows) -> str:
    """What the rows say, in sentences; of what was not measured none."""
    said = []
    little = cells(rows, where=lambda row: 0 < row["ratio"] < 1, trained="w")
    enough = cells(rows, where=lambda row: row["ratio"] >= 1, trained="w", weights="fixed")
    if little and enough:
        said.append(
            "v being known, below rho = step size × c, where c is the size of the coarse gradient, steps "
            f"raised f in {_share(little, 'rises')} runs. From there on, if the scale of w is fixed, of "
            f"{len(enough)} runs {_some(enough, 'rises')} had a step that raised f."
        )
    known = cells(rows, where=lambda row: row["ratio"] > 0, trained="w", weights=FREE)
    trained = cells(rows, where=lambda row: row["ratio"] > 0, trained="both", weights=FREE)
    without = cells(rows, ratio=0.0, trained="both", weights=FREE)
    if known and trained and without:
        said.append(
            "Where the scale is free f still rises in the second half of "
            f"{_share(known, 'late_rises')} blended runs. Where v is "
            f"trained too, {_share(trained, 'late_turns')} still turn then, and "
            f"{_share(without, 'late_turns')} without blending."
        )
    for kind, schedule, says in (
        ("digits", "constant", "In a small network on digits, at a constant rate,"),
        ("digits", "cosine", "With a rate that falls to 0"),
        ("resnet20", None, "In ResNet-20, after a short schedule,"),
    ):
        gap = training.gap(kind, "test_accuracy", training.CAP, schedule=schedule)(rows)
        clipped = training.gap(
            kind, "test_accuracy", training.CAP, training.BINARY_CONNECT, schedule=schedule
        )(rows)
        if gap is not None and clipped is not None:
            said.append(f"{says} blending 0.01 ends {gap} points from none, {clipped} from BinaryConnect.")
    return " ".join(["Found:", *said]) if said else _NOTHING


def _derived() -> Chapter:
    theta = torch.linspace(0, math.pi / 2, 91, dtype=torch.float64)
    lines = [
        drawn.line(theta.rad2deg(), blended.drift(theta, trained == "both"), says, color=color)
        for color, (trained, says) in enumerate(_KNOWN.items())
    ]
    figure = drawn.figure(
        "The free scale shrinks where v is known and grows where v is trained",
        "angle between w and the teacher [degrees]",
        "change of |w| per step [step size × v^T v* / sqrt(8π)]", lines,
        caption="By formula, ReLU, while no weight turns; v trained: at the best v for the angle.",
    )  # fmt: skip
    return Chapter(
        "What can be derived",
        "*Any problem.* Two projections, w nearest to y and then w+ to y+, give `<w+ - w, g> ≤ -rho / (2 "
        "step size) |w+ - w|²`, whatever g is. Were g the gradient of an f whose gradient is L-Lipschitz, "
        "f would fall by at least `(rho / step size - L) / 2` times `|w+ - w|²`: sufficient descent, if "
        "rho > step size × L. Without blending the right side is 0.\n\n*The two-layer problem, v known.* "
        "Here f is |v|² times the angle to w*, over 2π: it is not smooth, and does not see the scale of w. "
        "The coarse gradient is `c (w/|w| - w*)`, c = |v|²/sqrt(8π) for the ReLU. With `r = rho |w| / "
        "(step size × c)` the same two projections give `f(w+) - f(w) ≤ -(r - 1) |v|²/4π |u+ - u|²` while "
        "r is at least 1, u = w/|w|. So r = 1 is where descent begins to be sure.\n\n*A fixed scale, w in "
        "{±1/sqrt(n)}^n.* Weights move alone. With `a = sqrt(n) |w*_j|` a weight oscillates for ever if r "
        "< 1 - a; settles at the right sign if 1 - a ≤ r < 1 + a; and stays at the sign it began with, "
        "right or wrong, if r ≥ 1 + a. At r = 1 all are right.\n\n*A free scale.* A step that turns "
        "nothing changes |w| by the step size times `c (cos(angle) - 1)`: it falls until r < 1, whatever "
        "rho, unless w* is itself quantized. With v trained, at the best v for the angle, it changes by "
        "`v^T v* (cos(angle) - 1 + 2 angle/π) / sqrt(8π)`, which is positive up to a right angle: r grows, "
        "and what oscillates is left behind. That the transients before do no harm is seen, not proved.",
        figures={"drift": figure}, columns=1,
    )  # fmt: skip


def _steps(rows: Rows) -> Chapter:
    title = "Every step"
    found = cells(rows)
    if not found:
        return Chapter(title, _NOTHING)
    one = found[0]
    table, figures = [], {}
    for trained, says in _KNOWN.items():
        for name, weights in SETS.items():
            for ratio, mine in _by(cells(rows, trained=trained, weights=name), "ratio").items():
                table.append({
                    "second layer": says, "weights": weights.says, "r": ratio, "runs": len(mine),
                    "smallest fall": _extreme(min, mine, "least"),
                    "above the bound": _extreme(min, mine, "excess"),
                    "inner product": _extreme(min, mine, "inner"),
                    "rises a run": _mean(mine, "rises"),
                    "runs rising late": sum(row["late_rises"] > 0 for row in mine),
                    "runs turning late": sum(row["late_turns"] > 0 for row in mine),
                })  # fmt: skip
    fixed = _by(cells(rows, trained="w", weights="fixed"), "ratio")
    if fixed:
        figures["constant"] = _constant(fixed)
    figures |= _traces(rows)
    text = (
        f"m = {one['m']} rows, |v*| = 1, n of {_list(found, 'n')}, step sizes {_list(found, 'step_size')}, "
        f"{one['steps']:,} steps, {one['runs']} random teachers and starts a size, ReLU. The second half "
        "of a run is *late*. r is rho over step size × c; with a free scale that is its value at |w| = 1. "
        "*Smallest fall*: of f over |u+ - u|², among all steps that turn w; negative where a step raised "
        "f. *Above the bound*: the smallest by which that exceeds the bound of the derivation, among steps "
        "with r|w| of at least 1. *Inner product*: the smallest ratio of the two sides of the first "
        "inequality; for r = 0, of `-<w+ - w, g>` to |w+ - w|²."
    )
    return Chapter(title, text, (TableView.of(table),), figures)


def _constant(fixed: Mapping[float, Sequence[Row]]) -> Figure:
    seen = {r: _extreme(min, mine, "least") for r, mine in fixed.items()}
    seen = {r: value for r, value in seen.items() if value is not None}
    grid = [1.0, max(seen, default=1.0)]
    return drawn.figure(
        "Fixed scale: the smallest fall of a step over the weight of blending, and the bound",
        "blending r = rho / (step size × c)", "smallest fall of f over |u+ - u|²",
        [drawn.line(grid, blended.fall(torch.tensor(grid)), "bound (r - 1)/4π", dashed=True, color=3),
         drawn.dots(list(seen), list(seen.values()), "smallest of all steps and runs", color=0)],
        caption="v known, |v| = 1. A negative fall is a rise.",
    )  # fmt: skip


def _traces(rows: Rows) -> dict[str, Figure]:
    figures = {}
    titles = {
        ("fixed", "w"): "Fixed scale, v known: the objective, step by step",
        ("binary", "w"): "Free scale, v known: the objective, step by step",
        ("binary", "both"): "Free scale, v trained: the objective, step by step",
    }
    for (name, trained), title in titles.items():
        mine = [r for r in rows.get("trace", ()) if (r["weights"], r["trained"]) == (name, trained)]
        lines = [
            drawn.line([r["step"] for r in run], [r["loss"] for r in run], f"r = {ratio:g}", color=color)
            for color, (ratio, run) in enumerate(_by(mine, "ratio").items())
        ]
        if lines:
            figures[f"trace-{name}-{trained}"] = drawn.figure(
                title, "step", "objective f", lines, caption="One run, n = 8, from the teacher's v."
            )
    return figures


def _fixed(rows: Rows) -> Chapter:
    title = "Where runs end: a fixed scale"
    found = cells(rows, trained="w", weights="fixed")
    if not found:
        return Chapter(title, _NOTHING)
    table = []
    for ratio, mine in _by(found, "ratio").items():
        table.append({
            "r": ratio, "runs": len(mine), "late objective": _mean(mine, "late_loss"),
            "late time at the best weights": _mean(mine, "hits"),
            "share of signs wrong": _mean(mine, "wrong"),
            "foretold": _mean(mine, "foretold_wrong"),
            "weights settled elsewhere": sum(row["elsewhere"] for row in mine),
        })  # fmt: skip
    rates = [row["r"] for row in table]
    figure = drawn.figure(
        "Fixed scale: signs that are wrong over the weight of blending, and by formula",
        "blending r = rho / (step size × c)", "share of signs that are wrong",
        [drawn.line(rates, [row["foretold"] for row in table], "formula", dashed=True, color=3),
         drawn.dots(rates, [row["share of signs wrong"] for row in table], "measured, late", color=0)],
        caption="Means over teachers, starts, n and step sizes; v known.",
    )  # fmt: skip
    text = (
        "Below r = 1 a weight that never settles is wrong for a share `(1 - a/(1 - r))/2` of the time, a = "
        "sqrt(n)|w*_j| (for small steps: a mean of its sign must balance w*_j). Above 1 nothing "
        "oscillates, but weights with a ≤ r - 1 keep the sign that they began with."
    )
    return Chapter(title, text, (TableView.of(table),), {"fixed-scale": figure}, columns=1)


def _free(rows: Rows) -> Chapter:
    title = "Where runs end: a free scale"
    table = []
    lines = []
    for trained, surrogate in (("w", "relu"), ("both", "relu"), ("both", "identity")):
        for name in FREE:
            found = cells(rows, trained=trained, weights=name, surrogate=surrogate)
            by = _by(found, "ratio")
            for ratio, mine in by.items():
                table.append({
                    "second layer": _KNOWN[trained], "surrogate": surrogate, "weights": SETS[name].says,
                    "r": ratio, "runs": len(mine), "late objective": _mean(mine, "late_loss"),
                    "late time at the best direction": _mean(mine, "hits"),
                    "scale at the end / start": _mean_ratio(mine),
                    "runs turning late": sum(row["late_turns"] > 0 for row in mine),
                })  # fmt: skip
            if by and surrogate == "relu":
                values = [_mean(mine, "late_loss") for mine in by.values()]
                lines.append(drawn.line(list(by), values, f"{_KNOWN[trained]}, {name}"))
    if not table:
        return Chapter(title, _NOTHING)
    figure = drawn.figure(
        "Free scale: the late objective over the weight of blending, v known and trained",
        "blending r = rho / (step size × c)", "late objective, mean over runs", lines,
    )  # fmt: skip
    text = (
        "*Turning late*: runs whose direction still changes in their second half. The direction of a free "
        "scale is what f sees. The best one is that nearest to the teacher; a run whose v began on the "
        "wrong side may end at its opposite instead, with or without blending. For the identity the scale "
        "need not grow."
    )
    return Chapter(title, text, (TableView.of(table),), {"free-scale": figure}, columns=1)


def _by(found: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in found:
        groups.setdefault(row[key], []).append(row)
    return dict(sorted(groups.items()))


def _some(found: Sequence[Row], key: str) -> str:
    number = sum(row[key] > 0 for row in found)
    return str(number) if number else "none"


def _share(found: Sequence[Row], key: str) -> str:
    """In words: of how many runs a count is not 0."""
    return f"{_some(found, key)} of {len(found)}"


def _extreme(which: Any, found: Sequence[Row], key: str) -> float | None:
    values = [row[key] for row in found if row[key] is not None]
    return float(which(values)) if values else None


def _mean(found: Sequence[Row], key: str) -> float:
    return sum(row[key] for row in found) / len(found)


def _mean_ratio(found: Sequence[Row]) -> float:
    """The geometric mean of the last scale over the first."""
    logs = [math.log(row["last_scale"] / row["first_scale"]) for row in found]
    return math.exp(sum(logs) / len(logs))


def _list(found: Sequence[Row], key: str) -> str:
    return " and ".join(f"{value:g}" for value in sorted({row[key] for row in found}))
