"""The page: occupancy against noise, against its predictions, times between visits, and a run as it goes."""

from collections.abc import Iterable, Sequence
from typing import Any

from coarsegrad.measure import Interval, mean_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, TableView


def runs(rows: Rows, kind: str, **about: Any) -> list[Row]:
    """The rows of single runs, with these settings."""
    return [
        row for row in rows.get(kind, ())
        if row["what"] == "run" and all(row[key] == value for key, value in about.items())
    ]  # fmt: skip


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    return [_about(), _trace(rows), _noise(rows), _failure(rows), _times(rows), _float(rows), _sampled(rows)]


def _about() -> Chapter:
    return Chapter(
        "What is studied",
        "A network with n binary weights, `y = v^T s(Zw)` with a threshold s and known v of length 1, learns "
        "from N samples, each a matrix Z of m = 4 rows of standard normal numbers; latent weights move by "
        "the coarse gradient at their signs. Noise on the labels is normal, and said by its standard "
        "deviation; that of the labels themselves is 1/2. If the labels carry noise, or the teacher is not "
        "binary, that gradient is not zero at the optimum, so the weights leave it. How much of the time are "
        "they there, how often do they come back, and can it be foretold?\n\n"
        "*The prediction.* Let e be the coarse gradient at the optimum w. A weight with `e_j sgn(w_j) > 0` "
        "is pushed towards the other sign; once it is wrong it is pulled back with 2c/sqrt(n), c being "
        "1/sqrt(2 pi) for the identity and half of it for the ReLU. In the long run the two must balance, so "
        "it is wrong for a share `p_j = max(0, e_j sgn(w_j)) sqrt(n) / 2c` of the time. The optimum is then "
        "kept for at least `1 - sum p_j`, and for `prod(1 - p_j)` if weights go wrong independently of each "
        "other. Three versions, all without a fitted number: *own* takes e from the run's samples and c from "
        "the population; *coupled* also takes from the samples what each wrong "
        "weight does to the push on every other (a linear complementarity problem in p); *averaged* uses no "
        "samples: e normal with its known variance.\n\nThe optimum must exist to be revisited: N is 32 n or "
        "more, well above the threshold of recovery (2 to 4 n at these n, in "
        "[sample complexity](jeong2025-complexity.md)). Of n = 50 only cells with an expected sum p of at "
        "most 0.65 are run: beyond it no pattern recurs, and a step costs a gradient.",
    )


def _trace(rows: Rows) -> Chapter:
    title = "One run"
    found = rows.get("trace", ())
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    figures = {}
    for noise in sorted({row["noise"] for row in found}):
        mine = [row for row in found if row["noise"] == noise]
        t = [row["step"] for row in mine]
        figures[f"trace-{'noise' if noise else 'noiseless'}"] = drawn.figure(
            f"Label noise {noise:g}: wrong signs along a run", "step", "wrong signs (Hamming distance)",
            [drawn.line(t, [row["wrong"] for row in mine], "iterate", color=0),
             drawn.line(t, [row["average_wrong"] for row in mine], "average of the iterates", color=1)],
        )  # fmt: skip
    one = found[0]
    text = (
        f"ReLU, n = {one['n']}, N = {round(one['multiple'] * one['n'])}, step {one['step_size']:g}; every "
        f"{-(-one['steps'] // one['shown'])}th step is drawn. Same samples and start in both figures."
    )
    return Chapter(title, text, (), figures)


def _noise(rows: Rows) -> Chapter:
    title = "Under label noise"
    found = runs(rows, "noise")
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    sizes = sorted({row["n"] for row in found})
    figures = {f"occupancy-n{n}": _against_noise(found, n) for n in sizes}
    figures["surrogates"] = _surrogates(found, sizes[-2:][0])
    figures["last"] = _last(found)
    table = [_cell_row(mine, rows) for mine in _groups(found, "surrogate", "n", "multiple", "noise").values()]
    first = found[0]
    text = (
        f"m = {first['m']}, |v| = 1, step {first['step_size']:g}, {first['steps']:,} steps a run, "
        f"{len({row['run'] for row in found})} runs a cell, each with its own teacher, samples and noise. "
        "*Occupancy* counts every step from the start; ± is a 95 % interval over runs. *Stay* and *away* "
        "are the medians of the ended stays at the teacher and of the absences between two, counted in "
        "powers of 2. *Last* and *ergodic* are shares of runs whose last iterate, or whose "
        "average's signs, are the "
        "teacher. Left out: cells of which the averaged prediction expects a sum of p above 3 "
        "(n = 50: 0.65), "
        "and N above 12,800."
    )
    after = _steps(rows)
    return Chapter(title, text, (TableView.of(table, caption="Cells."),), figures, after=after)


def _cell_row(mine: Sequence[Row], rows: Rows) -> Row:
    one = mine[0]
    about = {key: one[key] for key in ("surrogate", "n", "multiple", "noise")}
    times = [row for row in rows["noise"] if row["what"] == "times" and about.items() <= row.items()]
    value = mean_interval(row["occupancy"] for row in mine)
    return {
        "surrogate": one["surrogate"], "n": one["n"], "N / n": one["multiple"], "noise": one["noise"],
        "occupancy": _plus_minus(value, len(mine)), "own": round(_mean(mine, "own"), 3),
        "coupled": _solved(mine), "averaged": round(_mean(mine, "averaged"), 3),
        "sum p": round(_mean(mine, "averaged_wrong"), 2),
        "visits": _median([row["visits"] for row in mine]), "stay": _middle(times, "stays"),
        "away": _middle(times, "absences"), "last": round(_mean(mine, "last"), 2),
        "ergodic": round(_mean(mine, "ergodic"), 2),
    }  # fmt: skip


def _solved(mine: Sequence[Row]) -> float | None:
    solved = [row for row in mine if row["coupled"] is not None]
    return round(_mean(solved, "coupled"), 3) if len(solved) == len(mine) else None


def _plus_minus(value: Interval, count: int) -> str:
    return f"{value.estimate:.3f}" + (f" ± {value.high - value.estimate:.3f}" if count > 1 else "")


def _mean(rows: Sequence[Row], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def _median(values: Sequence[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def _middle(times: Sequence[Row], key: str) -> str:
    """The bin in which the median lies, in steps."""
    total, seen = sum(row[key] for row in times), 0
    for row in sorted(times, key=lambda row: row["from"]):
        seen += row[key]
        if total and 2 * seen >= total:
            low = row["from"]
            return f"{low}" if low == 1 else f"{low} to {2 * low - 1}"
    return "–"


def _groups(rows: Iterable[Row], *keys: str) -> dict[tuple, list[Row]]:
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return dict(sorted(found.items()))


def _against_noise(found: Sequence[Row], n: int) -> Figure:
    items = []
    mine = [row for row in found if row["n"] == n and row["surrogate"] == "relu" and row["noise"]]
    for color, ((multiple,), cells) in enumerate(_groups(mine, "multiple").items()):
        by = _groups(cells, "noise")
        x = [noise for (noise,) in by]
        value = [mean_interval(row["occupancy"] for row in cell) for cell in by.values()]
        ends = [[max(0.0, min(1.0, getattr(v, end))) for v in value] for end in ("estimate", "low", "high")]
        items.append(drawn.dots(x, ends[0], f"N = {multiple} n", ends[1], ends[2], color=color))
        predicted = [_mean(cell, "averaged") for cell in by.values()]
        items.append(drawn.line(x, predicted, f"N = {multiple} n, averaged", color=color, dashed=True))
    return drawn.figure(
        f"ReLU, n = {n}: share of time at the teacher", "noise on the labels (standard deviation)",
        "occupancy", items, log_x=True,
        caption="Points: means over runs with 95 % intervals. Dashed: predicted without samples.",
    )  # fmt: skip


def _surrogates(found: Sequence[Row], n: int) -> Figure:
    items = []
    mine = [row for row in found if row["n"] == n and row["noise"]]
    multiple = sorted({row["multiple"] for row in mine})[:2][-1]
    mine = [row for row in mine if row["multiple"] == multiple]
    for (name,), cells in _groups(mine, "surrogate").items():
        by = _groups(cells, "noise")
        value = [mean_interval(row["occupancy"] for row in cell) for cell in by.values()]
        ends = [[max(0.0, min(1.0, getattr(v, end))) for v in value] for end in ("estimate", "low", "high")]
        items.append(drawn.line([noise for (noise,) in by], ends[0], name, ends[1], ends[2]))
    return drawn.figure(
        f"n = {n}, N = {multiple} n: three surrogates", "noise on the labels (standard deviation)",
        "occupancy", items, log_x=True, caption="Means over runs, band: 95 % interval.",
    )  # fmt: skip


def _last(found: Sequence[Row]) -> Figure:
    """In ten groups of runs by their occupancy: how many are right at the end, and on average."""
    mine = sorted((row for row in found if row["noise"]), key=lambda row: row["occupancy"])
    groups = [mine[len(mine) * k // 10 : len(mine) * (k + 1) // 10] for k in range(10)]
    groups = [group for group in groups if group]
    x = [_mean(group, "occupancy") for group in groups]
    value = [mean_interval(row["last"] for row in group) for group in groups]
    ends = [[max(0.0, min(1.0, getattr(v, end))) for v in value] for end in ("estimate", "low", "high")]
    return drawn.figure(
        "The last iterate is right at the rate of the occupancy", "occupancy", "share of runs",
        [drawn.line([0, 1], [0, 1], "equal", dashed=True, color=3),
         drawn.dots(x, ends[0], "last iterate right", ends[1], ends[2], color=0),
         drawn.dots(x, [_mean(group, "ergodic") for group in groups], "signs of the average right", color=1)],
        caption="All runs with noise in ten groups by occupancy, 95 % intervals.",
    )  # fmt: skip


def _steps(rows: Rows) -> str:
    found = runs(rows, "rates")
    if not found:
        return ""
    same = [row for row in runs(rows, "noise", surrogate="relu") if row["seed"] == found[0]["seed"]]
    parts = [
        f"{_mean(mine, 'occupancy'):.4f} with step {rate:g} ({_median([row['visits'] for row in mine]):,} "
        "visits)" for (rate,), mine in _groups([*same, *found], "step_size").items()
    ]  # fmt: skip
    one = found[0]
    return (
        f"The step: ReLU, n = {one['n']}, N = {one['multiple']} n, noise {one['noise']:g}, the same samples "
        f"and starts: occupancy {', '.join(parts)}."
    )


def _failure(rows: Rows) -> Chapter:
    title = "How good the predictions are"
    found = [row for row in runs(rows, "noise") if row["noise"]]
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    table = []
    for below in (True, False):
        chosen = [row for row in found if (row["averaged_wrong"] < 1) == below]
        for (n, multiple), mine in _groups(chosen, "n", "multiple").items():
            row: Row = {"expected sum p": "below 1" if below else "1 and more", "n": n, "N / n": multiple}
            row["runs"] = len(mine)
            for name in ("own", "coupled", "averaged"):
                solved = [r for r in mine if r[name] is not None]
                off = [abs(r["occupancy"] - r[name]) for r in solved]
                row[f"{name}: mean distance"] = round(sum(off) / len(off), 4) if off else None
                row[f"{name}: largest"] = round(max(off), 3) if off else None
            row["coupled: not solved"] = sum(r["coupled"] is None for r in mine)
            table.append(row)
    figures = {
        "predicted-own": _scatter(found, "own", "multiple", "N = {} n", "push of the run, population's pull"),
        "predicted-coupled": _scatter(found, "coupled", "multiple", "N = {} n", "coupled, the run's samples"),
    }
    text = (
        "Every run with noise, all surrogates: its measured occupancy against what its own samples foretell. "
        "*Own* is first order: it misses that a wrong weight changes the residuals of a share "
        "of the samples of about arccos(1 - 2/n)/π, and so the push on all others; where N is few times n "
        "and the noise small, that is as large as the noise itself. *Coupled* has it, as if such effects "
        "added up. That fails where n is large and N = 32 n, at small noise too: its solution then keeps "
        "some weight wrong for ever, and the product is 0, which is not what runs do. *Averaged* is of a "
        "cell, not of a run, so its distance holds the spread of runs."
    )
    return Chapter(title, text, (TableView.of(table, caption="Distances."),), figures)


def _scatter(found: Sequence[Row], key: str, by: str, label: str, says: str) -> Figure:
    items: list[Any] = [drawn.line([0, 1], [0, 1], "equal", dashed=True, color=3)]
    for color, ((value,), mine) in enumerate(_groups(found, by).items()):
        mine = [row for row in mine if row[key] is not None]
        x, y = [row[key] for row in mine], [row["occupancy"] for row in mine]
        items.append(drawn.dots(x, y, label.format(value), color=color))
    return drawn.figure(f"Occupancy of each run: {says}", "predicted occupancy", "measured occupancy", items)


def _times(rows: Rows) -> Chapter:
    title = "How long away, how long there"
    found = [row for row in rows.get("noise", ()) if row["what"] == "times" and row["surrogate"] == "relu"]
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    n = sorted({row["n"] for row in found})[:2][-1]
    multiple = sorted({row["multiple"] for row in found})[:2][-1]
    mine = [row for row in found if (row["n"], row["multiple"]) == (n, multiple) and row["noise"]]
    figures = {}
    for key, says in (("absences", "away before the next visit"), ("stays", "at the teacher, in one stay")):
        items = []
        for (noise,), cell in _groups(mine, "noise").items():
            x, y = _survival(cell, key)
            items.append(drawn.line(x, y, f"noise {noise:g}"))
        figures[f"times-{key}"] = drawn.figure(
            f"ReLU, n = {n}, N = {multiple} n: steps {says}", "steps", "share that lasts as long", items,
            log_x=True, log_y=True,
            caption="Stretches of one run depend on one another, so no interval is drawn.",
        )  # fmt: skip
    text = (
        "All runs of a cell together, counted in powers of 2; a line ends with the longest that was met. "
        "Both times are counted in steps and do not grow as the step shrinks: a weight crosses 0 by less "
        "than one step of its push, and the pull, the larger one, mostly takes it back with the next. A stay "
        "lasts until the strongest push has made good for that, so less noise makes for longer ones. Long "
        "absences come with several weights wrong at once."
    )
    return Chapter(title, text, (), figures)


def _survival(cell: Sequence[Row], key: str) -> tuple[list[int], list[float]]:
    """Lengths at which a bin begins, and the share of times at least that long."""
    cell = sorted((row for row in cell if row[key]), key=lambda row: row["from"])
    total = sum(row[key] for row in cell)
    left = [sum(row[key] for row in cell[i:]) / total for i in range(len(cell))]
    return [row["from"] for row in cell], left


def _float(rows: Rows) -> Chapter:
    title = "No noise, but a teacher out of reach"
    found = runs(rows, "population")
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    table = []
    for (weights, n, spread), mine in _groups(
        ({**row, "near": -1.0 if row["spread"] is None else row["spread"]} for row in found),
        "weights", "n", "near",
    ).items():  # fmt: skip
        binary = weights == "binary"
        off = [abs(row["occupancy"] - row["own"]) for row in mine] if binary else []
        shares = [row["occupancy"] for row in mine]
        table.append({
            "weights": weights, "n": n, "spread": "random" if spread < 0 else spread,
            "cosine": round(_mean(mine, "cosine"), 3), "occupancy": round(_mean(mine, "occupancy"), 4),
            "least": round(min(shares), 4), "most": round(max(shares), 4),
            "prod(1 - p)": round(_mean(mine, "own"), 4) if binary else None,
            "largest distance": round(max(off), 5) if binary else None,
            "sum p": round(_mean(mine, "own_wrong"), 2) if binary else None,
            "runs": len(mine), "never seen late": sum(row["late_visits"] == 0 for row in mine),
        })  # fmt: skip
    figures = {}
    binary = [row for row in found if row["weights"] == "binary"]
    ternary = [row for row in found if row["weights"] == "ternary"]
    if binary:
        figures["population-binary"] = _scatter(binary, "own", "n", "n = {}", "binary, population")
    if ternary:
        figures["population-ternary"] = _nearness(ternary)
    text = (
        f"The population's method for identity and ReLU, {found[0]['steps']:,} steps, step times c "
        f"{found[0]['step_size']:g}. The teacher is a random direction, or a quantized one whose weights are "
        "each multiplied by (1 + spread times a normal number), and whose zeros become spread times one. "
        "*Cosine* is that of the angle to the best quantized direction, the optimum. Binary weights move "
        "each alone, as rotations of a circle; `p_j = (1 - sqrt(n) |w*_j|) / 2`, or 0. *Never seen late*: "
        "runs that are not at the optimum once in the second half."
    )
    return Chapter(title, text, (TableView.of(table),), figures, after=_avoided(rows))


def _nearness(ternary: Sequence[Row]) -> Figure:
    items = []
    for color, ((n,), mine) in enumerate(_groups(ternary, "n").items()):
        x = [1 - row["cosine"] for row in mine]
        items.append(drawn.dots(x, [row["occupancy"] for row in mine], f"n = {n}", color=color))
    return drawn.figure(
        "Ternary: the nearer the teacher, the more time at the optimum", "1 - cosine to the optimum",
        "occupancy", items, log_x=True,
    )  # fmt: skip


def _avoided(rows: Rows) -> str:
    found = {row["run"]: row for row in runs(rows, "example")}
    if not found:
        return ""
    return (
        "An optimum that is avoided: four weights, w* = (sqrt(33), 1, 1, 1)/6, so that three are wrong every "
        "third step and sum p = 1. Started one step after the other, one of them is always wrong: "
        f"{found[0]['visits']:,} visits in {found[0]['steps']:,} steps. Started all alike: "
        f"{found[1]['visits']:,} visits, and an occupancy of {found[1]['occupancy']:.4f}, not the 8/27 = "
        "0.2963 that independent rotations would have."
    )


def _sampled(rows: Rows) -> Chapter:
    title = "A float teacher, on finite samples"
    found = runs(rows, "float")
    if not found:
        return Chapter(title, "Nothing was measured yet.")
    table = []
    for (name, n, multiple, spread), mine in _groups(found, "surrogate", "n", "multiple", "spread").items():
        value = mean_interval(row["occupancy"] for row in mine)
        table.append({
            "surrogate": name, "n": n, "N / n": multiple, "spread": spread,
            "occupancy": _plus_minus(value, len(mine)), "own": round(_mean(mine, "own"), 3),
            "coupled": _solved(mine), "visits": _median([row["visits"] for row in mine]),
            "last": round(_mean(mine, "last"), 2), "ergodic": round(_mean(mine, "ergodic"), 2),
        })  # fmt: skip
    figures = {"float-coupled": _scatter(found, "coupled", "n", "n = {}", "float teacher, coupled")}
    text = (
        "Labels without noise, from a binary direction with spread as above. The optimum is its signs; the "
        "coarse gradient there is that of the residual angle, and of the samples."
    )
    return Chapter(title, text, (TableView.of(table),), figures)
