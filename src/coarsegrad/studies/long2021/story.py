"""The page: the paper's three over angles and sizes, the catalogue, below the assumptions, binary weights."""

import math
from collections.abc import Iterable, Sequence

from coarsegrad.measure import proportion_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.long2021 import training
from coarsegrad.studies.long2021.grid import AXES, PAPERS, changed
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, Marks, TableView

AGREES = {("yes", True): "yes", ("yes", False): "**no**", ("no", False): "yes", ("no", True): "not needed"}


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    return [_about(rows), *(tell(rows) for tell in (_within, _catalogue, _below, _binary, _networks))]


def _about(rows: Rows) -> Chapter:
    some = next((row for kind in rows.values() for row in kind if "runs" in row), None)
    said = "" if some is None else f" {some['runs']} starts a cell, standard normal, the same over all cells."
    return Chapter(
        "What is studied",
        "Inputs of class r lie on a subspace V_r. k hidden neurons with a staircase of b bits feed a second "
        "layer that is given: each neuron adds v = 1/2 times its level to one class's output. The hinge "
        "loss asks that the right output be the largest by 1. The coarse gradient puts a surrogate's slope "
        "in the place of the staircase's, and full-batch descent (step 1) goes on until the loss is "
        "0.\n\nIn the base problem two planes in four dimensions meet at 90 degrees, k = 24, b = 2, and a "
        "level begins right above a whole number (*ceil*); then one thing is changed at a time. The *angle* "
        "is the one between the planes that is not 90 degrees. Surrogates are stretched over the levels. "
        f"Points come in opposite pairs, at 80 directions and 11 lengths from 1 to 2 of each plane; the "
        f"smaller presets take fewer.{said}",
    )


def _nothing(title: str) -> Chapter:
    return Chapter(title, "Nothing was measured yet.")


def _share(row: Row, part: str = "right") -> str:
    return f"{row[part] / row['runs']:.2f}"


def _steps(row: Row) -> str:
    """Their geometric mean with its interval, or how many were made without success."""
    if row["solved"] == 0:
        return f"none in {row['steps']}"
    mean, low, high = (math.exp(row[key]) - 1 for key in ("log_mean", "log_low", "log_high"))
    return f"{'at least ' if row['solved'] < row['runs'] else ''}{mean:.0f} ({low:.0f} to {high:.0f})"


def _within(rows: Rows) -> Chapter:
    title = "Within the assumptions"
    kinds = [kind for kind in AXES if rows.get(kind)]
    if not kinds:
        return _nothing(title)
    table = [
        {"varied": AXES[kind][0], "value": row[AXES[kind][1]], "surrogate": row["surrogate"],
         "zero loss, all right": _share(row), "steps to zero loss": _steps(row),
         "slope at least": row["least_slope"]} for kind in kinds for row in rows[kind]
    ]  # fmt: skip
    text = (
        "Steps are geometric means over starts, with 95 % intervals. Runs that did not get there count with "
        "all steps they made, so that the mean is then a lower bound. *Slope at least*: the smaller bound "
        "of the theory's class on the pre-activations that occurred."
    )
    figures = {f"steps-{kind}": _steps_figure(rows[kind], kind) for kind in kinds}
    return Chapter(title, text, (TableView.of(table),), figures)


def _steps_figure(mine: Sequence[Row], kind: str) -> Figure:
    label, key = AXES[kind]
    items = []
    for color, name in enumerate(PAPERS):
        found = sorted((r for r in mine if r["surrogate"] == name and r["solved"]), key=lambda r: r[key])
        x = [r[key] for r in found]
        y, low, high = ([math.exp(r[part]) for r in found] for part in ("log_mean", "log_low", "log_high"))
        items += [drawn.line(x, y, name, color=color), drawn.dots(x, y, "", low, high, color=color)]
    return drawn.figure(
        f"Steps to zero loss against {label}", label, "steps + 1, geometric mean", items, log_y=True,
        log_x=kind in ("angle", "neurons"), caption="Bars are 95 % intervals over starts.",
    )  # fmt: skip


def _catalogue(rows: Rows) -> Chapter:
    title = "The catalogue: predicted, then observed"
    found = [*rows.get("catalogue", ()), *rows.get("own", ())]
    if not found:
        return _nothing(title)
    table = []
    for row in found:
        solved = row["right"] >= 0.9 * row["runs"]
        table.append(
            {"surrogate": row["surrogate"], "angle": row["angle"], "admissible": row["answer"],
             "because": row["why"], "lean": row["lean"], "zero loss, all right": _share(row),
             "steps to zero loss": _steps(row),
             "agree": AGREES.get((row["answer"], solved), "–")}
        )  # fmt: skip
    no = sum(row["answer"] == "no" and row["right"] >= 0.9 * row["runs"] for row in found)
    text = (
        "*Admissible*, asked before the runs are looked at: is the slope 0 on the negative side and between "
        "two positive bounds up to the largest pre-activation? *Agree*: a yes that got there in 9 of 10 "
        f"runs, or a no that did not. *Not needed*: a no that got there; so it was {no} times of "
        f"{len(found)}: the theorem's class suffices, and is far from needed.\n\n*Lean* is what tells the "
        "rest: how much heavier the slope is on the positive side, from 0 (even) to 1 (nothing on the "
        "negative side). While all points of a class are short of their margin, a neuron is pulled along "
        "itself in proportion to E[g(h) h], to which an even slope adds nothing on symmetric data: the "
        "identity is even. A heuristic, measured here."
    )
    items = []
    for color, angle in enumerate(sorted({row["angle"] for row in found}, reverse=True)):
        mine = [row for row in found if row["angle"] == angle]
        ends = [proportion_interval(row["right"], row["runs"]) for row in mine]
        y, low, high = ([getattr(end, part) for end in ends] for part in ("estimate", "low", "high"))
        items.append(
            drawn.dots([row["lean"] for row in mine], y, f"{angle:g} degrees", low, high, color=color,
                       names=[row["surrogate"] for row in mine])
        )  # fmt: skip
    figure = drawn.figure(
        "Zero loss against the slope's lean", "lean: 0 even, 1 nothing on the negative side", "share of runs",
        [*items, Marks((0.0, 1.0), axis="y")],
        caption="Bars are 95 % Wilson intervals; a point per surrogate.",
    )  # fmt: skip
    return Chapter(title, text, (TableView.of(table),), {"lean": figure})


def _said(row: Row) -> str:
    told = {key.replace("_", " "): value for key, value in changed(row).items()}
    return ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                     for key, value in told.items()) or "base"  # fmt: skip


def _lines(found: Iterable[Row]) -> list[Row]:
    """A row per problem, the surrogates side by side."""
    lines: dict[tuple, Row] = {}
    for row in found:
        line = lines.setdefault(
            (row.get("what"), _said(row)),
            {"what": row.get("what", "binary weights"), "changed": _said(row),
             "zero loss is": "impossible" if row["impossible"] else "not excluded"},
        )  # fmt: skip
        line[row["surrogate"]] = _share(row)
        line[f"{row['surrogate']}: accuracy"] = round(row["accuracy"], 4)
    return list(lines.values())


def _below(rows: Rows) -> Chapter:
    title = "Below the assumptions"
    found = rows.get("below", ())
    if not found:
        return _nothing(title)
    reasons = dict.fromkeys(f"- {_said(row)}: {row['impossible']}" for row in found if row["impossible"])
    text = (
        "Shares of runs at zero loss, and the share of points whose *true* class has the largest output, "
        "where the runs ended. *Dependent*: angle 0, planes that share a line (or, with shared 2, are one); "
        "three planes, and three or four lines, any two of which are independent but not all. *Missing "
        "component*: of one neuron of class 0, of those that serve it, or of all, on that class's subspace "
        "at the start."
    )
    text += "\n\nImpossible as a theorem (`theory.classification.unreachable`):\n\n" + "\n".join(reasons)
    figures = {}
    for what, key, label in (
        ("label noise", "noise", "share of wrong labels"), ("small angle", "angle", "angle, degrees"),
    ):  # fmt: skip
        mine = [row for row in found if row["what"] == what]
        if len(mine) > len(PAPERS):
            figures[what.replace(" ", "-")] = _accuracy_figure(mine, key, label)
    return Chapter(title, text, (TableView.of(_lines(found)),), figures)


def _accuracy_figure(mine: Sequence[Row], key: str, label: str) -> Figure:
    items = []
    for color, name in enumerate(PAPERS):
        found = sorted((row for row in mine if row["surrogate"] == name), key=lambda row: row[key])
        x = [row[key] for row in found]
        y, low, high = (
            [row[part] for row in found] for part in ("accuracy", "accuracy_low", "accuracy_high")
        )
        items += [drawn.line(x, y, name, color=color), drawn.dots(x, y, "", low, high, color=color)]
    return drawn.figure(
        f"Accuracy on the true classes against {label}", label, "share of points right, mean over runs",
        items,
        caption=f"After {max(row['steps'] for row in mine)} steps or at zero loss; bars are 95 % intervals.",
    )  # fmt: skip


def _binary(rows: Rows) -> Chapter:
    title = "Binary weights as well"
    found = rows.get("binary", ())
    if not found:
        return _nothing(title)
    text = (
        "The forward pass sees mean|w| sign(w) of each neuron; the latents take the gradient as it is. The "
        "paper does not have this. With the subspaces along the axes every sign pattern has components of "
        "one length on all of them: mean margins of two classes add to 0, and no loss below 1 is possible. "
        "In a larger space, with the subspaces at random in it, signs can tell directions apart."
    )
    names = list(dict.fromkeys(row["surrogate"] for row in found))
    items = []
    for color, name in enumerate(names):
        mine = [row for row in found if row["surrogate"] == name]
        ends = [proportion_interval(row["right"], row["runs"]) for row in mine]
        y, low, high = ([getattr(end, part) for end in ends] for part in ("estimate", "low", "high"))
        labels = [f"{row['dimension'] or 'axes'}, {row['rounding']}" for row in mine]
        items.append(drawn.bars(labels, y, name, low=low, high=high, color=color))
    figure = drawn.figure(
        "Binary weights: zero loss by dimension of the space", "dimension, rounding", "share of runs", items,
        caption="Whiskers are 95 % Wilson intervals.",
    )  # fmt: skip
    return Chapter(title, text, (TableView.of(_lines(found)),), {"binary": figure})


def _networks(rows: Rows) -> Chapter:
    title = "LeNet-5, and where its features lie"
    found = training.table_rows(rows)
    if not found:
        return _nothing(title)
    first = next(row for row in rows["lenet5"] if row["what"] == "final")
    text = (
        "MNIST, activations quantized in place of the ReLUs, weights float, batch norms without scale and "
        f"shift, {first['epochs']} epochs from a float model of {first['pretrain_epochs']}. Means over "
        "paired seeds with 95 % intervals. *Captured*: of the test images' features that the last layer is "
        f"given, the share of squared length in a class's {training.FEATURES} leading directions; the worst "
        "class. *Smallest angle*: the smallest principal angle of two such subspaces. *Smallest singular "
        "value*: of all classes' directions together; 0 where they are dependent, 1 where all are orthogonal."
    )
    items = []
    for label in sorted({row["class"] for row in rows["lenet5"] if row["what"] == "point"}):
        mine = [r for r in rows["lenet5"] if r["what"] == "point" and r["class"] == label and r["seed"] == 0]
        items.append(drawn.dots([r["x"] for r in mine], [r["y"] for r in mine], f"class {label}"))
    figure = drawn.figure(
        "Features of three classes, projected", "along the second direction", "along the third direction",
        items, caption="The float model's last features; uncentred singular directions of the three classes.",
    )  # fmt: skip
    return Chapter(title, text, (TableView.of(found),), {"features": figure} if items else {})
