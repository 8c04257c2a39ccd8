"""Long, Yin & Xin 2020, arXiv:2012.05529, on the population: what the study of recurrence leaves open.

Binary directions span a cube, and how often each of its corners is visited is open: there a closeness
condition comes in. Ternary ones leave nothing open. Formulas are those of ``theory.closeness``.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coarsegrad.measure import proportion_interval
from coarsegrad.problem import stream
from coarsegrad.studies import drawn
from coarsegrad.studies.study import Chapter, Study, Task
from coarsegrad.studies.verdict import Claim, Row, Rows, extreme
from coarsegrad.theory import closeness, recurrence
from coarsegrad.view import TableView

PAPER = "Long, Yin & Xin 2020, arXiv:2012.05529"
HERE = "derived here"
Settings = Mapping[str, Any]
_NOTHING = "Nothing was measured yet."
# Explored before: seeds 0 and 1; smoke has a seed of its own, 7.
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"sizes": (3, 8), "steps": 4_000, "runs": 8, "teachers": 200, "seed": 7},
    "quick": {"sizes": (3, 5, 8, 20), "steps": 40_000, "runs": 32, "teachers": 1_000, "seed": 2012},
    "paper": {"sizes": (3, 5, 8, 20, 50), "steps": 200_000, "runs": 64, "teachers": 5_000, "seed": 2012},
}
_CLOSE = (4, 5, 8, 20, 50, 100)
_MOST_BINARY = 8
"""Beyond, random binary teachers are so far that their optimum is hardly ever met."""


def walks(settings: Settings, place: Path) -> Iterator[Row]:
    """Random teachers and starts, a row each: the second half of a run, beside what is foretold."""
    n, runs, steps, weights = (settings[name] for name in ("n", "runs", "steps", "weights"))
    draw = stream(settings["seed"], "teacher", n)
    teachers = draw.standard_normal((runs, n))
    teachers /= np.linalg.norm(teachers, axis=1, keepdims=True)
    w_star, start = torch.from_numpy(teachers), torch.from_numpy(draw.standard_normal((runs, n)) / n**0.5)
    best = recurrence.optimum(w_star, weights)
    hits, changes, before = np.zeros(runs), np.zeros(runs, np.int64), None
    for step, signs in enumerate(recurrence.patterns(w_star, start, steps, 0.05, weights)):
        if step < steps // 2:
            continue
        hits += (signs == best.numpy()).all(1)
        changes += 0 if before is None else (signs != before).any(1)
        before = signs
    for k in range(runs):
        row: Row = {"run": k, "occupancy": float(hits[k]) / (steps - steps // 2), "changes": int(changes[k])}
        if weights == "ternary":
            row["foretold"] = float(closeness.shares(teachers[k])[int(best[k].abs().sum()) - 1])
        yield row


def scan(settings: Settings, place: Path) -> Iterator[Row]:
    """Many teachers of n weights, by formula: the least share at a ternary optimum, and the binary condition.

    Their weights are normal numbers, times uniform ones to a power from 0 to 5, so that many are small.
    ``nearest`` is the smallest angle, in degrees, of a binary one with sum p of 1 or more.
    """
    n, draw = settings["n"], stream(settings["seed"], "teacher", settings["n"])
    least, sure, nearest = 1.0, 0, math.inf
    for number in range(settings["teachers"]):
        teacher = draw.standard_normal(n) * draw.random(n) ** (number % 6)
        teacher /= np.linalg.norm(teacher)
        best = int(recurrence.optimum(torch.from_numpy(teacher), "ternary").abs().sum())
        least = min(least, closeness.shares(teacher)[best - 1])
        about_signs = 1 + (number % 20) / 10 * draw.standard_normal(n)
        for weights in (draw.standard_normal(n), about_signs):
            w_star = torch.from_numpy(weights / np.linalg.norm(weights))
            found = bool(recurrence.occupancy(recurrence.unquantized(w_star)).sure)
            sure += found and weights is not about_signs
            if not found:
                nearest = min(nearest, math.degrees(math.acos(w_star.abs().sum() / math.sqrt(n))))
    angle = math.degrees(closeness.close(n).angle) if n > 3 else None
    yield {
        "least": float(least), "sure": sure, "nearest": nearest if nearest < math.inf else None,
        "angle": angle, "inside": int(nearest < (angle or 90.0)),
    }  # fmt: skip


def orbits(settings: Settings, place: Path) -> Iterator[Row]:
    """The nearest binary teacher with sum p = 1, and such with fewer weights that oscillate; a row a start.

    Its k oscillating latents are whole numbers in units of step size c/(k sqrt n), and move by -2, or by
    2(k - 1) where wrong: they come back after k steps, exactly. ``staggered``: each is wrong in its own step;
    ``together``: all in the same. ``oscillating`` of them move, so sum p is that over k. ``met``: how many of
    ``steps`` of the method itself, from there, are at the optimum; where all k move.
    """
    near, size = closeness.close(settings["n"]), 0.05
    k = near.oscillating
    for moving in range(1, k + 1):
        for start in ("staggered", "together"):
            latents = np.array([2 * (j if start == "staggered" else 0) - 1 for j in range(moving)])
            first, right = latents.copy(), 0
            for _ in range(k):
                right += bool((latents > 0).all())
                latents = np.where(latents > 0, latents - 2, latents + 2 * (k - 1))
            row: Row = {"start": start, "oscillating": moving, "period": k, "right": right}
            row["returns"] = int((latents == first).all())
            if moving == k:
                begin = np.append(size * first / (k * settings["n"] ** 0.5), np.ones(settings["n"] - k))
                hits = recurrence.at_optimum(
                    torch.from_numpy(near.teacher), torch.from_numpy(begin)[None],
                    steps=settings["steps"], step_size=size,
                )  # fmt: skip
                row["met"] = int(hits.sum())
            yield row


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """What a preset measures."""
    p = _PRESETS[preset]
    found = [
        Task("walks", walks, {"weights": weights, "n": n, **{k: p[k] for k in ("runs", "steps", "seed")}},
             version=2, says=f"{weights}, n = {n}")
        for weights in recurrence.WEIGHTS for n in p["sizes"] if weights == "ternary" or n <= _MOST_BINARY
    ]  # fmt: skip
    found += [
        Task("scan", scan, {"n": n, "teachers": p["teachers"], "seed": p["seed"]}, says=f"n = {n}")
        for n in sorted({*p["sizes"], 4})
    ]  # fmt: skip
    return found + [Task("orbits", orbits, {"n": n, "steps": 10_000}, says=f"n = {n}") for n in _CLOSE]


# What follows from the rows.


def each(
    value: Callable[[Row], float | None], kind: str, **about: Any
) -> Callable[[Rows], Iterable[float | None]]:
    """A number of each row of a kind."""
    return lambda rows: [value(row) for row in rows.get(kind, ()) if about.items() <= row.items()]


def _off(row: Row) -> float:
    return abs(row["occupancy"] - row["foretold"])


def _off_bound(row: Row) -> float | None:
    """Occupancy of a staggered orbit less 1 - sum p, in steps of a period."""
    return row["right"] - (row["period"] - row["oscillating"]) if row["start"] == "staggered" else None


def _whole(row: Row) -> bool:
    return row["oscillating"] == row["period"]


CLAIMS = (
    Claim("never-settles", "Binary and ternary, a teacher that is not quantized: the weights never settle, "
          "in any run.", "theorem", PAPER, "fewest changes of signs in a second half",
          extreme(min, each(lambda row: row["changes"], "walks")), least=1),
    Claim("ternary-share", "Ternary: the share of time at the optimum is its weight in the projection of the "
          "teacher on the hull of quantized directions, from any start.", "theorem", HERE,
          "largest distance, second half", extreme(max, each(_off, "walks", weights="ternary")), most=0,
          margin=5e-3),
    Claim("ternary-always", "Ternary: so no closeness is needed. Every run is at the optimum again and "
          "again, however far its teacher.", "theorem", f"{HERE}; {PAPER} asks for closeness",
          "smallest share of a second half",
          extreme(min, each(lambda row: row["occupancy"], "walks", weights="ternary")), least=1e-3),
    Claim("ternary-every-teacher", "Nor is there a ternary teacher whose foretold share is 0, among many of "
          "all kinds.", "theorem", HERE, "smallest foretold share",
          extreme(min, each(lambda row: row["least"], "scan")), least=1e-3),
    Claim("binary-close", "Binary: below the angle of `close` the sum of p is below 1, so the optimum is "
          "visited for ever.", "theorem", f"{PAPER}; the angle derived here",
          "sizes n at which a teacher inside has a sum of 1 or more",
          extreme(max, each(lambda row: row["inside"] if row["angle"] else None, "scan")), most=0),
    Claim("binary-sharp", "And at that angle there is a teacher, and a start, from which the optimum is "
          "avoided for ever: a periodic orbit, in whole numbers, which the method follows.", "theorem",
          f"{PAPER}; the teacher derived here", "most visits, in a period or by the method",
          extreme(max, each(lambda row: row["right"] + row["met"] if _whole(row) else None, "orbits",
                  start="staggered")), most=0),
    Claim("binary-start", "From another start the same teachers' optima are visited in every period.",
          "theorem", HERE, "fewest visits in a period",
          extreme(min, each(lambda row: row["right"] if _whole(row) else None, "orbits", start="together")),
          least=1),
    Claim("binary-bound", "Of such a teacher with fewer weights that oscillate the staggered start stays for "
          "exactly 1 - sum p of the time: that bound cannot be better.", "theorem", HERE,
          "largest distance, steps of a period", extreme(max, each(_off_bound, "orbits")), most=0),
    Claim("orbits-return", "All these orbits are back where they began after a period.", "theorem", HERE,
          "fewest that are", extreme(min, each(lambda row: row["returns"], "orbits")), least=1),
    Claim("binary-three", "Binary, three weights: no teacher has a sum of 1 or more.", "theorem", HERE,
          "whether one was met, random or near signs: 0 or 1",
          extreme(max, each(lambda row: row["nearest"] is not None, "scan", n=3)), most=0),
)  # fmt: skip


def story(rows: Rows) -> list[Chapter]:
    """The chapters; those of which nothing was measured say so."""
    return [_about(rows), _ternary(rows), _binary(rows)]


def _about(rows: Rows) -> Chapter:
    return Chapter(
        "What is studied",
        "Quantized weights learn a teacher that no quantized weights reach. The paper (its abstract and a "
        "reader's note on it were at hand here, not its text) says that they do not converge then, that "
        "periodic orbits may avoid the best quantized weights, the optimum, and that a teacher close "
        "enough to its optimum makes them visit it for ever; for binary and for ternary weights. The study "
        "[of finite samples](jeong2025-recurrence.md) already measures, for binary weights, how much of "
        "the time they are at the optimum, that it is at least 1 - sum p, and an orbit that avoids it; for "
        "ternary ones that they visit it where the teacher is near. What was open is asked here: how much "
        "of the time *ternary* weights are there, and how near is near.\n\n" + _found(rows),
    )


def _found(rows: Rows) -> str:
    walked = [row for row in rows.get("walks", ()) if row["weights"] == "ternary"]
    scanned = [row for row in rows.get("scan", ()) if row["angle"]]
    if not walked or not scanned:
        return _NOTHING
    angles = ", ".join(f"{row['angle']:.1f} degrees at n = {row['n']}" for row in scanned)
    return (
        f"Found: ternary weights need no closeness. How much of the time they are at each direction follows "
        f"from the teacher alone, within {max(map(_off, walked)):.1g} in {len(walked)} runs, and the optimum "
        f"always has a share, {min(row['occupancy'] for row in walked):.3f} at the least. For binary weights "
        f"the closeness condition is an angle, and sharp: {angles}."
    )


def _ternary(rows: Rows) -> Chapter:
    title = "Ternary weights: always back"
    found = [row for row in rows.get("walks", ()) if row["weights"] == "ternary"]
    if not found:
        return Chapter(title, _NOTHING)
    table: list[Row] = []
    items: list[Any] = [drawn.line([0, 1], [0, 1], "equal", dashed=True, color=3)]
    for color, n in enumerate(sorted({row["n"] for row in found})):
        mine = [row for row in found if row["n"] == n]
        occupied = [row["occupancy"] for row in mine]
        items.append(drawn.dots([row["foretold"] for row in mine], occupied, f"n = {n}", color=color))
        scanned = [row for row in rows.get("scan", ()) if row["n"] == n]
        table.append({
            "n": n, "runs": len(mine), "share at the optimum, mean": sum(occupied) / len(mine),
            "least": min(occupied), "largest distance from foretold": max(map(_off, mine)),
            "teachers scanned": scanned[0]["teachers"] if scanned else None,
            "least foretold among them": scanned[0]["least"] if scanned else None,
        })  # fmt: skip
    figure = drawn.figure(
        "Ternary: each run's time at the optimum is the share that its teacher foretells",
        "foretold share", "share of the second half", items,
    )  # fmt: skip
    text = (
        f"Random directions as teachers, {found[0]['steps']:,} steps, of which the second half is looked "
        "at. Latents y move by step size × c (w* - u), u the quantized direction with the largest inner "
        "product with y. If u stayed, y would go along w* - u, whose inner product with u is negative: so "
        "it never stays. Over time y/t tends to d = w* - mean of u, and only directions that are best for "
        "d are visited: so the mean is the projection of w* on the convex hull of all directions. Ternary "
        "directions that are equally good for one d are nested, the k largest weights for several k: they "
        "are linearly independent, so their shares are unique. And the optimum is among them: the inner "
        "product of the mean with the direction of k is convex in log k between two that are visited, so "
        "no k between or beyond them is better for w*."
    )
    return Chapter(title, text, (TableView.of(table),), {"ternary-share": figure}, columns=1)


def _binary(rows: Rows) -> Chapter:
    title = "Binary weights: how near is near"
    found = sorted((row for row in rows.get("scan", ())), key=lambda row: row["n"])
    if not found:
        return Chapter(title, _NOTHING)
    table = []
    for row in found:
        sure = proportion_interval(row["sure"], row["teachers"])
        table.append({
            "n": row["n"], "random teachers with sum p < 1": f"{sure.estimate:.3f}",
            "95 %": f"{sure.low:.3f} to {sure.high:.3f}", "closeness angle [degrees]": row["angle"],
            "nearest with sum p ≥ 1 met [degrees]": row["nearest"],
        })  # fmt: skip
    sizes = sorted({*_CLOSE, *(row["n"] for row in found if row["n"] > 3)})
    met = [row for row in found if row["nearest"] is not None]
    figure = drawn.figure(
        "Binary: the more weights, the nearer must a teacher be for its optimum to recur",
        "weights n", "angle between teacher and optimum [degrees]",
        [drawn.line(sizes, [math.degrees(closeness.close(n).angle) for n in sizes], "closeness angle",
                    dashed=True),
         drawn.dots([r["n"] for r in met], [r["nearest"] for r in met], "nearest met with sum p ≥ 1")],
        log_x=True, log_y=True,
    )  # fmt: skip
    return Chapter(
        title, _binary_text(rows.get("orbits", ())), (TableView.of(table),), {"close": figure}, columns=1
    )


def _binary_text(orbits: Sequence[Row]) -> str:
    text = (
        "A weight of a binary student is wrong for a share `p = (1 - sqrt(n)|w*_j|)/2` of the time, or 0, "
        "and the optimum is kept for at least 1 - sum p. Below the closeness angle that is positive for "
        "every teacher. Teachers are random directions, and signs with normal numbers added, the more the "
        "farther."
    )
    whole = [row for row in orbits if _whole(row)]
    if not whole:
        return text
    said = ", ".join(f"{row['period']} (n = {row['n']})" for row in whole if row["start"] == "staggered")
    return (
        f"{text}\n\nAt the angle stands a teacher with k oscillating weights, each wrong every k-th step. "
        f"Started one step after the other, one of them is always wrong: an orbit with period k = {said} "
        "that never meets the optimum. Started together, they are all right in k - 1 of k steps."
    )


STUDY = Study(
    name="long2020-recurrence",
    title="Long et al. 2020: when must the optimum recur?",
    paper=PAPER,
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "a minute on two cores: sizes up to 20",
        "paper": "minutes on two cores: more runs, longer, sizes up to 50",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
)
