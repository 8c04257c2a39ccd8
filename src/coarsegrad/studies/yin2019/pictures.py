"""The study's figures as data: each function takes rows and returns figures by the names of their files."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coarsegrad.studies import drawn
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.studies.yin2019.fields import PAPERS
from coarsegrad.theory.critical import KINDS
from coarsegrad.view import Figure, Line, Marks, Points

COLORS: dict[str, int] = dict(zip(PAPERS, (1, 0, 2), strict=True))
_INK, _PALE = 4, 6
NAMES: dict[str, str] = {"identity": "identity", "relu": "ReLU", "clipped_relu": "clipped ReLU"}
_GAP = (math.nan, math.nan)
_LOOSE = 0.3


def fields(rows: Rows) -> dict[str, Figure]:
    """Cosine against theta, its spread by surrogate, and samples against formulas."""
    found, overall = {}, [row for row in rows["alignment"] if row["what"] == "all"]
    bins = [row for row in rows["alignment"] if row["what"] == "bin"]
    found["cosine-by-angle"] = cosines({n: [r for r in bins if r["surrogate"] == n] for n in PAPERS})
    middle = sorted(overall, key=lambda row: -row["median"])
    found["cosine-by-surrogate"] = drawn.figure(
        "Every slope of the catalogue", "", "cosine with the gradient in w",
        [drawn.bars([row["surrogate"] for row in middle], [row["median"] for row in middle],
              low=[row["low"] for row in middle], high=[row["high"] for row in middle], color=0)],
        caption="Median over random (v, w), lines from 5 % to 95 %. "
        f"{sum(row['uphill'] for row in overall)} of {sum(row['tried'] for row in overall):,} point uphill.",
    )  # fmt: skip
    coarse = [row for row in rows["agreement"] if row["what"] == "coarse" and row["size"] > 0]
    number, coarse = (
        len(coarse),
        [row for row in coarse if 2 * row["error"] < _LOOSE * math.sqrt(row["size"])],
    )
    pale = [row for row in coarse if row["surrogate"] not in PAPERS]
    items: list[Any] = [_against(pale, "the other slopes", 3)]
    items += [_against([r for r in coarse if r["surrogate"] == n], NAMES[n], COLORS[n]) for n in PAPERS]
    sizes = [math.sqrt(row["size"]) for row in coarse]
    items.append(drawn.line([min(sizes), max(sizes)], [1, 1], "prediction", dashed=True, color=_INK))
    found["formula-and-sample"] = drawn.figure(
        "Samples beside formulas: coarse gradients", "|Eg| by formula", "sampled part along it, as a factor",
        items, log_x=True,
        caption="Each point is a random problem and a surrogate; bars: two standard errors of a component. "
        f"{number - len(coarse)} of {number} points, whose error is above {_LOOSE:g}, are left out.",
    )  # fmt: skip
    push = [row for row in rows.get("critical", ()) if row["what"] == "push"]
    if push:
        scatter = [r for r in push if r["surrogate"] not in PAPERS]
        items = [_pushes(scatter, "the other slopes", 3)]
        items += [_pushes([r for r in push if r["surrogate"] == n], NAMES[n], COLORS[n]) for n in PAPERS]
        top = max(row["formula"] for row in push)
        items.append(drawn.line([0, top], [0, top], "prediction", dashed=True, color=_INK))
        found["push"] = drawn.figure(
            "At the spurious minimizer: does the coarse gradient vanish?", "|Eg| by formula", "|Eg| sampled",
            items, caption="One point per teacher and surrogate. ReLU and clipped ReLU stand at 0.",
        )  # fmt: skip
    return found


def cosines(bins: Mapping[str, Sequence[Row]]) -> Figure:
    """Cosine of coarse gradient and gradient in w against theta, of surrogates by name."""
    lines = []
    for name, mine in bins.items():
        mine = sorted(mine, key=lambda row: row["theta"])
        x, y, low, high = ([row[k] for row in mine] for k in ("theta", "median", "low", "high"))
        lines.append(drawn.line(x, y, NAMES.get(name, name), low, high, color=COLORS.get(name, 3)))
    return drawn.figure(
        "Coarse gradient and gradient: how well aligned?", "theta, angle between w and w* [radians]",
        "cosine of the two, in w", lines,
        caption="By formula, over random v, v* and |w|; median in a bin of theta, band from 5 % to 95 %.",
    )  # fmt: skip


def _against(rows: Sequence[Row], label: str, color: int) -> Points:
    factor = [row["dot"] / row["size"] for row in rows]
    error = [2 * row["error"] / math.sqrt(row["size"]) / math.sqrt(row["comparisons"]) for row in rows]
    low, high = ([f + s * e for f, e in zip(factor, error, strict=True)] for s in (-1, 1))
    return drawn.dots([math.sqrt(row["size"]) for row in rows], factor, label, low, high, color=color)


def _pushes(rows: Sequence[Row], label: str, color: int) -> Points:
    y, error = [row["sample"] for row in rows], [2 * row["error"] for row in rows]
    low, high = ([a + s * e for a, e in zip(y, error, strict=True)] for s in (-1, 1))
    return drawn.dots([row["formula"] for row in rows], y, label, low, high, color=color)


def lines(rows: Sequence[Row]) -> dict[str, Figure]:
    """The empirical loss on one line at several sample sizes, for each of the three; and roughness by N."""
    found = {}
    for name in PAPERS:
        found[f"line-{name.replace('_', '-')}"] = along(
            [row for row in rows if row["surrogate"] == name], NAMES[name]
        )
    items = []
    for name in PAPERS:
        mine = [r for r in rows if r["surrogate"] == name and r["what"] == "trial"]
        sizes = sorted({row["samples"] for row in mine})
        for key, label, dashed in (("off", "distance", False), ("roughness", "roughness", True)):
            known = [row for row in mine if row[key] is not None]
            by = [sorted(row[key] for row in known if row["samples"] == n) for n in sizes]
            y = [v[len(v) // 2] if v else math.nan for v in by]
            x = [n for n, middle in zip(sizes, y, strict=True) if middle > 0]  # the axis is logarithmic
            y = [middle for middle in y if middle > 0]
            items.append(drawn.line(x, y, f"{NAMES[name]}, {label}", dashed=dashed, color=COLORS[name]))
    found["line-roughness"] = drawn.figure(
        "Smoother with more samples", "samples N", "share of the loss at the start, or of its fall",
        items, log_x=True, log_y=True,
        caption="Medians over lines. Distance: root mean square of how far both losses drift apart. "
        "Roughness: all rises between neighbouring steps, up to the population's best, in units of its fall.",
    )  # fmt: skip
    return found


def along(rows: Sequence[Row], label: str) -> Figure:
    """The empirical loss on one line of one surrogate, at several sample sizes."""
    items: list = []
    mine = [row for row in rows if row["what"] == "curve"]
    sizes = sorted({row["samples"] for row in mine})
    for color, n in zip((1, 2, 3, 0, 5), sizes, strict=False):
        curve = [row for row in mine if row["samples"] == n]
        x, y = [r["step"] for r in curve], [r["empirical"] for r in curve]
        items.append(drawn.line(x, y, f"N = {n}", color=color))
    if sizes:
        curve = [row for row in mine if row["samples"] == sizes[-1]]
        x, y = [r["step"] for r in curve], [r["population"] for r in curve]
        items.append(drawn.line(x, y, f"population, the line of N = {sizes[-1]}", dashed=True, color=_INK))
    return drawn.figure(
        f"{label}: loss along the negative coarse gradient", "step length, |w| = 1", "loss", items,
        caption="One start; each N has its own coarse gradient, and so its own line.",
    )  # fmt: skip


def landscape(rows: Sequence[Row]) -> dict[str, Figure]:
    """Per teacher: the two vector fields, and the trajectories, over lines of equal loss."""
    found = {}
    for side in dict.fromkeys(row["side"] for row in rows):
        mine = [row for row in rows if row["side"] == side]
        where = "with a spurious minimizer" if side == "exists" else "without a spurious minimizer"
        base, points = _level_line(mine), _critical_points(mine)
        arrows = [_arrows(mine, "true", "gradient", _INK)]
        arrows += [_arrows(mine, "relu", "coarse gradient, ReLU", COLORS["identity"])]
        axes = ("theta [radians]", "kappa, position of v")
        found[f"field-{side}"] = drawn.figure(
            f"Descent directions, {where}", *axes, [base, *arrows, *points],
            caption="Directions of a step against each, at |w| = 1, all drawn with one length.",
        )  # fmt: skip
        paths = [_paths(mine, name) for name in PAPERS]
        begins = [r for r in mine if r["what"] == "path" and r["step"] == 0 and r["surrogate"] == "relu"]
        start = drawn.dots([r["theta"] for r in begins], [r["kappa"] for r in begins], "start", color=3)
        found[f"paths-{side}"] = drawn.figure(
            f"Descents of the three estimators, {where}", *axes, [base, *paths, start, *points],
            caption="From |w| = 1; v is drawn where it falls on the slice. A line ends where w passed "
            "near 0 and theta jumped.",
        )  # fmt: skip
    return found


def _level_line(rows: Sequence[Row]) -> Line:
    """All lines of equal loss in one item, gaps between."""
    places: list[tuple[float, float]] = []
    levels: dict[float, list[Row]] = {}
    for row in rows:
        if row["what"] == "level":
            levels.setdefault(row["level"], []).append(row)
    for mine in levels.values():
        for run in _runs(mine):
            there = [(r["theta"], r["low"]) for r in run]
            back = [(r["theta"], r["high"]) for r in reversed(run)]
            ring = [*there, *back, *([there[0]] if run[0]["theta"] > 0 else [])]
            places += [*_visible(ring), _GAP]
    return _stroke(places, "equal loss", _PALE)


def _visible(places: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those within the picture, gaps for the others."""
    return [(x, y) if abs(y) <= 1.75 else _GAP for x, y in places]


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Stretches of theta where the level is reached."""
    runs: list[list[Row]] = [[]]
    for row in rows:
        if row["low"] is None:
            runs.append([])
        else:
            runs[-1].append(row)
    return [run for run in runs if len(run) > 1]


def _arrows(rows: Sequence[Row], name: str, label: str, color: int) -> Line:
    places: list[tuple[float, float]] = []
    for row in rows:
        if row["what"] == "arrow" and row["field"] == name:
            length = math.hypot(row["d_theta"] / math.pi, row["d_kappa"] / 3)
            if length > 1e-9:
                x, y = row["theta"], row["kappa"]
                dx, dy = 0.06 * row["d_theta"] / length / math.pi, 0.06 * row["d_kappa"] / length / 3
                end = x + math.pi * dx, y + 3 * dy
                places += [(x, y), end, *_head((x, y), (dx, dy)), _GAP]
    return _stroke(places, label, color)


def _head(tail: tuple[float, float], d: tuple[float, float]) -> list[tuple[float, float]]:
    """The rest of an arrow's stroke, from its tip: one barb, back to the tip, the other."""
    ends = []
    for turn in (0.45, -0.45):
        bx = -0.3 * (d[0] * math.cos(turn) - d[1] * math.sin(turn))
        by = -0.3 * (d[0] * math.sin(turn) + d[1] * math.cos(turn))
        ends.append((tail[0] + math.pi * (d[0] + bx), tail[1] + 3 * (d[1] + by)))
    tip = tail[0] + math.pi * d[0], tail[1] + 3 * d[1]
    return [ends[0], tip, ends[1]]


def _paths(rows: Sequence[Row], name: str) -> Line:
    places: list[tuple[float, float]] = []
    for start in sorted({row["start"] for row in rows if row["what"] == "path"}):
        mine = [r for r in rows if r["what"] == "path" and r["surrogate"] == name and r["start"] == start]
        for before, here in zip([None, *mine], mine, strict=False):
            jump = before is not None and abs(here["theta"] - before["theta"]) > 1
            places += [_GAP] if jump else []
            places += _visible([(here["theta"], here["kappa"])])
        places.append(_GAP)
    return _stroke(places, NAMES[name], COLORS[name])


def _critical_points(rows: Sequence[Row]) -> list[Points]:
    colors = {"global minimizer": 0, "spurious minimizer": 1, "saddle": 4}
    return [
        drawn.dots([row["theta"]], [row["kappa"]], row["is"], color=colors[row["is"]])
        for row in rows if row["what"] == "critical"
    ]  # fmt: skip


def _stroke(places: Sequence[tuple[float, float]], label: str, color: int) -> Line:
    return drawn.line([x for x, _ in places], [y for _, y in places], label, color=color)


def ends(rows: Sequence[Row]) -> dict[str, Figure]:
    """Where the runs ended, on each side of the condition, and how often the loss rose."""
    found = {}
    names = list(dict.fromkeys(row["surrogate"] for row in rows))
    for exists, where in ((True, "where spurious minimizers exist"), (False, "where they do not")):
        mine = [row for row in rows if row["exists"] is exists]
        starts = {name: sum(r["starts"] for r in mine if r["surrogate"] == name) for name in names}
        items = [
            drawn.bars([NAMES.get(n, n) for n in names],
                 [sum(r[kind] for r in mine if r["surrogate"] == n) / max(starts[n], 1) for n in names], kind)
            for kind in KINDS if kind != "undefined" or any(r[kind] for r in mine)
        ]  # fmt: skip
        found[f"ends-{'exist' if exists else 'fail'}"] = drawn.figure(
            f"Where Algorithm 1 ends, {where}", "", "share of random starts", items,
            caption=f"Each start has its own teacher. {drawn.reach(max(min(starts.values()), 1))}",
        )  # fmt: skip
    return found


def near(rows: Sequence[Row]) -> dict[str, Figure]:
    """Loss and |w| of one start beside the spurious minimizer, for the first teachers."""
    found = {}
    for teacher in sorted({row["teacher"] for row in rows})[:2]:
        mine = [row for row in rows if row["teacher"] == teacher and row["what"] == "path"]
        for key, label in (("loss", "loss"), ("norm", "|w|")):
            items: list = []
            for name in ("identity", "clipped_relu", "relu"):
                path = [row for row in mine if row["surrogate"] == name]
                x, y = [row["step"] for row in path], [row[key] for row in path]
                items.append(drawn.line(x, y, NAMES[name], color=COLORS[name]))
            if key == "loss":
                items.append(Marks((mine[0]["bottom"],), "the spurious minimizer's loss", axis="y"))
            found[f"near-{teacher + 1}-{key}"] = drawn.figure(
                f"From beside the spurious minimizer, teacher {teacher + 1}", "step", label, items,
                caption="Largest loss in each stretch of steps; ReLU and clipped ReLU lie upon each other."
                if key == "loss" else "Smallest |w| in each stretch of steps.",
            )  # fmt: skip
    return found


def instability(rows: Rows) -> dict[str, Figure]:
    """Training loss by epoch after the change to the identity at a tiny learning rate."""
    found = {}
    for network in ("lenet5", "resnet20"):
        mine = [row for row in rows.get(network, ()) if row["what"] == "instability"]
        items = []
        for name in ("relu", "clipped_relu"):
            by: dict[int, list[float]] = {}
            for row in mine:
                if row["surrogate"] == name:
                    by.setdefault(row["epoch"], []).append(row["train_loss"])
            mean = [sum(v) / len(v) for v in by.values()]
            low, high = ([f(v) for v in by.values()] for f in (min, max))
            label = f"from the {NAMES[name]} solution"
            items.append(drawn.line(list(by), mean, label, low, high, color=COLORS[name]))
        if mine:
            found[f"instability-{network}"] = drawn.figure(
                f"{network}, 4 bits: the identity takes over", "epoch at the tiny rate",
                "training loss [nats]", items,
                caption="Mean over seeds; band: lowest to highest. Epoch 0: before.",
            )  # fmt: skip
    return found
