"""The page's last chapters: where training ends, and other slopes."""

from collections.abc import Sequence

from coarsegrad.studies import drawn
from coarsegrad.studies.ichikawa2025.claims import best_range, gap, picked
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, TableView

NOTHING = "Nothing was measured yet."


def ends(rows: Rows) -> Chapter:
    """Fixed points against step, range and bits."""
    title = "Where it ends: the fixed point, and the gap to float weights"
    figures, tables = {}, []
    steps = picked(rows, "steps", "cell")
    if steps:
        figures["steps"] = _against_steps(steps, picked(rows, "fixed", "run"))
    for inputs in (False, True):
        found = picked(rows, "range", "cell", inputs=inputs)
        if found:
            name = "quantized" if inputs else "float"
            figures[f"range-{name}"] = drawn.figure(
                f"Error at the fixed point against the range, {name} inputs", "range", "generalization error",
                [drawn.line([row["reach"] for row in mine], [row["closed"] for row in mine],
                            f"{bits} bit{'s' * (bits > 1)}", dashed=True, color=bits)
                 for bits in (1, 2, 3, 4) if (mine := [row for row in found if row["bits"] == bits])],
                log_y=True, caption=f"By formula; step {found[0]['step_size']:g}.",
            )  # fmt: skip
    best = [
        {"inputs": "quantized" if inputs else "float", "bits": bits, "best range": pair[0],
         "half or twice of it, least factor": pair[1]}
        for inputs in (False, True) for bits in (1, 2, 3, 4) if (pair := best_range(rows, bits, inputs))
    ]  # fmt: skip
    tables += [TableView.of(best, caption="Best ranges of those tried, by formula.")] if best else []
    gaps = [
        {"levels": "with 0" if row["zero"] else "without 0", "bits": row["bits"], "spacing": row["spacing"],
         "error": row["closed"], "float weights": row["unquantized"], "gap / (spacing² / 6)": gap(row)}
        for row in picked(rows, "formula", "cell")
    ]  # fmt: skip
    if gaps:
        one = picked(rows, "formula", "cell")[0]
        says = f"The gap, range {one['reach']:g}, step {one['step_size']:g}, float inputs, by formula."
        tables.append(TableView.of(gaps, caption=says))
    seen = picked(rows, "fixed", "run")
    told = []
    for step in sorted({row["step_size"] for row in seen}):
        mine = [row for row in seen if row["step_size"] == step]
        told.append(
            {"step": step, "closed form": mine[0]["closed"], "flow, last time": mine[0]["flow"],
             "simulated": mean(mine, "seen"), "float weights": mine[0]["unquantized"],
             "float, simulated": mean(mine, "float_seen")}
        )  # fmt: skip
    if told:
        one = seen[0]
        says = (
            f"{one['bits']} bits, range {one['reach']:g}, label noise {one['noise']:g}; {len(mine)} runs of "
            f"d = {one['d']}, averaged over times after {one['late']:g}. Where there is no end for "
            "float weights, they run away."
        )
        tables.append(TableView.of(told, caption=says))
    if not (figures or tables):
        return Chapter(title, NOTHING)
    text = (
        "*The fixed point.* For a given error the law is stationary with a density that is an exponential in "
        "each cell; the error it makes must be the error that made it. That one equation is solved. Weights "
        "whose `k w*/n` lies beyond the last level run away for ever, at that level. For small steps a "
        "weight takes turns on the two levels beside `k w*/n`, and the error is `n` times the product of its "
        "distances from them, at most a quarter of the squared spacing and a sixth of it on the average over "
        "the cell: so each bit takes about three quarters of the gap away, on a range that holds the "
        "teacher.\n\n*Large steps.* Float weights run away for `eta n >= 2`. Quantized ones cannot: what "
        "they say is bounded, and so is the noise that they make, and the pull outside the levels does not "
        "fade. The range cuts their noise, too: to end with less error than float weights do near that "
        "step is the *implicit regularization* that a survey ascribes to the paper. The teacher's weights "
        "are quantiles of a standard normal law."
    )
    return Chapter(title, text, tuple(tables), figures)


def _against_steps(cells: Sequence[Row], seen: Sequence[Row]) -> Figure:
    lines = []
    for bits in sorted({row["bits"] for row in cells}):
        mine = [row for row in cells if row["bits"] == bits]
        lines.append(
            drawn.line([row["step_size"] for row in mine], [row["closed"] for row in mine], f"{bits} bits",
                       dashed=True, color=bits)
        )  # fmt: skip
    one = [row for row in cells if row["bits"] == cells[0]["bits"] and row["unquantized"] is not None]
    lines.append(
        drawn.line([row["step_size"] for row in one], [row["unquantized"] for row in one], "float weights",
                   dashed=True, color=0)
    )  # fmt: skip
    for name, label, color in (("seen", "simulated", seen[0]["bits"] if seen else 0),
                               ("float_seen", "simulated, float weights", 0)):  # fmt: skip
        known = [step for step in sorted({row["step_size"] for row in seen}) if name == "seen" or step < 2]
        values = [mean([row for row in seen if row["step_size"] == step], name) for step in known]
        lines += [drawn.dots(known, values, label, color=color)] if known else []
    return drawn.figure(
        "Error at the end against the step", "step eta",
        "generalization error", lines, log_y=True,
        caption=f"Range {cells[0]['reach']:g}, label noise {cells[0]['noise']:g}, float inputs.",
    )  # fmt: skip


def slopes(rows: Rows) -> Chapter:
    """A window in place of slope 1, and a leaky one."""
    title = "Other slopes: a window as wide as the range"
    found = picked(rows, "slope", "time")
    if not found:
        return Chapter(title, NOTHING)
    figures, table = {}, []
    for reach in sorted({row["reach"] for row in found}):
        lines = []
        for color, name in enumerate(dict.fromkeys(row["surrogate"] for row in found)):
            mine = picked(rows, "slope", "time", reach=reach, surrogate=name)
            runs = picked(rows, "slope", "run", reach=reach, surrogate=name)
            times = [row["time"] for row in mine]
            lines.append(
                drawn.line(times, [row["limit"] for row in mine], f"{name}: limit", dashed=True, color=color)
            )
            lines.append(drawn.dots(times, [row["error"] for row in mine], "simulated", color=color))
            table.append(
                {"slope": name, "range": reach, "runs": len(runs), "late error": mean(runs, "late"),
                 "late limit": mean(runs, "late_limit"), "doubt": max(row["doubt"] for row in mine)}
            )  # fmt: skip
        figures[f"slopes-{reach:g}".replace(".", "-")] = drawn.figure(
            f"Range {reach:g}: error over time with each slope, simulations and limits",
            "time [steps / d]", "generalization error", lines, log_y=True,
            caption=f"Means of runs at d = {found[0]['d']}; step {found[0]['step_size']:g}.",
        )  # fmt: skip
    text = (
        "A slope g(w) in place of 1 multiplies drift and noise of a weight, so the limit takes it as it is. "
        "*hardtanh* is a window: slope 1 within the range, 0 beyond. Weights that begin beyond, or that "
        "noise takes there, stay for ever: the limit has an absorbing end, which a run of d weights "
        "oversteps by about eta/sqrt(d). *leaky_hardtanh* has slope 0.1 beyond. So the range matters twice: "
        "a short one has more weights start outside. 2 bits, all teacher's weights 1, standard normal start, "
        "float inputs."
    )
    return Chapter(title, text, (TableView.of(table),), figures)


def mean(rows: Sequence[Row], key: str) -> float | None:
    """Of the numbers that are known; None of none."""
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None
