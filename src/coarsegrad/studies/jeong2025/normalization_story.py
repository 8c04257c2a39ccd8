"""The page about inputs: who recovers on what, how runs fail, one property at a time, and the rule."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coarsegrad.measure import proportion_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.jeong2025.input_grid import CENTRED, FACTORS, HARD, MEAN, SHAPES, best, named
from coarsegrad.studies.jeong2025.inputs import FAILED, WAYS
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, Marks, TableView

GROUPS = {"mean not 0": MEAN, "mean 0": CENTRED, "at the edge": HARD}
LOG = ("scale", "skew", "spread")


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    about = Chapter(
        "What is studied",
        "Whether students with binary weights find a binary teacher when the inputs are not standard normal, "
        "and what normalizing them does. Teacher and student see the *same*, normalized, inputs; the "
        "network's second layer v is known, |v| = 1; the teacher has as many weights of each sign, so that "
        "its labels say something also where a common mean drives every pre-activation. A cell is the better "
        "of two step sizes, 0.1 and 1, so that a failure is not one of the step; both on the same runs, "
        "which lifts shares a little. *At the edge* are rows with a common shift, feature scales x 100 and "
        "Cauchy's law. *Recovered*: the last iterate is the "
        "teacher, exactly.\n\nNormalizations of the sample: by feature, *centring*, *scaling* (by the "
        "standard deviation), *z-score* (both), *whitening* (ZCA); by row, *layer norm* and *L2* (length "
        "sqrt(n)). *Batch norm* acts on Zw, in the network, the teacher's too; the gradient goes through its "
        "statistics.",
    )
    told = (_laws, _fates, _factors, _shapes, _rule)
    return [about, *(tell(rows) for tell in told)]


def _nothing(title: str) -> Chapter:
    return Chapter(title, "Nothing was measured yet.")


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["surrogate"] for row in rows))


def _laws(rows: Rows) -> Chapter:
    title = "Laws and normalizations"
    found = best(rows.get("cell", ()))
    if not found:
        return _nothing(title)
    first = found[0]
    text = (
        f"n = {first['n']}, N = {first['samples']}, m = {first['m']}, {first['steps']} steps, "
        f"{first['runs']} runs a cell; v normal, then of length 1. Runs of a number share teacher, v and "
        "start over all cells. Shares of runs recovered by the last iterate; in parentheses by the signs of "
        f"the average, where they differ. A cell where all recover has the interval "
        f"{proportion_interval(first['runs'], first['runs']).low:.2f} to 1."
    )
    tables = tuple(TableView.of(table(found, name), caption=name) for name in _names(found))
    figures = {f"laws-{name.replace('_', '-')}": _groups(found, name) for name in _names(found)}
    return Chapter(title, text, tables, figures)


def table(cells: Iterable[Row], name: str) -> list[Row]:
    """A row per law, a column per normalization, of one surrogate."""
    found: dict[str, Row] = {}
    for row in cells:
        if row["surrogate"] == name:
            last, ergodic = row["recovered"] / row["runs"], row["ergodic"] / row["runs"]
            said = f"{last:.2f}" + (f" ({ergodic:.2f})" if row["ergodic"] != row["recovered"] else "")
            found.setdefault(row["inputs"], {"law": row["inputs"]})[row["how"]] = said
    return list(found.values())


def _groups(cells: Sequence[Row], name: str) -> Figure:
    """Bars: the mean over a group's laws; from the worst law to the best."""
    items = []
    for label, group in GROUPS.items():
        shares: dict[str, list[float]] = {way: [] for way in WAYS}
        for row in cells:
            if row["surrogate"] == name and row["inputs"] in group:
                shares[row["how"]].append(row["recovered"] / row["runs"])
        if all(shares.values()):
            mean, low, high = ([f(v) for v in shares.values()] for f in (_mean, min, max))
            items.append(drawn.bars(WAYS, mean, label, low=low, high=high))
    return drawn.figure(
        f"{name}: share of runs that recover the teacher", "normalization", "share of runs", items,
        caption="Bars: the mean over the laws of a group; whiskers: from its worst law to its best.",
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _fates(rows: Rows) -> Chapter:
    title = "How runs fail"
    raw = [row for row in rows.get("cell", ()) if row["how"] == "none" and row["inputs"] in MEAN]
    if not raw:
        return _nothing(title)
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in raw:
        groups.setdefault((row["surrogate"], row["step_size"]), []).append(row)
    summed = [
        {"surrogate": name, "step": step, "runs": _sum(mine, "runs"), "recovered": _sum(mine, "recovered"),
         **{fate: _sum(mine, fate) for fate in FAILED},
         "negative signs at the end": _negative(mine),
         "recovered, K > 0": _of(_sum(mine, "restored"), _sum(mine, "restoring")),
         "K <= 0": _of(_sum(mine, "recovered") - _sum(mine, "restored"),
                       _sum(mine, "runs") - _sum(mine, "restoring"))}
        for (name, step), mine in groups.items()
    ]  # fmt: skip
    text = (
        "Raw inputs of a mean that is not 0. *Death*: at the last pattern the slope is 0 at every "
        "pre-activation, so that nothing can change any more. *Frozen*: the slope is not, but the coarse "
        "gradient is 0 or takes every latent further away from 0, and will for ever. *Cycling*: signs still "
        "changed in the last 100 steps. *Slow*: they did not, but some latent is on its way. All are told "
        "from the run's own data at its end, not from a curve.\n\nA ReLU sees only false positives, whose "
        "mean is the inputs'; each of them pushes w against the mean, until nothing fires. What holds w back "
        "is in proportion to K = (1ᵀv)² - |v|²: the last two columns count runs by its sign. It is the "
        "expected coarse gradient's part along the mean, K (P(w fires) - P(w* fires)) E[z 1{zᵀw > 0}]."
    )
    chosen = [name for name in ("relu", "clipped_relu", "leaky_relu") if name in _names(raw)]
    steps = sorted({row["step_size"] for row in raw})
    figures = {
        f"fates-{name.replace('_', '-')}-{k + 1}":
        _bars_of_fates(groups[name, step], f"{name}, step {step:g}")
        for name in chosen for k, step in enumerate(steps)
    }  # fmt: skip
    return Chapter(title, text, (TableView.of(summed, caption="Over all laws of that kind."),), figures)


def _bars_of_fates(mine: Sequence[Row], says: str) -> Figure:
    labels = [row["inputs"] for row in mine]
    items = [
        drawn.bars(labels, [row[fate] / row["runs"] for row in mine], fate)
        for fate in ("recovered", *FAILED)
    ]  # fmt: skip
    return drawn.figure(
        f"What became of runs, raw inputs: {says}", "law of the inputs", "share of runs", items,
        caption=drawn.reach(min(row["runs"] for row in mine)),
    )  # fmt: skip


def _sum(rows: Iterable[Row], key: str) -> int:
    return sum(row[key] for row in rows)


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def _negative(rows: Sequence[Row]) -> float | None:
    """Over all runs that failed."""
    failed = [
        (row["negative"], row["runs"] - row["recovered"]) for row in rows if row["negative"] is not None
    ]
    return sum(a * b for a, b in failed) / sum(b for _, b in failed) if failed else None


def _factors(rows: Rows) -> Chapter:
    title = "One property at a time"
    found = rows.get("factor", ())
    if not found:
        return _nothing(title)
    figures, mended = {}, []
    for factor, (axis, mends, _) in FACTORS.items():
        mine = [row for row in found if row["factor"] == factor]
        if not mine:
            continue
        figures[f"factor-{factor}"] = _curves(mine, factor, axis)
        last = max(row["value"] for row in mine)
        mended += [
            {"property": axis, "at": last, "raw": _spread(_at(mine, last, "none")), "normalized by": how,
             "then": _spread(_at(mine, last, how))} for how in mends
        ]  # fmt: skip
    text = (
        "Everything else is held: mean 0 and standard deviation 1 but where they are what is changed. "
        "(Student's t has a variance above 1, and none from 1/df = 0.5 on; a shift of rows by x makes it "
        "1 + x², and spread scales keep only their geometric mean at 1.) The better of two steps; bars "
        "are 95 % Wilson intervals. *Raw* and *then*: the share recovered at the largest value, "
        "from the worst surrogate to the best."
    )
    return Chapter(title, text, (TableView.of(mended),), figures)


def _at(rows: Iterable[Row], value: float, how: str) -> list[float]:
    return [
        row["recovered"] / row["runs"] for row in best(rows) if row["value"] == value and row["how"] == how
    ]


def _spread(shares: Sequence[float]) -> str:
    low, high = min(shares), max(shares)
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def _curves(mine: Sequence[Row], factor: str, axis: str) -> Figure:
    lines = []
    for name in _names(mine):
        cells = [row for row in best(mine) if row["surrogate"] == name and row["how"] == "none"]
        cells = sorted(cells, key=lambda row: row["value"])
        ends = [proportion_interval(row["recovered"], row["runs"]) for row in cells]
        y, low, high = ([getattr(end, part) for end in ends] for part in ("estimate", "low", "high"))
        x, color = [row["value"] for row in cells], len(lines) // 2
        lines += [drawn.line(x, y, name, color=color), drawn.dots(x, y, "", low, high, color=color)]
    lines.append(Marks((0.0,), axis="y"))
    return drawn.figure(
        f"Recovery against {axis}", axis, "share of runs", lines, log_x=factor in LOG,
        caption="Raw inputs; bars are 95 % intervals.",
    )  # fmt: skip


def _shapes(rows: Rows) -> Chapter:
    title = "Other second layers, an unbalanced teacher"
    found = best(rows.get("shape", ()))
    if not found:
        return _nothing(title)
    lines: dict[tuple[int, str], Row] = {}
    for row in found:
        line = lines.setdefault(
            (row["shape"], row["inputs"]),
            {"changed": named(SHAPES[row["shape"]]), "K": _sign(SHAPES[row["shape"]]), "law": row["inputs"]},
        )
        line[f"{row['surrogate']}, {row['how']}"] = row["recovered"] / row["runs"]
    text = (
        "v all alike, normal without signs, of sum 0; one row or sixteen; and a teacher whose signs are "
        "drawn one by one. Shares of runs recovered."
    )
    return Chapter(title, text, (TableView.of(lines.values()),))


def _sign(shape: Mapping[str, Any]) -> str:
    """Of K = (1^T v)^2 - |v|^2, whatever is drawn."""
    if shape.get("m") == 1:
        return "0"
    return {"ones": "> 0", "positive": "> 0", "zero-sum": "< 0"}.get(shape.get("v", ""), "either")


def _rule(rows: Rows) -> Chapter:
    title = "The rule"
    if not rows.get("cell") or not rows.get("factor"):
        return _nothing(title)

    def cells(how: str, names: tuple[str, ...], laws: Iterable[str]) -> str:
        shares = [
            row["recovered"] / row["runs"] for row in best(rows["cell"])
            if row["how"] == how and row["surrogate"] in names and row["inputs"] in laws
        ]  # fmt: skip
        return _spread(shares) if shares else "–"

    def factor(how: str, names: tuple[str, ...], which: str, value: float) -> str:
        mine = [row for row in rows["factor"] if row["factor"] == which and row["surrogate"] in names]
        shares = _at(mine, value, how)
        return _spread(shares) if shares else "–"

    one, leaky, two = ("relu", "clipped_relu"), ("leaky_relu",), ("hardtanh", "sigmoid")
    windows, endless = ("clipped_relu", "hardtanh", "sigmoid"), ("identity", "relu", "leaky_relu")
    every = (*windows, *endless)
    lines = [
        ("mean not 0", "slope 0 below 0 (ReLU, clipped ReLU)",
         "centre: by feature, by row (layer norm) or batch norm; scaling and L2 do not help",
         cells("none", one, MEAN), cells("centring", one, MEAN)),
        ("mean not 0", "slope smaller below 0 (leaky ReLU)", "centre; longer steps help somewhat",
         cells("none", leaky, MEAN), cells("centring", leaky, MEAN)),
        ("mean not 0", "slope alike on both sides (hard tanh, sigmoid)",
         "nothing, while pre-activations stay in reach of the window; else centre",
         cells("none", two, MEAN), cells("centring", two, MEAN)),
        ("mean of 4 standard deviations", "identity", "nothing", factor("none", ("identity",), "mean", 4.0),
         factor("centring", ("identity",), "mean", 4.0)),
        ("whole rows shifted up or down by 8 standard deviations",
         "bounded windows (clipped ReLU, hard tanh, sigmoid)",
         "layer norm, whitening or batch norm; z-scores do not suffice",
         factor("none", windows, "shift", 8.0), factor("layer norm", windows, "shift", 8.0)),
        ("the same", "slopes that do not end (identity, ReLU, leaky ReLU)", "nothing",
         factor("none", endless, "shift", 8.0), factor("layer norm", endless, "shift", 8.0)),
        ("skew, moderate tails, correlation 0.9, with mean 0", "all", "nothing",
         cells("none", every, CENTRED), cells("z-score", every, CENTRED)),
        ("a scale of 30 or of 0.03", "all", "nothing, if the step may be chosen",
         factor("none", every, "scale", 30.0), factor("z-score", every, "scale", 30.0)),
        ("neighbours correlated at 0.99", "all", "whiten, or layer norm; batch norm does not help",
         factor("none", every, "neighbours", 0.99),
         factor("whitening", every, "neighbours", 0.99)),
        ("feature scales x 1000", "all", "scale by feature; layer norm and batch norm cannot",
         factor("none", every, "spread", 1000.0), factor("z-score", every, "spread", 1000.0)),
        ("tails without variance (Cauchy)", "all", "by row, layer norm; not batch norm",
         cells("batch norm", every, ("Cauchy",)), cells("layer norm", every, ("Cauchy",))),
    ]  # fmt: skip
    seen = [
        {"inputs have": a, "surrogate": b, "what to do": c, "recovered without": d, "with": e,
         "rests on": "simulation"} for a, b, c, d, e in lines
    ]  # fmt: skip
    argued = [
        (
            "mean not 0",
            "ReLU-like",
            "if nothing can be centred, a v of few entries and one sign (K > 0) can help: it did on "
            "N(1, 1) and Exp(1), and did not on U[0, 1]",
        ),
        ("any", "any", "give teacher and student, or training and use, the same normalization"),
    ]
    seen += [
        {"inputs have": a, "surrogate": b, "what to do": c, "recovered without": "–", "with": "–",
         "rests on": "heuristic"} for a, b, c in argued
    ]  # fmt: skip
    text = (
        "What a property of the inputs asks for, by the slope's shape. *Without* is raw (in the last "
        "measured line, batch norm); *with* is the first remedy named; both from the worst cell to the "
        "best. It is measured on this one-layer problem at one n and N; that it carries over to a layer "
        "inside a network is a heuristic."
    )
    return Chapter(title, text, (TableView.of(seen),))
