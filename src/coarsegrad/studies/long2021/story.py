"""The page: the paper's three over angles and sizes, the catalogue, below the assumptions, binary weights."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from coarsegrad.problem.subspaces import Subspaces
from coarsegrad.studies import drawn
from coarsegrad.studies.long2021 import catalogue, trained
from coarsegrad.studies.long2021.grid import AXES, PAPERS, covered
from coarsegrad.studies.long2021.told import (
    curve,
    lines,
    mean_steps,
    nothing,
    said,
    share,
    shares,
    steps,
    word,
)
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, TableView


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    tellers = (_axes, catalogue.chapter, _below, _binary, trained.chapter)
    return [_about(rows), *(tell(rows) for tell in tellers)]


def _about(rows: Rows) -> Chapter:
    text = (
        "**The paper** asks when coarse gradient descent learns to classify. Inputs of class r lie on a "
        "subspace V_r. k hidden neurons with a staircase of b bits feed a second layer that is given: each "
        "adds v = 1/2 times its level to one class's output. The hinge loss asks that the right output be "
        "the largest by 1. The coarse gradient has a surrogate's slope in the place of the staircase's. "
        "*Theorem*, as it is read here: if the subspaces are orthogonal, and the slope is 0 on the negative "
        "side and between two positive bounds on the positive one, the loss goes to 0 from almost any start, "
        "and every point is told right. It is of all points of the subspaces and of small steps; here there "
        "are finitely many points, and steps of a size. *Experiments*: three such slopes (ReLU, reverse "
        "exponential, log-tailed ReLU) on planes at smaller and smaller angles, and LeNet-5 on MNIST.\n\n"
        "**Measured here**: full-batch descent (step 1) until the loss is 0, many starts a cell. In the base "
        "problem two planes in four dimensions meet at 90 degrees, k = 24, b = 2, a level begins right above "
        "a whole number (*ceil*); then one thing is changed at a time. The *angle* is the one between the "
        "planes that is not 90 degrees. Surrogates are stretched over the levels. Points come in opposite "
        "pairs, at 80 directions and 11 lengths from 1 to 2 of each plane; the smaller presets take fewer. "
        "Beyond the paper: every surrogate of the catalogue beside what theory says of it, what happens "
        "where the assumptions fail, and binary weights."
    )
    some = next((row for kind in rows.values() for row in kind if "runs" in row), None)
    text += (
        "" if some is None else f" {some['runs']} starts a cell, standard normal, the same over all cells."
    )
    found = "\n".join(f"- {line}" for line in _findings(rows))
    return Chapter("What is studied", text + (f"\n\n**Found**:\n\n{found}" if found else ""))


def _findings(rows: Rows) -> Iterator[str]:
    cells = [row for kind in AXES for row in rows.get(kind, ()) if row["surrogate"] in PAPERS]
    inside = [row for row in cells if covered(row)]
    outside = [row for row in cells if not (covered(row) or row["impossible"])]
    for mine, where in ((inside, "Within the assumptions"), (outside, "At smaller angles, or with *floor*")):
        if mine:
            yield (
                f"{where}, the three slopes reach zero loss in {_least(mine)} of each of {_cells(mine)} "
                "cells."
            )
    at = {row["angle"]: row for row in rows.get("angle", ()) if row["surrogate"] == "relu" and row["solved"]}
    if len(at) > 1:
        told = ", ".join(f"{mean_steps(at[a])[0]:.0f} at {a:g}" for a in sorted(at, reverse=True))
        yield f"ReLU's steps to zero loss, by the angle in degrees: {told}."
    identity = [row for row in rows.get("angle", ()) if row["surrogate"] == "identity"]
    if identity:
        yield (
            f"The identity, which the theorem excludes, got there in {sum(r['solved'] for r in identity)} of "
            f"{sum(r['runs'] for r in identity)} runs."
        )
    one = [row for row in cells if row["bits"] == 1 and row["impossible"]]
    if one:
        yield (
            f"One bit with *ceil* cannot reach zero loss: the smallest loss was "
            f"{min(row['least_loss'] for row in one):.3g}, the least possible is 1."
        )
    no = [row for row in rows.get("catalogue", ()) if row["answer"] == "no" and row["angle"] == 90]
    if no:
        yield (
            f"The theorem's class suffices and is not needed: of {len(no)} surrogates outside of it, "
            f"{sum(map(catalogue.there, no))} got there at 90 degrees in 9 of 10 runs."
        )
    binary = [row for row in rows.get("binary", ()) if row["surrogate"] in PAPERS]
    if binary:
        yield f"Binary weights: {_of_binary(binary)}."
    yield from trained.findings(rows)


def _cells(found: Sequence[Row]) -> int:
    """How many different ones: the base problem stands on several axes."""
    names = [field.name for field in fields(Subspaces) if field.name not in ("radii", "directions", "seed")]
    return len({tuple(row[key] for key in (*names, "surrogate")) for row in found})


def _of_binary(found: Sequence[Row]) -> str:
    """What the paper's three did, along the axes and elsewhere."""
    can, cannot = ([row for row in found if bool(row["impossible"]) is no] for no in (False, True))
    solved, runs = (sum(row[key] for row in cannot) for key in ("solved", "runs"))
    told = [f"zero loss in {solved} of {runs} runs along the axes"] if cannot else []
    return ", ".join([*told, *([f"in {_least(can)} of each cell in a larger space"] if can else [])])


def _least(found: Sequence[Row]) -> str:
    """The smallest share of runs at zero loss, all points right."""
    least = min(row["right"] / row["runs"] for row in found)
    return "all runs" if least == 1 else f"at least {100 * least:.3g} % of the runs"


def _axes(rows: Rows) -> Chapter:
    title = "Angles, bits, neurons, dimensions, classes"
    kinds = [kind for kind in AXES if rows.get(kind)]
    if not kinds:
        return nothing(title)
    found = [row for kind in kinds for row in rows[kind] if row["surrogate"] in PAPERS]
    identity = [row for row in rows.get("angle", ()) if row["surrogate"] == "identity"]
    text = (
        "Within the theorem's assumptions are the cells of 90 degrees with *ceil*, 2 bits or more; of "
        "smaller angles and of *floor* it says nothing. Steps to zero loss: geometric means over starts, "
        "with 95 % intervals. Runs that did not get there count with all steps they made, so that the mean "
        "is then a lower bound; the share that did is told where it is not 1. In the theorem speed rests on "
        "the smaller bound of the slope on the pre-activations that occurred. In these cells that was at "
        "least "
    )
    least = {}
    for row in found:
        if row["answer"] == "yes" and not row["impossible"]:
            least.setdefault(row["surrogate"], []).append(row["least_slope"])
    text += ", ".join(f"{min(values):.3g} for {word(name)}" for name, values in least.items()) + "."
    if identity:
        solved, runs = (sum(row[key] for row in identity) for key in ("solved", "runs"))
        text += f" The identity, at the same angles: {solved} of {runs} runs in {identity[0]['steps']} steps."
    table = [
        line for kind in kinds for line in lines(
            (row for row in rows[kind] if row["surrogate"] in PAPERS),
            lambda row, axis=AXES[kind]: {"varied": axis[0], "value": row[axis[1]]},
            lambda row: steps(row) + (f"; {share(row)}" if 0 < row["right"] < row["runs"] else ""),
        )
    ]  # fmt: skip
    figures = {f"steps-{kind}": _steps_figure(rows[kind], kind) for kind in kinds}
    return Chapter(title, text, (TableView.of(table),), figures)


def _steps_figure(mine: Sequence[Row], kind: str) -> Figure:
    label, key = AXES[kind]
    items, ends = [], []
    for color, name in enumerate(PAPERS):
        found = [row for row in mine if row["surrogate"] == name and row["solved"]]
        points = [(row[key], *mean_steps(row)) for row in found]
        items += curve(points, name, color)
        ends += [end for point in points for end in point[2:]]
    title, relu = f"Steps to zero loss, {label}", items[0]
    if len(relu.x) > 1:
        title += f": ReLU takes {relu.y[0]:.0f} at {relu.x[0]:g}, {relu.y[-1]:.0f} at {relu.x[-1]:g}"
    never = sorted({f"{row[key]:g}" for row in mine if row["surrogate"] in PAPERS and not row["solved"]})
    return drawn.figure(
        title, label, "steps, geometric mean", items,
        log_y=bool(ends) and max(ends) > 5 * min(ends) > 0, log_x=kind in ("angle", "neurons"),
        caption="Bars are 95 % intervals over starts." + f" No run at {', '.join(never)}." * bool(never),
    )  # fmt: skip


def _both(row: Row) -> str:
    return f"{share(row)};\u00a0{row['accuracy']:.3f}"


def _possible(row: Row) -> str:
    return "impossible" if row["impossible"] else "not excluded"


def _below(rows: Rows) -> Chapter:
    title = "Below the assumptions"
    found = sorted(rows.get("below", ()), key=lambda row: row["noise"])
    if not found:
        return nothing(title)
    reasons = dict.fromkeys(f"- {said(row)}: {row['impossible']}" for row in found if row["impossible"])
    text = (
        "First the share of runs at zero loss; then the share of points whose *true* class has the largest "
        "output, where the runs ended. *Dependent*: angle 0, planes that share a line (or, with shared 2, "
        "are one); three planes, and three or four lines, any two of which are independent but not all. "
        "*Missing component*: of one neuron of class 0, of those that serve it, or of all, on that class's "
        "subspace at the start. *Label noise*: so large a share of the labels is wrong. *Few neurons* breaks "
        "no assumption of the theorem as it is read here: on finitely many points it takes enough of them."
    )
    if reasons:
        text += "\n\nImpossible as a theorem (`theory.classification.unreachable`):\n\n" + "\n".join(reasons)
    table = lines(
        found,
        lambda row: {"what": row["what"], "changed": said(row), "zero loss is": _possible(row)},
        _both,
    )
    figures = {}
    noise = [row for row in found if row["what"] == "label noise"]
    if len(noise) > len(PAPERS):
        figures["label-noise"] = _accuracy_figure(noise, "noise", "share of wrong labels")
    small = [row for row in found if row["what"] == "small angle"]
    if len(small) > len(PAPERS):
        figures["small-angle"] = _accuracy_figure(small, "angle", "angle, degrees")
    return Chapter(title, text, (TableView.of(table),), figures)


def _accuracy_figure(mine: Sequence[Row], key: str, label: str) -> Figure:
    items = []
    for color, name in enumerate(PAPERS):
        points = [
            (row[key], row["accuracy"], row["accuracy_low"], row["accuracy_high"])
            for row in mine if row["surrogate"] == name
        ]  # fmt: skip
        items += curve(points, name, color)
    if key == "noise":
        x = sorted({row["noise"] for row in mine})
        items.append(drawn.line(x, [1 - p for p in x], "the labels themselves", dashed=True, color=4))
    worst = min(mine, key=lambda row: row["accuracy"])
    return drawn.figure(
        f"Points told right, by {label}: at least {worst['accuracy']:.3f}, at {worst[key]:g}", label,
        "share of points right, mean over runs", items,
        caption=f"After {max(row['steps'] for row in mine)} steps or at zero loss; bars are 95 % intervals.",
    )  # fmt: skip


def _space(row: Row) -> str:
    return "along the axes" if row["dimension"] is None else f"{row['dimension']} dimensions"


def _binary(rows: Rows) -> Chapter:
    title = "Binary weights as well"
    found = rows.get("binary", ())
    if not found:
        return nothing(title)
    text = (
        "The forward pass sees mean|w| sign(w) of each neuron; the latents take the gradient as it is. The "
        "paper does not have this. With the subspaces along the axes every sign pattern has components of "
        "one length on all of them: mean margins of two classes add to 0, and no loss below 1 is possible. "
        "In a larger space, with the subspaces at random in it, signs can tell directions apart. Each cell: "
        "the share of runs at zero loss; the share of points told right at the end."
    )
    table = lines(
        found,
        lambda row: {"subspaces": _space(row), "rounding": row["rounding"], "zero loss is": _possible(row)},
        _both,
    )
    bars = [
        shares(mine, [f"{_space(row)}, {row['rounding']}" for row in mine], word(name), color)
        for color, (name, mine) in enumerate(_by_surrogate(found))
    ]
    says = f"Binary weights: {_of_binary([row for row in found if row['surrogate'] in PAPERS])}"
    figure = drawn.figure(
        says, "where the subspaces lie, rounding", "share of runs, all points right", bars,
        caption="Whiskers are 95 % Wilson intervals over starts; a bar of height 0 has a whisker only.",
    )  # fmt: skip
    return Chapter(title, text, (TableView.of(table),), {"binary": figure}, columns=1)


def _by_surrogate(found: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    found = list(found)
    for name in dict.fromkeys(row["surrogate"] for row in found):
        yield name, [row for row in found if row["surrogate"] == name]
