"""The page: the limit beside simulations, the law of the weights, plateaus, fixed points, other slopes."""

import math

from coarsegrad.measure import mean_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.ichikawa2025.claims import (
    INDEPENDENT,
    NARROW,
    by_run,
    narrow,
    picked,
    rate,
)
from coarsegrad.studies.ichikawa2025.ends import NOTHING, ends, mean, slopes
from coarsegrad.studies.ichikawa2025.plateau import BAND, FALL
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, Histogram, TableView

_SHOWN = 120.0


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    return [_about(), _sizes(rows), _law(rows), _plateaus(rows), _starts(rows), ends(rows), slopes(rows)]


def _about() -> Chapter:
    return Chapter(
        "What is studied",
        "The paper's abstract says: in the limit of many weights, training with the straight-through "
        "estimator follows a deterministic ordinary differential equation; its error has a plateau and then "
        "a sharp drop, the plateau's length depending on the quantization range; and a fixed point tells how "
        "far it ends from an unquantized model. Here that limit is written down for a linear student of a "
        "linear teacher, solved without sampling, and held against simulations.\n\n*The reading that is "
        "tested.* The paper's body was not at hand, only its abstract, one caption and notes about it. "
        "So the equations, the quantizer's levels and the step sizes are ours. A sample is x, d standard "
        "normal numbers, with the label `x.w*/sqrt(d)`, plus noise where said. The student says "
        "`f(x).Q(w)/sqrt(d)`. Q has 2^b levels evenly from -range to range, each number going to the "
        "nearest; in a second reading one fewer, so that 0 is a level. With quantized inputs f is the same "
        "quantizer, else it changes nothing; the teacher always sees x itself. A step moves the latent "
        "weights by `-eta/sqrt(d) f(x) r`, r what is said less the label, on a fresh sample each time. Time "
        "is steps / d. The error is the mean of r², label noise left out.\n\n*The limit.* With "
        "`k = E x f(x)` and `n = E f(x)²` (closed forms; both 1 for float inputs) the error is `e = n<Q²> - "
        "2k<Q w*> + <w*²>`, and a weight whose teacher is w* moves as `dw = -eta (n Q(w) - k w*) dt + eta "
        "sqrt(n (e + s²)) dB`, s the label noise: one diffusion for every value of w*, joined by e. Its "
        "Kolmogorov equation is solved on a grid, and again on a coarser one; *doubt* is the largest change "
        "of the error between the two. Since Q jumps, <Q²> and <Q w*> have no closed equation of their own: "
        "the law of the weights has to be carried along.",
    )


def _sizes(rows: Rows) -> Chapter:
    title = "The limit, and simulations at growing d"
    found = picked(rows, "size", "time")
    if not found:
        return Chapter(title, NOTHING)
    figures, table, lines = {}, [], []
    for color, inputs in enumerate((False, True)):
        name = "quantized" if inputs else "float"
        mine = picked(rows, "size", "time", inputs=inputs)
        sizes = sorted({row["d"] for row in mine})
        if not sizes:
            continue
        figures[f"limit-{name}"] = _curves(
            f"Error over time, {name} inputs: simulations and the limit",
            {f"d = {d}": [row for row in mine if row["d"] == d] for d in sizes},
        )
        off = []
        for d in sizes:
            runs = picked(rows, "size", "run", inputs=inputs, d=d)
            off.append(mean_interval([row["off"] for row in runs]))
            table.append(
                {"inputs": name, "d": d, "runs": len(runs), "root mean square off": off[-1].estimate,
                 "times sqrt(d)": off[-1].estimate * math.sqrt(d), "mean off": mean(runs, "signed"),
                 "late error": mean(runs, "late"), "late squared residual": mean(runs, "late_residual"),
                 "late limit": mean(runs, "late_limit"),
                 "doubt": max(row["doubt"] for row in mine if row["d"] == d)}
            )  # fmt: skip
        ends_of = [[end if math.isfinite(end) else math.nan for end in (v.low, v.high)] for v in off]
        low, high = zip(*ends_of, strict=True)
        lines.append(drawn.line(sizes, [v.estimate for v in off], f"{name} inputs", low, high, color=color))
        if not inputs:
            guide = [off[0].estimate * math.sqrt(sizes[0] / d) for d in sizes]
            lines.append(drawn.line(sizes, guide, "as 1/sqrt(d)", color=4, dashed=True))
    figures["distance"] = drawn.figure(
        "How far a run is off the limit, against d", "d",
        "root mean square over times", lines, log_x=True, log_y=True,
        caption="Means over runs with 95 % intervals.",
    )  # fmt: skip
    one = found[0]
    rates = [
        f"{name} inputs {value}"
        for name, inputs in (("float", False), ("quantized", True))
        if (value := rate(rows, inputs))
    ]
    text = (
        f"{one['bits']} bits, range {one['reach']:g}, all teacher's weights 1, step {one['step_size']:g}, "
        f"start normal with standard deviation {one['start']:g}, no label noise. A run is off by its own "
        "chance, start included, which shrinks with d."
        + (f" Fitted exponents of d: {'; '.join(rates)}." if rates else "")
        + " *Late* is the second half of the time; the squared residual is what the runs themselves met on "
        "fresh samples, an average over steps rather than over the times."
    )
    return Chapter(title, text, (TableView.of(table),), figures)


def _curves(title: str, groups: dict[str, list[Row]]) -> Figure:
    lines = []
    for color, (label, mine) in enumerate(groups.items(), start=1):
        mine = sorted(mine, key=lambda row: row["time"])
        half = [2 * (row["deviation"] or 0.0) for row in mine]
        lines.append(
            drawn.line(
                [row["time"] for row in mine], [row["error"] for row in mine], label,
                [max(row["error"] - h, 1e-9) for row, h in zip(mine, half, strict=True)],
                [row["error"] + h for row, h in zip(mine, half, strict=True)], color=color,
            )
        )  # fmt: skip
    last = sorted([*groups.values()][-1], key=lambda row: row["time"])
    times = [row["time"] for row in last]
    lines.append(drawn.line(times, [row["limit"] for row in last], "limit", color=0, dashed=True))
    return drawn.figure(
        title, "time [steps / d]", "generalization error", lines,
        caption="Means over runs; bands: two standard deviations of single runs.",
    )  # fmt: skip


def _law(rows: Rows) -> Chapter:
    title = "The law of the weights"
    found = picked(rows, "law", "bin")
    if not found:
        return Chapter(title, NOTHING)
    figures, table = {}, []
    for zero in sorted({row["zero"] for row in found}):
        for time in sorted({row["time"] for row in found}):
            mine = [row for row in found if row["zero"] == zero and row["time"] == time]
            runs = picked(rows, "law", "run", zero=zero, time=time)
            apart = [math.sqrt(row["d"]) * row["distance"] for row in runs]
            table.append(
                {
                    "levels": "with 0" if zero else "without 0", "time": time, "runs": len(runs),
                    "sqrt(d) times distance, mean": sum(apart) / len(apart), "largest": max(apart),
                    "error, simulated": mean(runs, "error"), "error, limit": runs[0]["limit"],
                }
            )  # fmt: skip
            if not zero:
                figures[f"law-{time:g}"] = drawn.figure(
                    f"The weights at time {time:g}: histogram of the runs, and the limit's density",
                    "latent weight", "density",
                    [Histogram(
                        tuple(row["seen"] for row in mine),
                        (*(row["left"] for row in mine), mine[-1]["right"]), "simulated", color=1),
                     drawn.line([(row["left"] + row["right"]) / 2 for row in mine],
                                [row["foretold"] for row in mine], "limit", color=0, dashed=True)],
                )  # fmt: skip
    one = found[0]
    dips = [run for run in by_run(picked(rows, "law", "run", zero=False)) if len(run) > 1]
    text = (
        f"The setting of the paper's caption as far as it goes: d = {one['d']}, all teacher's weights 1, a "
        f"standard normal start, weights and inputs of {one['bits']} bits on a range of {one['reach']:g}; "
        f"the step, {one['step_size']:g}, is ours. The histograms are of all runs, the curve has no fitted "
        "number. *Distance* is Kolmogorov's, between a run's weights and their law: independent draws have "
        f"{INDEPENDENT:.2f} in the mean, and exceed 1.36 in one of 20 cases. Weights gather at the break "
        "where the pull changes its sign, and take turns on its two levels."
    )
    if dips:
        ratio = [run[-1]["error"] / min(row["error"] for row in run) for run in dips]
        text += (
            f" Without a level at 0 the error at the last of these times is {sum(ratio) / len(ratio):.2f} "
            "times the least of them, the mean over runs: it would be 1 if the error only fell."
        )
    return Chapter(title, text, (TableView.of(table),), figures)


def _plateaus(rows: Rows) -> Chapter:
    title = "Plateau, drop, and the range"
    found = picked(rows, "curve", "limit")
    if not found:
        return Chapter(title, NOTHING)
    figures = {}
    for zero in (False, True):
        lines = []
        for color, row in enumerate(narrow(rows, 0.0, 9.0, zero=zero, inputs=False)):
            curve = [
                r for r in picked(rows, "curve", "time", start=NARROW, zero=zero, inputs=False, bits=2)
                if r["reach"] == row["reach"] and r["time"] <= _SHOWN
            ]  # fmt: skip
            lines.append(
                drawn.line([r["time"] for r in curve], [r["limit"] for r in curve], f"range {row['reach']:g}",
                           dashed=True, color=color)
            )  # fmt: skip
            lines += [
                drawn.dots([r["time"] for r in seen[::4]], [r["error"] for r in seen[::4]],
                           f"simulated, d = {seen[0]['d']}", color=color)
                for seen in [picked(rows, "simulated", "time", zero=zero, reach=row["reach"])] if seen
            ]  # fmt: skip
        if lines:
            which = "0 is a level" if zero else "no level at 0"
            figures["plateau-zero" if zero else "plateau"] = drawn.figure(
                f"Weights that start together ({which}), by range", "time [steps / d]",
                "generalization error", lines, caption="2 bits, float inputs.",
            )  # fmt: skip
    rising = narrow(rows, 1.7, 9.0, zero=False, inputs=False)
    if rising:
        figures["rise"] = drawn.figure(
            "Longer ranges (no level at 0), the same narrow start", "time [steps / d]",
            "generalization error",
            [drawn.line([r["time"] for r in curve], [r["limit"] for r in curve], f"range {row['reach']:g}",
                        dashed=True, color=color)
             for color, row in enumerate(rising)
             for curve in [picked(rows, "curve", "time", start=NARROW, zero=False, inputs=False,
                                  reach=row["reach"], bits=2)]],
            caption="2 bits, float inputs; after a short fall of the error from its start.",
        )  # fmt: skip
    one = found[0]
    table = [
        {
            "levels": "with 0" if row["zero"] else "without 0",
            "inputs": "quantized" if row["inputs"] else "float", "bits": row["bits"], "range": row["reach"],
            "crossing time": row["wait"], "plateau": row["fall_length"] or None,
            "its error": row["fall_level"] or None, "half of the drop": row["fall_middle"],
            "sharpness": row["fall_sharpness"] or None, "plateau before a rise": row["rise_length"] or None,
            "least error": row["least"], "last": row["last"], "doubt": row["doubt"],
        }
        for row in found
    ]  # fmt: skip
    text = (
        f"*Plateau*, by formula: the longest stretch over which the largest error is at most {BAND:g} times "
        f"the least, and after which the error falls to 1/{FALL:g} of that or lower. *Sharpness*: its length "
        "over the time from its end until half of the fall is done; an exponential decay, as of float "
        f"weights, has {math.log(BAND) / math.log(FALL):.2f}. A plateau before a rise is one of 1/error.\n\n"
        "*Where it comes from.* While all weights are in one cell, Q does not change, and so neither does "
        "the error: that is the plateau. It ends when they reach the cell's break. Without noise that takes "
        "`spacing / (eta (k w* - n l))` from 0, l the level of the first cell, or half a spacing where 0 is "
        "the level: the *crossing time*, longer for a longer range, and without end where `n l = k w*`. "
        "Behind the break the weights settle on it and take turns on its two levels, at distances p and q "
        "from `k w*/n`, with an error of `n p q` in place of `n p²` (and what quantized inputs cost): a drop "
        "if the upper level is the nearer one, a rise if not. With 2 bits and no level 0 that "
        "changes at a range of 1.5. If the last level is below `k w*/n`, weights behind the break never turn "
        "back, and the error ends at `n` times the squared distance.\n\nAll teacher's weights are 1, so that "
        f"the range is in units of them; start {one['start']:g}, step {one['step_size']:g}."
    )
    return Chapter(title, text, (TableView.of(table),), figures)


def _starts(rows: Rows) -> Chapter:
    title = "Plateaus need weights that go together"
    wide = [row for row in picked(rows, "wide", "limit") if not row["inputs"]]
    if not wide:
        return Chapter(title, NOTHING)
    shown = [*picked(rows, "curve", "limit", reach=1.0, zero=False, inputs=False, bits=2), *wide]
    lines = []
    for color, row in enumerate(shown):
        kind = "wide" if row in wide else "curve"
        about = {key: row[key] for key in ("reach", "zero", "inputs", "bits", "start")}
        curve = picked(rows, kind, "time", **about)
        lines.append(
            drawn.line([r["time"] for r in curve], [r["limit"] for r in curve], f"start {row['start']:g}",
                       dashed=True, color=color)
        )  # fmt: skip
    figure = drawn.figure(
        "Range 1, starts of several widths", "time [steps / d]", "generalization error",
        lines, caption="The limit; 2 bits, float inputs, no level at 0.",
    )  # fmt: skip
    all_wide = picked(rows, "wide", "limit")
    table = [
        {"range": row["reach"], "inputs": "quantized" if row["inputs"] else "float", "start": row["start"],
         "step": row["step_size"], "sharpness": row["fall_sharpness"], "least error": row["least"],
         "last": row["last"]}
        for row in [*shown, *(row for row in all_wide if row["inputs"])]
    ]  # fmt: skip
    text = (
        "A plateau is seen if the weights cross within a time that is short beside the crossing itself: "
        "start and noise must be small beside the spacing. From a standard normal start, as in the caption, "
        "weights are spread over several cells and cross one after the other. Only the ratios of range, "
        "start and teacher count, so a start of standard deviation 1 has the plateaus of the last chapter if "
        "the teacher's weights and the range are 20 times as large. Under which of these conditions the "
        "paper's plateau was seen is not known here."
    )
    return Chapter(title, text, (TableView.of(table),), {"starts": figure}, columns=1)
