"""How many samples does it take? Recovery over a grid of n and N, the threshold, and how it grows with n."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.measure import Interval
from coarsegrad.measure.fits import LogisticThreshold, PowerLaw, logistic_threshold, power_law
from coarsegrad.studies import drawn
from coarsegrad.studies.jeong2025.cells import CRITERIA, threshold
from coarsegrad.studies.jeong2025.predicted import samples_a_weight
from coarsegrad.studies.study import Chapter, Study, Task
from coarsegrad.studies.verdict import Claim, Row, Rows, exactly
from coarsegrad.view import Figure, TableView

PAPER = "Jeong, Xin & Yin 2025, arXiv:2505.18113"
MAIN = ("identity", "relu", "clipped_relu", "leaky_relu", "hardtanh", "sigmoid", "gaussian")
_MULTIPLES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
_BASE = {"m": 4, "v": "unit", "step_size": 0.3, "steps": 800, "start": 1.0, "seed": 7}
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"sizes": (8,), "runs": 8, "extra": 0, "surrogates": ("identity", "relu"), "varied": 8},
    "quick": {"sizes": (10, 20, 50), "runs": 40, "extra": 2, "surrogates": MAIN, "varied": 20},
    "paper": {
        "sizes": (10, 20, 50, 100, 200, 300), "runs": 100, "extra": 3, "surrogates": MAIN, "varied": 50,
    },
}  # fmt: skip
_VARIED = (
    {"m": 1}, {"m": 16}, {"v": "ones"}, {"step_size": 0.1}, {"step_size": 1.0}, {"start": 0.1},
    {"start": 10.0}, {"steps": 8000},
)  # fmt: skip
"""What is changed, one at a time, at one n, for ReLU."""


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """A task per surrogate and n: all its N, and where it pays more of them; and one per variation."""
    p = _PRESETS[preset]
    grid = {"multiples": _MULTIPLES, "runs": p["runs"], "extra": p["extra"]}
    found = [
        Task("grid", threshold, {**_BASE, **grid, "n": n, "surrogate": name}, says=f"{name}, n = {n}")
        for n in p["sizes"] for name in p["surrogates"]
    ]  # fmt: skip
    found += [
        Task("varied", threshold,
             {**_BASE, **grid, "n": p["varied"], "surrogate": "relu", **change, "varied": k},
             says=_named(change))
        for k, change in enumerate(_VARIED)
    ]  # fmt: skip
    return found


def _named(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in change.items())


# What follows from the rows.


def fitted(rows: Iterable[Row], criterion: str) -> LogisticThreshold | None:
    """Success against log N, of one surrogate at one n; None where nothing ever, or always, succeeds."""
    rows = list(rows)
    won, tried = [row[criterion] for row in rows], [row["runs"] for row in rows]
    if len(rows) < 2 or not 0 < sum(won) < sum(tried):
        return None
    return logistic_threshold([row["samples"] for row in rows], won, tried)


def cells_of(rows: Rows, kind: str = "grid", **about: Any) -> dict[tuple, list[Row]]:
    """The rows of each cell line: (surrogate, n), ascending in n; for ``varied`` by its number."""
    found: dict[tuple, list[Row]] = {}
    for row in rows.get(kind, ()):
        if all(row[key] == value for key, value in about.items()):
            key = (row["surrogate"], row["n"]) if kind == "grid" else (row["varied"],)
            found.setdefault(key, []).append(row)
    return dict(sorted(found.items(), key=lambda item: item[0][-1]))


def thresholds(rows: Rows, surrogate: str, criterion: str) -> list[tuple[int, LogisticThreshold]]:
    """(n, fit) for every n at which there is a threshold to see."""
    found = cells_of(rows, surrogate=surrogate)
    fits = [(n, fitted(mine, criterion)) for (_, n), mine in found.items()]
    return [(n, fit) for n, fit in fits if fit is not None and math.isfinite(fit.n50.estimate)]


def growth(rows: Rows, surrogate: str, criterion: str) -> PowerLaw | None:
    """N50 as a power of n; None with fewer than three n."""
    found = thresholds(rows, surrogate, criterion)
    if len(found) < 3:
        return None
    return power_law([n for n, _ in found], [fit.n50.estimate for _, fit in found])


def _exponent(surrogate: str, criterion: str) -> Callable[[Rows], Interval | None]:
    def estimate(rows: Rows) -> Interval | None:
        fit = growth(rows, surrogate, criterion)
        return fit.exponent if fit else None

    return estimate


def _escapes(rows: Rows) -> Interval | None:
    """Noiseless runs that left the teacher after they were there."""
    found = [row for kind in ("grid", "varied") for row in rows.get(kind, ())]
    return exactly(sum(row["hit"] - row["last"] for row in found)) if found else None


def _at_square(rows: Rows) -> Interval | None:
    """The smallest share of right ergodic iterates at the sizes from n^2 on, of the paper's surrogates."""
    rates = [
        row["ergodic"] / row["runs"]
        for row in rows.get("grid", ())
        if row["samples"] >= row["n"] ** 2 >= 100 and row["surrogate"] in ("identity", "relu")
    ]
    return exactly(min(rates)) if rates else None


def _ratio(top: str, bottom: str) -> Callable[[Rows], Interval | None]:
    """N50 of one surrogate over another's, the mean over n on a log scale."""

    def estimate(rows: Rows) -> Interval | None:
        above, below = (dict(thresholds(rows, name, "ergodic")) for name in (top, bottom))
        both = sorted(above.keys() & below.keys())
        if len(both) < 2:
            return None
        from coarsegrad.measure import mean_interval

        found = mean_interval(math.log(above[n].n50.estimate / below[n].n50.estimate) for n in both)
        return Interval(*(math.exp(v) for v in (found.estimate, found.low, found.high)))

    return estimate


_MEASURED = {"quick": "confirmed", "paper": "confirmed"}
CLAIMS = (
    Claim("absorbing", "Without label noise a run that reached the teacher stays there.", "theorem",
          f"{PAPER}; w* has a coarse gradient of 0 at every N", "runs that left it", _escapes, most=0),
    Claim("square-suffices", "Samples n² suffice for the ergodic iterate (at n = 10 and more).", "theorem",
          f"{PAPER}, as its notes have it: O(n²)", "smallest share recovered where N >= n²", _at_square,
          least=0.9, expected=_MEASURED),
    Claim("ergodic-below-square", "ReLU, ergodic iterate: what it takes grows more slowly than n².",
          "simulation", "measured here", "exponent of N50 in n", _exponent("relu", "ergodic"), least=1.0,
          most=2.0, expected=_MEASURED),
    Claim("last-below-fourth", "ReLU, last iterate: far more slowly than n⁴.", "simulation", "measured here",
          "exponent of N50 in n", _exponent("relu", "last"), least=1.0, most=3.0, expected=_MEASURED),
    Claim("identity-needs-fewer", "ReLU needs one and a half to three times the samples of the identity.",
          "simulation", "measured here", "ratio of N50, mean over n", _ratio("relu", "identity"), least=1.5,
          most=3.0, margin=0.3, expected=_MEASURED),
)  # fmt: skip


# The page.


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    about = Chapter(
        "What is studied",
        "A network with binary weights and a threshold, `y = v^T s(Zw)`, learns a binary teacher from N "
        "samples without noise; v is known. Latent weights move by the coarse gradient at their signs. Is "
        "the teacher found exactly? Three readings: the *last* iterate is it, the signs of the average "
        "(*ergodic*) are, or it was *ever* reached. The theorem's bounds, n² for the ergodic and n⁴ for the "
        "last iterate, are sufficient; what it takes is counted here.",
    )
    if not rows.get("grid"):
        return [about, Chapter("Thresholds", "Nothing was measured yet.")]
    return [about, _thresholds(rows), _varied(rows)]


def _thresholds(rows: Rows) -> Chapter:
    names = list(dict.fromkeys(row["surrogate"] for row in rows["grid"]))
    table = []
    for name in names:
        for criterion in ("last", "ergodic"):
            row: Row = {"surrogate": name, "iterate": criterion}
            for n, fit in thresholds(rows, name, criterion):
                row[f"n = {n}"] = str(fit.n50)
            fit = growth(rows, name, criterion)
            row["exponent"] = str(fit.exponent) if fit else "–"
            table.append(row)
    keys = list(dict.fromkeys(key for row in table for key in row if key.startswith("n = ")))
    ordered = [
        {"surrogate": r["surrogate"], "iterate": r["iterate"], **{k: r.get(k, "–") for k in keys},
         "exponent": r["exponent"]} for r in table
    ]  # fmt: skip
    figures = {f"recovery-{name.replace('_', '-')}": _curves(rows, name) for name in names[:3]}
    figures["growth"] = _growth(rows, names[:3])
    first = rows["grid"][0]
    text = (
        f"m = {first['m']}, |v| = 1, step {first['step_size']:g}, {first['steps']} steps, "
        f"{first['runs']} runs a cell. N50: where half of the runs succeed, by a logistic fit in log N, with "
        "a 95 % interval."
    )
    return Chapter("Thresholds", text, (TableView.of(ordered, caption="N50."),), figures)


def _curves(rows: Rows, name: str) -> Figure:
    lines = []
    for color, ((_, n), mine) in enumerate(cells_of(rows, surrogate=name).items()):
        mine = sorted(mine, key=lambda row: row["samples"])
        x = [row["samples"] / n for row in mine]
        for criterion in ("ergodic", "last"):
            label = f"n = {n}, {criterion}"
            y = [row[criterion] / row["runs"] for row in mine]
            lines.append(drawn.line(x, y, label, color=color, dashed=criterion == "last"))
    return drawn.figure(
        f"{name}: share of runs that recover the teacher", "N / n", "share of runs", lines, log_x=True,
        caption="Solid: the ergodic iterate; dashed: the last one.",
    )  # fmt: skip


def _growth(rows: Rows, names: Sequence[str]) -> Figure:
    items = []
    sizes: list[int] = []
    for color, name in enumerate(names):
        found = thresholds(rows, name, "ergodic")
        if not found:
            continue
        sizes = [n for n, _ in found]
        y, low, high = ([getattr(fit.n50, end) for _, fit in found] for end in ("estimate", "low", "high"))
        items.append(drawn.line(sizes, y, name, low, high, color=color))
        predicted = samples_a_weight(spec.read(name, SURROGATES))
        items.append(
            drawn.line(sizes, [predicted * n for n in sizes], f"{name}, predicted", color=color, dashed=True)
        )
    if len(sizes) > 1:
        items.append(drawn.line(sizes, [n * n for n in sizes], "n²", color=4, dashed=True))
    return drawn.figure(
        "Samples at which half of the ergodic iterates are right", "n", "N50", items, log_x=True, log_y=True,
        caption="Dashed: n² (the theorem's, without its constant) and a heuristic: pull of a wrong "
        "coordinate = one standard deviation of its coarse gradient at a random start.",
    )  # fmt: skip


def _varied(rows: Rows) -> Chapter:
    title = "What else moves it"
    found = cells_of(rows, "varied")
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    n = next(iter(found.values()))[0]["n"]
    base = cells_of(rows, surrogate="relu", n=n)
    lines = [("as above", next(iter(base.values())))] if base else []
    lines += [(_named(_VARIED[k]), mine) for (k,), mine in found.items()]
    table = []
    for says, mine in lines:
        row: Row = {"changed": says}
        for criterion in CRITERIA:
            fit = fitted(mine, criterion)
            row[f"N50, {criterion}"] = str(fit.n50) if fit else "–"
        table.append(row)
    text = f"ReLU at n = {n}; one thing changed at a time."
    return Chapter(title, text, (TableView.of(table),))


STUDY = Study(
    name="jeong2025-complexity",
    title="Jeong et al. 2025: how many samples does it take?",
    paper=PAPER,
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "minutes on two cores: n to 50",
        "paper": "about an hour on two cores: n to 300, 100 runs a cell",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
)
