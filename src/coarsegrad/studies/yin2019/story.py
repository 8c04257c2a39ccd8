"""The page about Yin et al. 2019: what was measured, in tables and pictures, from rows alone."""

import math
from collections.abc import Iterable, Sequence

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.studies.yin2019 import pictures, training, yours
from coarsegrad.view import TableView


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    told = (_fields, _lines, _landscape, _descents, _near, _networks)
    return [_about(), *yours.chapters(rows), *(tell(rows) for tell in told)]


def _about() -> Chapter:
    return Chapter(
        "What is studied",
        "A network with one hidden layer of threshold units, `y = v^T s(Zw)`, `s(x) = 1{x > 0}`, learns a "
        "teacher `(v*, w*)` of the same form from Gaussian Z. The derivative of s is zero almost "
        "everywhere, so the gradient of a sample says nothing about w. A straight-through estimator puts "
        "the slope of a *surrogate* in its place: 1 (identity), `1{x > 0}` (ReLU), `1{0 < x < 1}` (clipped "
        "ReLU). What comes of it is the *coarse gradient*. It is the gradient of nothing; the paper asks "
        "when a step against its expectation lowers the population's loss, and where such steps "
        "end.\n\nHere every formula stands beside samples that know no formula; the formulas then answer "
        "what sampling cannot: thousands of descents for each surrogate, every end point classified.",
    )


def _nothing(title: str, why: str = "Nothing was measured yet.") -> Chapter:
    return Chapter(title, why)


def _fields(rows: Rows) -> Chapter:
    title = "Does the coarse gradient point downhill?"
    overall = [row for row in rows.get("alignment", ()) if row["what"] == "all"]
    if not overall or not rows.get("agreement"):
        return _nothing(title)
    push = pushes(rows.get("critical", ()))
    table = TableView.of(
        (
            {
                "surrogate": row["surrogate"], "slope": SURROGATES[row["surrogate"]].formula,
                "cosine, median": row["median"], "5 %": row["low"], "95 %": row["high"],
                "uphill": row["uphill"], "of": row["tried"],
                "push": push.get(row["surrogate"]),
            }
            for row in overall
        ),
        caption="Cosine of the coarse gradient with the gradient in w over random (v, w), by formula; "
        "scheduled surrogates halfway through training. Push: |Eg|/|v*|² at the spurious minimizer, median "
        "over teachers.",
    )  # fmt: skip
    points = len({row["number"] for row in rows["agreement"]})
    text = (
        f"At {points} random points (m 1 to 8, n 2 to 12, |w| 0.3 to 5, every angle) the expected coarse "
        "gradient was computed, in closed form or by quadrature, and sampled. The correlation was sampled "
        "as the product of two estimates from separate samples, so that no formula enters. The gradient in "
        "w itself is sampled by the likelihood ratio, because no sample's loss has one.\n\nA cosine above "
        "0 means downhill. It is often small: only the part of the coarse gradient across w counts, and "
        "much of it lies along w, where the loss does not change."
    )
    return Chapter(title, text, (table,), pictures.fields(rows))


def pushes(rows: Iterable[Row]) -> dict[str, float]:
    """Per surrogate the median over teachers of the push at the spurious minimizer, in |v*|^2."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["what"] == "push":
            found.setdefault(row["surrogate"], []).append(row["relative"])
    return {name: _median(values) for name, values in found.items()}


def _lines(rows: Rows) -> Chapter:
    title = "The empirical loss along the negative coarse gradient"
    if not rows.get("line"):
        return _nothing(title)
    text = (
        "N samples give a coarse gradient, and the loss of the same samples is followed along its "
        "negative, v fixed. The empirical loss is a staircase: at a small scale it rises about as often as "
        "it falls, and a line search there would see noise. At the scale of the population's valley it "
        "falls."
    )
    return Chapter(title, text, (TableView.of(line_table(rows["line"])),), pictures.lines(rows["line"]))


def line_table(rows: Sequence[Row]) -> list[Row]:
    """Per surrogate and sample size: medians of roughness and distance, and how many lines fall."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if row["what"] == "trial":
            groups.setdefault((row["surrogate"], row["samples"]), []).append(row)
    return [
        {
            "surrogate": name, "samples": n, "roughness, median": _median(r["roughness"] for r in mine),
            "distance to the population's, median": _median(r["off"] for r in mine),
            "lines that fall": sum(r["falls"] for r in mine), "of": len(mine),
        }
        for (name, n), mine in groups.items()
    ]  # fmt: skip


def _median(values: Iterable[float | None]) -> float:
    found = sorted(v for v in values if v is not None)
    return found[len(found) // 2] if found else math.nan


def _landscape(rows: Rows) -> Chapter:
    title = "The landscape"
    if not rows.get("slice"):
        return _nothing(title)
    text = (
        "The loss depends on w through its angle theta with w* alone. All critical points of a teacher lie "
        "on one slice, v = (I + 11^T)^{-1}(kappa I + 11^T) v*: the global minimizer at theta = 0, kappa = "
        "1; the spurious one at theta = pi, kappa = -1; saddles between. They exist where (1^T v*)² < "
        "(m+1)/2 |v*|². First a teacher on that side, then one on the other, where every way down leads to "
        "theta = 0."
    )
    return Chapter(title, text, figures=pictures.landscape(rows["slice"]))


def _descents(rows: Rows) -> Chapter:
    title = "Algorithm 1 from random starts"
    if not rows.get("ends"):
        return _nothing(title)
    found = end_table(rows["ends"])
    first = rows["ends"][0]
    text = (
        f"{found[0]['starts']:,} starts for each surrogate, each with a teacher of its own, m = "
        f"{first['m']}, n = {first['n']}, |w| = 1 at first, {first['steps']:,} steps of size "
        f"{first['step_size']:g}, on the population. An end point counts as critical within 1e-3. *Inside* "
        f"is a step whose two ends have |w| at least {first['window']:g}, at any angle: the theorem's "
        "condition |w| >= c_w. That window was chosen after a trial with 0.1 had two rises in 9e7 steps, "
        "long ones that cross |w| = 0: the theorem asks for steps that are small enough, not saying how "
        "small."
    )
    by = {row["surrogate"]: row for row in found}
    return Chapter(
        title, text, (TableView.of(found),), pictures.ends(rows["ends"]), after=_reading(by, rows["ends"])
    )


def _reading(by: dict[str, Row], rows: Sequence[Row]) -> str:
    """What the numbers say of the identity, and of the two-sided window beside it."""
    identity, relu = by["identity"], by["relu"]
    exist = sum(row["starts"] for row in rows if row["surrogate"] == "identity" and row["exists"])
    text = (
        f"Inside the window the loss rose in {relu['rises inside']} of {relu['steps inside']:,} steps for "
        f"the ReLU, and in {identity['rises inside']} of {identity['steps inside']:,} for the identity; "
        f"outside, where a step of fixed size turns w by any angle, in {relu['rises outside']:,} and "
        f"{identity['rises outside']:,}. So the identity does not fail by steps uphill: its correlation "
        "with the gradient is not negative either. What it lacks is rest. At the spurious minimizer its "
        "coarse gradient does not vanish but lies along w, and drives |w| to 0, out of the theorem's "
        "condition; there w turns over, the loss jumps, and many a run comes back and does so again. "
        f"{identity['not critical']:,} of the {exist:,} runs whose teacher has a spurious minimizer ended "
        "nowhere. That is the paper's finding, neither descent nor convergence, with its cause."
    )
    if "hardtanh" in by:
        text += (
            f"\n\nThe hard tanh, `1{{|x| < 1}}`, is not in the paper. Its slope is bounded like the clipped "
            f"ReLU's but does not vanish below 0: {by['hardtanh']['not critical']:,} of its runs ended "
            f"nowhere, of the clipped ReLU's {by['clipped_relu']['not critical']:,}. A slope of 0 below 0 "
            "makes the coarse gradient vanish at the spurious minimizer."
        )
    return text


def end_table(rows: Sequence[Row]) -> list[Row]:
    """Per surrogate: where runs ended, and where the loss rose."""
    columns = {"starts": "starts", "global minimizer": "global", "spurious minimizer": "spurious",
               "saddle": "saddle", "not critical": "not critical", "undefined": "undefined",
               "steps_inside": "steps inside", "rises_inside": "rises inside",
               "rises_outside": "rises outside"}  # fmt: skip
    names = dict.fromkeys(row["surrogate"] for row in rows)
    found = []
    for name in names:
        mine = [row for row in rows if row["surrogate"] == name]
        sums = {short: sum(row[column] for row in mine) for column, short in columns.items()}
        if not sums["undefined"]:  # nothing diverged
            del sums["undefined"]
        found.append({"surrogate": name, **sums, "largest rise": max(row["largest_rise"] for row in mine)})
    return found


def _near(rows: Rows) -> Chapter:
    title = "Beside the spurious minimizer"
    mine = [row for row in rows.get("near", ()) if row["what"] == "teacher"]
    if not mine:
        return _nothing(title)
    table = TableView.of(
        {
            "surrogate": row["surrogate"], "teacher": row["teacher"] + 1, "|Eg| there": row["push"],
            "starts": row["starts"], "climbed": row["climbed"], "largest climb": row["largest_climb"],
            "stayed": row["spurious minimizer"], "global": row["global minimizer"],
            "not critical": row["not critical"],
        }
        for row in mine
    )  # fmt: skip
    text = (
        "Starts 0.01 from the spurious minimizer in v and in w, |w| about 1. ReLU and clipped ReLU settle "
        "in it; the identity leaves, and its loss first rises. *Climbed*: by more than 1 % of the loss at "
        "the start."
    )
    return Chapter(title, text, (table,), pictures.near(rows["near"]))


def _networks(rows: Rows) -> Chapter:
    title = "Table 1 and the instability experiment"
    found = training.table_rows(rows)
    if not found:
        return _nothing(
            title,
            "Not run: the networks take hours, and are trained by `--preset short` and `--preset paper` "
            "alone, with `--data-folder FOLDER`. Their claims stand above, with margins and expected "
            "verdicts, as *not run*.",
        )
    text = (
        "Weights float, activations quantized in place of the ReLUs, batch norms without scale and shift, "
        "steps of Lloyd's fit to a half-Gaussian. " + training.schedules(rows) + " Means over paired seeds "
        "with 95 % intervals; decimals are not claimed, orders and the class of the gaps are."
    )
    return Chapter(title, text, (TableView.of(found),), pictures.instability(rows))
