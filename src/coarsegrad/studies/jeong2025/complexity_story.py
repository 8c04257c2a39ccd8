"""The page of ``complexity``: thresholds, how they grow, and what moves them."""

import math
from collections.abc import Callable

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies import drawn
from coarsegrad.studies.jeong2025.cells import CRITERIA
from coarsegrad.studies.jeong2025.predicted import samples_a_weight
from coarsegrad.studies.jeong2025.thresholds import cells_of, fitted, growth, misfit, thresholds
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, TableView

_SHAPES: dict[str, Callable[[float], float]] = {
    "n": lambda n: n, "n log n": lambda n: n * math.log(n), "n²": lambda n: n**2, "n⁴": lambda n: n**4,
}  # fmt: skip
_SHOWN = ("relu", "identity", "clipped_relu")


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    about = Chapter(
        "What is studied",
        "A network with binary weights and a threshold, `y = v^T s(Zw)`, learns a binary teacher from N "
        "samples without noise; v is known. Latent weights move by the coarse gradient at their signs. Is "
        "the teacher found exactly? Three readings: the *last* iterate is it, the signs of the average "
        "(*ergodic*) are, or it was *ever* reached. The theorem's bounds, n² for the ergodic and n⁴ for the "
        "last iterate, are sufficient; what it takes is counted here. Every run draws a teacher, a start and "
        "data of its own; surrogates at one n and N share them. Below its threshold the last iterate wanders "
        "until it happens to meet the teacher, where it stays: so the count depends on the steps, which are "
        "stated.",
    )
    if not rows.get("grid"):
        return [about, Chapter("Thresholds", "Nothing was measured yet.")]
    return [about, _recovery(rows), _growth(rows), _far(rows), _varied(rows)]


def _recovery(rows: Rows) -> Chapter:
    names = list(dict.fromkeys(row["surrogate"] for row in rows["grid"]))
    table = []
    for name in names:
        for criterion in ("last", "ergodic"):
            table += _threshold_rows(rows, name, criterion)
    first = rows["grid"][0]
    text = (
        f"m = {first['m']}, |v| = 1, step {first['step_size']:g}, {first['steps']} steps, at least "
        f"{first['runs']} runs a cell. N50 and N90: where half and nine tenths of the runs succeed, by a "
        "logistic fit in log N, with a 95 % interval. *Ever reached* and *last* agree: without noise nobody "
        f"leaves. Runs cut short for want of memory: {_total(rows, 'capped')}; numbers within 1e-12 of 0, "
        f"where rounding may choose a sign: {_total(rows, 'close')}."
    )
    figures = {f"recovery-{name.replace('_', '-')}": _curves(rows, name) for name in _SHOWN if name in names}
    return Chapter("Thresholds", text, (TableView.of(table),), figures)


def _total(rows: Rows, key: str) -> int:
    return sum(row.get(key, 0) for found in rows.values() for row in found)


def _threshold_rows(rows: Rows, name: str, criterion: str, kind: str = "grid") -> list[Row]:
    return [
        {"surrogate": name, "iterate": criterion, "n": n, "N50": str(fit.n50), "N90": str(fit.n90),
         "N50 / n": fit.n50.estimate / n}
        for n, fit in thresholds(rows, name, criterion, kind)
    ]  # fmt: skip


def _curves(rows: Rows, name: str, kind: str = "grid") -> Figure:
    lines, cells = [], cells_of(rows, kind, surrogate=name)
    fewest = min(row["runs"] for mine in cells.values() for row in mine)
    for color, ((_, n), mine) in enumerate(cells.items()):
        mine = sorted(mine, key=lambda row: row["samples"])
        x = [row["samples"] / n for row in mine]
        for criterion in ("ergodic", "last"):
            label = f"n = {n}, {criterion}"
            y = [row[criterion] / row["runs"] for row in mine]
            lines.append(drawn.line(x, y, label, color=color, dashed=criterion == "last"))
    return drawn.figure(
        f"{name}: share of runs that recover the teacher", "N / n", "share of runs", lines, log_x=True,
        caption=f"Solid: the ergodic iterate; dashed: the last one. {drawn.reach(fewest)}",
    )  # fmt: skip


def _growth(rows: Rows) -> Chapter:
    names = [name for name in _SHOWN if len(thresholds(rows, name, "ergodic")) > 1]
    table = []
    for name in names:
        for criterion in ("last", "ergodic"):
            table += _shape_rows(rows, name, criterion, "grid")
    text = (
        "N50 against n: the exponent of a power law with its 95 % interval, and how well each shape fits: by "
        "what factor N50 scatters around the best multiple of it (1 is a perfect fit)."
    )
    if not table:
        return Chapter("Growth", "Too few sizes to fit.")
    figures = {
        f"growth-{criterion}": _lines(rows, names, criterion, "grid") for criterion in ("ergodic", "last")
    }
    after = (
        "The prediction is a *heuristic*: N where the pull back on a wrong weight at a random start equals "
        "one standard deviation of its coarse gradient. It is a multiple of n, and nothing says that the "
        "threshold must lie there; where measured points leave the dashed line, it misses."
    )
    return Chapter("Growth", text, (TableView.of(table),), figures, after=after)


def _shape_rows(rows: Rows, name: str, criterion: str, kind: str) -> list[Row]:
    found, law = thresholds(rows, name, criterion, kind), growth(rows, name, criterion, kind)
    if law is None:
        return []
    fits = {f"around {says}": misfit(found, shape) for says, shape in _SHAPES.items()}
    sizes = f"{found[0][0]} to {found[-1][0]}"
    return [{"surrogate": name, "iterate": criterion, "n": sizes, "exponent": str(law.exponent), **fits}]


def _lines(rows: Rows, names: list[str], criterion: str, kind: str) -> Figure:
    items = []
    for color, name in enumerate(names):
        found = thresholds(rows, name, criterion, kind)
        if not found:
            continue
        sizes = [n for n, _ in found]
        y, low, high = ([getattr(fit.n50, end) for _, fit in found] for end in ("estimate", "low", "high"))
        items.append(drawn.line(sizes, y, name, low, high, color=color))
        if criterion == "ergodic":
            each = samples_a_weight(spec.read(name, SURROGATES))
            says = f"{name}, predicted"
            items.append(drawn.line(sizes, [each * n for n in sizes], says, color=color, dashed=True))
        if color == 0:
            items.append(drawn.line(sizes, [n * n for n in sizes], "n²", color=5, dashed=True))
    which = {"ergodic": "the average", "last": "the last iterate"}[criterion]
    return drawn.figure(
        f"Samples at which {which} is right in half of the runs", "weights n", "samples N50", items,
        log_x=True, log_y=True,
        caption="Bands: 95 % intervals. n²: the theorem's shape for the ergodic iterate, without a constant.",
    )  # fmt: skip


def _far(rows: Rows) -> Chapter:
    title = "Three decades"
    if not rows.get("far"):
        return Chapter(title, "n above 300 was not run: it is the preset `extended`.")
    first = rows["far"][0]
    table = [
        row for criterion in ("last", "ergodic") for row in _threshold_rows(rows, "relu", criterion, "far")
    ]
    shapes = [row for criterion in ("last", "ergodic") for row in _shape_rows(rows, "relu", criterion, "far")]
    largest = max(row["n"] for row in rows["far"])
    there = [row for row in rows["far"] if row["n"] == largest]
    text = (
        f"ReLU, {first['steps']} steps, n to {largest}: {there[0]['runs']} runs a cell there, at "
        f"{len(there)} values of N. The data of the large cells are never drawn: their images have the same "
        "law without them."
    )
    if not any(row["last"] for row in there):
        text += (
            f" At n = {largest} no last iterate was right at the N tried, up to "
            f"{max(row['samples'] for row in there)}: its threshold lies beyond what was run."
        )
    figures = {"far": _curves(rows, "relu", "far"), "far-growth": _lines(rows, ["relu"], "ergodic", "far")}
    return Chapter(title, text, (TableView.of(table), *([TableView.of(shapes)] if shapes else [])), figures)


def _varied(rows: Rows) -> Chapter:
    title = "What else moves it"
    found = cells_of(rows, "varied")
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    n = next(iter(found.values()))[0]["n"]
    base = cells_of(rows, surrogate="relu", n=n)
    lines = [("as above", next(iter(base.values())))] if base else []
    lines += [(says, mine) for (says,), mine in found.items()]
    table = []
    for says, mine in lines:
        row: Row = {"changed": says}
        for criterion in CRITERIA:
            fit = fitted(mine, criterion)
            row[f"N50, {criterion}"] = str(fit.n50) if fit else "–"
        table.append(row)
    text = f"ReLU at n = {n}; one thing changed at a time: m, v all equal, step, size of the start, steps."
    return Chapter(title, text, (TableView.of(table),))
