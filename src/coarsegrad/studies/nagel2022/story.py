"""The page: the toy first, then the network."""

from collections.abc import Sequence
from typing import Any

from coarsegrad.studies import drawn
from coarsegrad.studies.nagel2022.claims import methods
from coarsegrad.studies.nagel2022.network_story import findings, network_chapters
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.theory.oscillation import duty, level_changes, pushes
from coarsegrad.view import Figure, TableView

NOTHING = "Nothing was measured yet."


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    return [_about(rows), _rotation(rows), _methods(rows), _pushed(rows), *network_chapters(rows)]


def _about(rows: Rows) -> Chapter:
    return Chapter(
        "What is studied",
        "Trained straight through its quantizer, a weight does not settle: its latent stops at the "
        "threshold between two levels, and the level it takes goes back and forth for ever. *Nagel et "
        "al.* say that this corrupts the statistics of batch norm and keeps the network from its "
        "minimum, most of all where few weights feed a channel (depthwise convolutions); that step size, "
        "momentum and estimators that multiply the gradient do not prevent it; and that dampening the "
        "latents or freezing the weights does. *Wenshøj et al.* say the opposite: oscillation is what "
        "makes quantized training work, and a term that induces it in a float network makes that network "
        "robust to quantization, also to bits it was not trained for.\n\nHere the toy of one weight is "
        "solved exactly and checked in fractions; then a depthwise-separable network is trained with its "
        "oscillations left alone, dampened, frozen, averaged out, or induced, and tested with batch "
        f"norm's statistics of training and with re-estimated ones.\n\n{_found(rows)}",
    )


def _found(rows: Rows) -> str:
    exact = rows.get("exact", ())
    told = []
    if exact:
        codes, wrong = (sum(row[key] for row in exact) for key in ("codes", "wrong"))
        told.append(
            f"**Found.** The toy is a rotation of the circle: of {codes:,} levels computed in fractions "
            f"{wrong:,} differ from the formula's. While step times curvature is at most 1 the frequency "
            "depends on the target's place between two levels alone. Dampening by half the curvature "
            "stops every weight; the same strength with the other sign makes a float loss the quantized "
            "one: the two papers speak of the two signs of one term, at strengths that the table of the arms "
            "holds beside one another."
        )
    return " ".join([*told, findings(rows)]).strip()


def _rotation(rows: Rows) -> Chapter:
    title = "One weight: a rotation of the circle"
    text = (
        "Let the loss be h (q(w) - w*)² / 2, the levels s apart, the target the share r of the way from "
        "the level below it to the one above. Straight through, the latent rises by η h s r a step "
        "below the threshold, and falls by η h s (1 - r) above. Both moves are the same up to η h s: on "
        "the interval of that length around the threshold, closed to a circle, each step is the "
        "rotation by r. *This asks for η h ≤ 1*: a longer interval reaches a third level. Then the "
        "weight is at the upper level r of the time, and changes its level at 2 min(r, 1 - r) of the "
        "steps: twice the target's distance to the nearest level, in units of s. The step size, the "
        "curvature and the bits decide how far the latent swings, and nothing else.\n\nThe levels are "
        "the bits of a first-order sigma-delta modulator, and their running mean is the target, up to s "
        "/ n after n steps: *no iterate is right, and their mean is*. The level nearest to the target "
        "is the one where the weight is more often: a vote, or a frozen running mean, finds it. "
        "*Theorem; derived here, checked in fractions.*"
    )
    exact, traces = rows.get("exact", ()), rows.get("trace", ())
    if not exact:
        return Chapter(title, f"{text}\n\n{NOTHING}")
    table = TableView.of(
        [
            {
                "bits": row["bits"], "step": row["step"], "levels computed": row["codes"],
                "differ from the formula": row["wrong"], "changes off by at most": row["off_changes"],
                "mean level off, spacings / steps": row["off_mean"],
            }
            for row in exact
        ],
        caption=f"{exact[0]['steps']} steps each, targets and starts all over the circle; exact arithmetic.",
    )  # fmt: skip
    return Chapter(title, text, (table,), _traces(traces), columns=1)


def _traces(traces: Sequence[Row]) -> dict[str, Figure]:
    if not traces:
        return {}
    share = traces[0]["share"]
    lines: list[Any] = []
    for step in dict.fromkeys(row["step"] for row in traces):
        mine = [row for row in traces if row["step"] == step]
        lines.append(
            drawn.line([r["at"] for r in mine], [r["latent"] for r in mine], f"latent, step {step:g}")
        )
    ends = [0, max(row["at"] for row in traces)]
    lines.append(drawn.line(ends, [0.5, 0.5], "threshold", dashed=True))
    lines.append(drawn.line(ends, [share, share], "target", dashed=True))
    return {
        "trace": drawn.figure(
            "A latent at the threshold between two levels, for two step sizes below the edge",
            "step", "latent [spacings]", lines,
            caption=f"Levels at 0 and 1, target {share:g}.",
        )
    }  # fmt: skip


def _methods(rows: Rows) -> Chapter:
    title = "Step size, momentum, and estimators that multiply the gradient"
    found = methods(rows, "")
    if not found:
        return Chapter(title, NOTHING)
    steps = sorted({row["step"] for row in found}, reverse=True)
    table, everywhere = [], [*found, *rows.get("large", ())]
    for name in dict.fromkeys(row["method"] for row in found):
        for step in sorted({row["step"] for row in everywhere if row["method"] == name}, reverse=True):
            mine = methods({"methods": everywhere}, name, step=step)
            ratio = [row["changes"] / level_changes(row["share"]) for row in mine]
            off = max(abs(row["mean"] - row["share"]) for row in mine)
            table.append(
                {"method": name, "step": step, "changes over the formula's, least": min(ratio),
                 "largest": max(ratio), "mean level off, largest": off,
                 "levels visited, most": max(row["levels"] for row in mine)}
            )  # fmt: skip
    beyond = methods(rows, "PSG", beyond=True)
    moved = sum(row["changes"] > 0 for row in beyond)
    text = (
        "With momentum the latent and the gradients still balance, so the mean of the levels is still "
        "the target; but at small steps each swing lasts longer, and the weight changes its level less "
        "often. Without it every visit to the rarer level lasts a single step: 2 min(r, 1 - r) is the "
        "*most* often that anything can change level and keep that mean *between two levels*. Where η h "
        "is above 1, or momentum carries the latent farther, a third level is visited and none of this "
        "binds: the last column says where, and the changes beside it. *EWGS* (δ = 0.2 and 1) and *PSG* "
        "multiply the gradient by a number that depends on the distance to the level, and that is the "
        "same on both sides of the threshold: the rotation is by r in the limit of small steps. No "
        "factor that stays positive can stop it, as the paper says.\n\nOne exception: PSG's factor, as "
        "in its authors' code, is *zero at a level*. A latent that comes from beyond the upper level "
        f"comes to rest there, right or wrong: of {len(beyond)} started there {moved} oscillate."
    )
    lines: list[Any] = []
    shares = sorted({row["share"] for row in found})
    lines.append(
        drawn.line(
            shares, [level_changes(s) for s in shares], "formula, 2 min(r, 1 - r)", dashed=True, color=4
        )
    )
    for color, name in enumerate(("plain", "momentum 0.5", "momentum 0.9", "EWGS 1", "PSG")):
        mine = methods(rows, name, step=steps[-1])
        if mine:
            style = {"color": (0, 2, 1, 5, 3)[color]}
            lines.append(drawn.dots([r["share"] for r in mine], [r["changes"] for r in mine], name, **style))
    figure = drawn.figure(
        "How often a weight changes its level, over its target's place, by method",
        "target's place between two levels", "changes of level per step", lines,
        caption=f"Step {steps[-1]:g}, late steps. Where methods agree, the last one is seen.",
    )  # fmt: skip
    return Chapter(title, text, (TableView.of(table),), {"frequency": figure}, columns=1)


def _pushed(rows: Rows) -> Chapter:
    title = "What stops it, and what induces it, is one term"
    found = rows.get("pushed", ())
    text = (
        "Add a term with the gradient 2 λ (q(w) - w). With λ below 0 it draws a latent to its level: "
        "Nagel et al.'s dampening. With λ above 0 it pushes it to the threshold: Wenshøj et al.'s term. "
        "At the threshold a latent then rises by r + λ/h and falls by 1 - r + λ/h, in units of η h s, "
        "and is above for (r + λ/h) / (1 + 2 λ/h) of the time, in the limit of small steps. Dampened by "
        "more than the target's distance d / s it rests, at the nearest level; by more than 1 - d / s it "
        "rests wherever it is, *also at the wrong level*: which is why the strength is annealed. Induced "
        "it oscillates more, up to every step.\n\nWhere the loss sees the float latent, the term with λ "
        "= h / 2 is the quantized loss itself; a weaker one makes those weights oscillate whose target "
        "lies within λ s / h of a threshold, and moves the others towards it."
    )
    if not found:
        return Chapter(title, f"{text}\n\n{NOTHING}")
    lines: list[Any] = []
    shares = sorted({row["share"] for row in found})
    some = [shares[round(k * (len(shares) - 1) / 4)] for k in (0, 1, 2)]
    for color, share in enumerate(some):
        mine = [r for r in found if r["share"] == share and r["quantized"] and r["side"] == 0]
        mine.sort(key=lambda r: r["strength"])
        low, high = mine[0]["strength"], mine[-1]["strength"]
        grid = [low + (high - low) * k / 200 for k in range(201)]
        said = [duty(*pushes(share, strength=x)) for x in grid]
        lines.append(
            drawn.line(
                grid, [0.0 if d is None else level_changes(d) for d in said], "", dashed=True, color=color
            )
        )
        lines.append(
            drawn.dots(
                [r["strength"] for r in mine], [r["changes"] for r in mine], f"r = {share:.2f}", color=color
            )
        )
    figure = drawn.figure(
        "How often a weight changes its level, over the strength of the term",
        "strength λ / h, below 0: dampening", "changes of level per step", lines,
        caption=f"Quantized loss, step {found[0]['step']:g}; dashed: the formula.",
    )  # fmt: skip
    wrong = sum((row["duty"] in (None, 0, 1)) != (row["changes"] == 0) for row in found)
    after = (
        f"Of {len(found)} weights, over both losses, {wrong} oscillate where the formula says rest, or the "
        "reverse."
    )
    return Chapter(title, text, (), {"strength": figure}, columns=1, after=after)
