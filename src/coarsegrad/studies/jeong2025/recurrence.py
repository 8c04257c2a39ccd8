"""Under label noise, or a teacher out of reach: how much of the time are the weights right?"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import torch

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.measure import Interval, mean_interval, proportion_interval
from coarsegrad.studies.jeong2025 import visits
from coarsegrad.studies.jeong2025.recurrence_story import runs, story
from coarsegrad.studies.study import Study, Task
from coarsegrad.studies.verdict import Claim, Row, Rows, exactly
from coarsegrad.theory.recurrence import under_noise

PAPER = "Jeong, Xin & Yin 2025, arXiv:2505.18113"
OLDER = "Long, Yin & Xin 2020, arXiv:2012.05529"
_SEED = 23
_LONG = 1_000_000
_BASE = {"m": 4, "v": "unit", "step_size": 0.05, "spread": 0.0}
_THREE = ("identity", "relu", "clipped_relu")
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "sizes": (8,), "multiples": (32,), "noises": (0.0, 0.3), "surrogates": ("relu",), "runs": 3,
        "steps": 20_000, "population": 20_000, "ternary": (0.1,), "rates": (0.3,),
    },
    "quick": {
        "sizes": (10, 20, 50), "multiples": (32, 128), "noises": (0.0, 0.1, 0.3, 1.0), "surrogates": _THREE,
        "runs": 12, "steps": _LONG, "population": _LONG, "ternary": (0.1, 0.3), "rates": (0.01, 0.3),
    },
    "paper": {
        "sizes": (10, 20, 50), "multiples": (32, 128, 512), "noises": (0.0, 0.03, 0.1, 0.3, 1.0),
        "surrogates": _THREE, "runs": 32, "steps": _LONG, "population": _LONG,
        "ternary": (0.05, 0.1, 0.2, 0.3, 0.5), "rates": (0.01, 0.1, 0.3, 1.0),
    },
}  # fmt: skip
_MOST_WRONG = {10: 3.0, 20: 3.0}
"""Cells whose expected sum of p is above this are left out, for larger n those above 0.65: there no pattern
recurs, and each step costs a gradient."""
_MOST_SAMPLES = 12_800


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """A task a cell; a cell's seed is that of its n, N and noise, the same for every surrogate and step."""
    p = _PRESETS[preset]
    about = {**_BASE, "runs": p["runs"], "steps": p["steps"]}
    found = []
    for n, multiple, noise in product(p["sizes"], p["multiples"], p["noises"]):
        cell = {**about, "n": n, "multiple": multiple, "noise": noise, "seed": _seed(1, n, multiple, noise)}
        if n * multiple > _MOST_SAMPLES:
            continue
        for name in p["surrogates"]:
            if _wrong(name, cell) <= _MOST_WRONG.get(n, 0.65):
                says = f"{name}, n = {n}, N = {multiple * n}, noise {noise:g}"
                found.append(Task("noise", visits.on_samples, {**cell, "surrogate": name}, says=says))
        if n == p["sizes"][:2][-1] and multiple == p["multiples"][:2][-1] and noise == 0.3:
            found += [
                Task("rates", visits.on_samples, {**cell, "surrogate": "relu", "step_size": rate},
                     says=f"step {rate:g}") for rate in p["rates"]
            ]  # fmt: skip
    about["noise"] = 0.0
    for n, multiple, spread in product(p["sizes"][:2], p["multiples"][1:] or p["multiples"], (0.1, 0.3)):
        seed = _seed(2, n, multiple, spread)
        cell = {**about, "n": n, "multiple": multiple, "spread": spread, "seed": seed}
        found += [
            Task("float", visits.on_samples, {**cell, "surrogate": name},
                 says=f"{name}, n = {n}, N = {multiple * n}, spread {spread:g}")
            for name in p["surrogates"][:2]
        ]  # fmt: skip
    return found + list(_population(p)) + [_trace(p, noise) for noise in (0.0, 0.3)]


def _seed(kind: int, n: int, multiple: int, level: float) -> int:
    """Of a cell, whichever others are there."""
    return (((_SEED * 10 + kind) * 1000 + n) * 10_000 + multiple) * 10_000 + round(1000 * level)


def _wrong(name: str, cell: Mapping[str, Any]) -> float:
    n, unit = cell["n"], torch.tensor([1.0], dtype=torch.float64)
    return under_noise(spec.read(name, SURROGATES), n, cell["multiple"] * n, cell["noise"], unit).wrong


def _population(p: Mapping[str, Any]) -> Iterator[Task]:
    settings = {"runs": p["runs"], "steps": p["population"], "step_size": 0.05}
    cells = [("binary", n, spread) for n in (8, 20) for spread in (None, 0.1, 0.3)]
    cells += [("ternary", n, spread) for n in (8, 20) for spread in p["ternary"]]
    for weights, n, spread in cells:
        seed = _seed(3, n, len(weights), 9.0 if spread is None else spread)
        cell = {**settings, "weights": weights, "n": n, "spread": spread, "seed": seed}
        near = "a random teacher" if spread is None else f"spread {spread:g}"
        yield Task("population", visits.in_population, cell, says=f"{weights}, n = {n}, {near}")
    yield Task("example", visits.staggered, {"steps": p["population"], "step_size": 0.05}, says="staggered")


def _trace(p: Mapping[str, Any], noise: float) -> Task:
    n = p["sizes"][:2][-1]
    settings = {**_BASE, "n": n, "multiple": 32, "noise": noise, "surrogate": "relu", "steps": 4000,
                "shown": 800, "seed": _SEED}  # fmt: skip
    return Task("trace", visits.trace, settings, says=f"n = {n}, noise {noise:g}")


# What follows from the rows.


def long_runs(rows: Rows, kind: str = "noise", **about: Any) -> list[Row]:
    """Runs of a million steps at least; of the kind ``noise`` those with noise and an expected sum p < 1."""
    found = [row for row in runs(rows, kind, **about) if row["steps"] >= _LONG]
    return [row for row in found if row["noise"] and row["averaged_wrong"] < 1] if kind == "noise" else found


def clustered(found: Iterable[Row], value: Callable[[Row], float]) -> Interval | None:
    """The mean, over independent clusters: runs of one seed and number share their data, and count once."""
    sums: dict[tuple, list[float]] = {}
    for row in found:
        sums.setdefault((row["seed"], row["run"]), []).append(value(row))
    means = [sum(values) / len(values) for values in sums.values()]
    return mean_interval(means) if len(means) > 1 else None


def _share(holds: Callable[[Row], bool]) -> Callable[[Rows], Interval | None]:
    """The share of clusters in all of whose runs it holds."""

    def estimate(rows: Rows) -> Interval | None:
        clusters: dict[tuple, bool] = {}
        for row in long_runs(rows):
            key = row["seed"], row["run"]
            clusters[key] = clusters.get(key, True) and bool(holds(row))
        return proportion_interval(sum(clusters.values()), len(clusters)) if clusters else None

    return estimate


def _cells(rows: Rows) -> list[list[Row]]:
    """The long runs with noise, cell by cell and surrogate by surrogate."""
    found: dict[tuple, list[Row]] = {}
    for row in long_runs(rows):
        found.setdefault((row["n"], row["multiple"], row["noise"], row["surrogate"]), []).append(row)
    return list(found.values())


def _coin(rows: Rows) -> Interval | None:
    """By how many standard errors the share of right last iterates is off the mean occupancy, at most."""
    off = []
    for mine in _cells(rows):
        share, chance = _mean_of(mine, "last"), _mean_of(mine, "occupancy")
        spread = math.sqrt(sum(row["occupancy"] * (1 - row["occupancy"]) for row in mine)) / len(mine)
        if spread:
            off.append(abs(share - chance) / spread)
    return exactly(max(off)) if off else None


def _off_average(rows: Rows) -> Interval | None:
    """How far a cell's mean occupancy is from the averaged prediction, the mean over cells."""
    off = [abs(_mean_of(mine, "occupancy") - mine[0]["averaged"]) for mine in _cells(rows)]
    return mean_interval(off) if len(off) > 1 else None


def _mean_of(found: list[Row], name: str) -> float:
    return sum(row[name] for row in found) / len(found)


def _mean(value: Callable[[Row], float], kind: str = "noise", **about: Any) -> Callable:
    return lambda rows: clustered(long_runs(rows, kind, **about), value)


def _off(prediction: str) -> Callable[[Row], float]:
    """How far a run's occupancy is from a prediction; 1, the most there is, where there was none."""
    return lambda row: 1.0 if row[prediction] is None else abs(row["occupancy"] - row[prediction])


def _at_multiples(prediction: str, keep: Callable[[int], bool], kind: str = "noise") -> Callable:
    def estimate(rows: Rows) -> Interval | None:
        found = [row for row in long_runs(rows, kind) if keep(row["multiple"])]
        return clustered(found, _off(prediction))

    return estimate


def _never_left(rows: Rows) -> Interval | None:
    """Noiseless runs that were at the teacher, and are not at the end, or were there twice."""
    found = [row for row in runs(rows, "noise") if not row["noise"] and row["hit"]]
    return exactly(sum(row["visits"] != 1 or not row["last"] for row in found)) if found else None


def _ratio(rows: Rows) -> Interval | None:
    """ReLU's loss of occupancy over the identity's, log over log, cell by cell."""
    means: dict[tuple, dict[str, float]] = {}
    for mine in _cells(rows):
        cell = means.setdefault(tuple(mine[0][name] for name in ("n", "multiple", "noise")), {})
        cell[mine[0]["surrogate"]] = _mean_of(mine, "occupancy")
    pairs = [(by["relu"], by["identity"]) for by in means.values() if {"relu", "identity"} <= by.keys()]
    logs = [math.log(math.log(a) / math.log(b)) for a, b in pairs if min(a, b) > 0 and max(a, b) < 1]
    if len(logs) < 2:
        return None
    found = mean_interval(logs)
    return Interval(*(math.exp(v) for v in (found.estimate, found.low, found.high)))


def _rates(rows: Rows) -> Interval | None:
    """The widest gap between two steps' occupancies of one run, its mean over runs."""
    seeds = {row["seed"] for row in rows.get("rates", ())}
    by: dict[int, list[float]] = {}
    for kind in ("noise", "rates"):
        for row in long_runs(rows, kind, surrogate="relu"):
            if row["seed"] in seeds:
                by.setdefault(row["run"], []).append(row["occupancy"])
    gaps = [max(found) - min(found) for found in by.values() if len(found) > 1]
    return mean_interval(gaps) if len(gaps) > 1 else None


def _least(value: Callable[[Row], float], kind: str, **about: Any) -> Callable:
    def estimate(rows: Rows) -> Interval | None:
        found = [row for row in runs(rows, kind, **about) if row.get("own_wrong", 0) < 1]
        return exactly(min(map(value, found))) if found else None

    return estimate


def _product(rows: Rows) -> Interval | None:
    found = [row for row in runs(rows, "population", weights="binary") if row["steps"] >= _LONG]
    return exactly(max(map(_off("own"), found))) if found else None


def _example(number: int) -> Callable[[Rows], Interval | None]:
    def estimate(rows: Rows) -> Interval | None:
        found = [row["late_visits"] for row in runs(rows, "example", run=number)]
        return exactly(found[0]) if found else None

    return estimate


def _ternary_close(rows: Rows) -> Interval | None:
    found = [
        row["late_visits"] for row in runs(rows, "population", weights="ternary") if row["spread"] <= 0.1
    ]
    return exactly(min(found)) if found else None


_MEASURED: Mapping[str, str] = {"quick": "confirmed", "paper": "confirmed"}
_BELOW = "cells whose expected sum p is below 1"
CLAIMS = (
    Claim("absorbing", "Without label noise nobody who was at the teacher leaves it.", "theorem",
          f"{PAPER}; its coarse gradient is 0", "runs that did", _never_left, most=0),
    Claim("left-and-revisited", f"With noise the teacher is left and revisited, over and over: in {_BELOW} "
          "nine runs in ten, at the least, visit it a hundred times or more in a million steps.", "theorem",
          f"{PAPER}; the numbers are ours", "share of samples on which all surrogates' runs do",
          _share(lambda row: row["visits"] >= 100), least=0.9, expected=_MEASURED),
    Claim("ergodic-stays", "The signs of the average stay right in nine runs of ten, as they do unless "
          "some p_j is above 1/2: the same cells.", "theorem", PAPER,
          "share of samples on which all surrogates' averages do", _share(lambda row: row["ergodic"]),
          least=0.9, expected=_MEASURED),
    Claim("last-is-a-coin", "The last iterate is right at the rate of the occupancy, no more: same cells.",
          "simulation", "measured here", "share of right last iterates less mean occupancy, in standard "
          "errors, of the worst cell", _coin, most=4.2, expected=_MEASURED),
    Claim("product", "A run's occupancy is prod(1 - p_j), p_j from the push of its own coarse gradient at "
          "the teacher and the population's pull: N of 128 n and more.", "heuristic",
          "first order in the noise", "mean distance", _at_multiples("own", lambda k: k >= 128),
          most=0.025, expected=_MEASURED),
    Claim("product-few-samples", "That product holds at N = 32 n as well.", "heuristic",
          "first order in the noise", "mean distance", _at_multiples("own", lambda k: k == 32), most=0.025,
          expected={"quick": "refuted", "paper": "refuted"}),
    Claim("coupled", "Where the pull is taken from the run's own samples too, and wrong coordinates push "
          "each other, the product is within 0.015 in the mean: N of 128 n and more.", "heuristic",
          "derived here", "mean distance", _at_multiples("coupled", lambda k: k >= 128), most=0.015,
          expected=_MEASURED),
    Claim("coupled-few-samples", "And the coupled one at N = 32 n.", "heuristic", "derived here",
          "mean distance", _at_multiples("coupled", lambda k: k == 32), most=0.015,
          expected={"quick": "refuted", "paper": "refuted"}),
    Claim("averaged", "A cell's mean occupancy is that of a normal push, coordinates independent: within "
          "0.05, the mean over cells whose expected sum p is below 1 (single cells lie farther off).",
          "heuristic", "derived here", "distance of measured and predicted, mean over cells", _off_average,
          most=0.05, expected=_MEASURED),
    Claim("relu-loses-more", "ReLU: the logarithm of the occupancy is sqrt(2) of the identity's, as half the "
          "pull and 1/sqrt(2) of the noise make it.", "heuristic", "first order in the noise",
          "ratio of logarithms, mean over cells", _ratio, least=1.2, most=1.65, expected=_MEASURED),
    Claim("any-step", "The step does not matter: a factor of thirty and more moves a run's occupancy by less "
          "than 0.01 in the mean (ReLU, n = 20, N = 128 n, noise 0.3).",
          "heuristic", "p_j has no step in it", "widest gap between two steps, mean over runs", _rates,
          most=0.01, expected=_MEASURED),
    Claim("bound", "Population, binary, a teacher out of reach: where sum p < 1 the optimum is kept for at "
          "least 1 - sum p of the time.", "theorem", f"{OLDER}; p_j derived here",
          "smallest excess", _least(lambda row: row["occupancy"] - 1 + row["own_wrong"], "population",
                                    weights="binary"), least=0.0, margin=2e-3),
    Claim("population-product", "And in all runs the occupancy is the product, rotations being independent.",
          "theorem", "Weyl's equidistribution", "largest distance", _product, most=0.0, margin=3e-3,
          expected=_MEASURED),
    Claim("avoided", "With sum p = 1 and rotations that are not independent the optimum can be avoided for "
          "ever.", "theorem", OLDER, "late visits, staggered start", _example(0), most=0),
    Claim("not-avoided", "The same teacher from another start is visited for ever.", "theorem", "Weyl",
          "late visits", _example(1), least=100),
    Claim("ternary-close", "Population, ternary, a teacher near a quantized direction (spread 0.1): every "
          "run visits it also in the second half of its time.", "theorem", OLDER, "fewest late visits",
          _ternary_close, least=1),
    Claim("float-on-samples", "Finite samples, a binary student of a float teacher: the coupled product, "
          "N of 128 n and more.", "heuristic", "derived here", "mean distance",
          _mean(_off("coupled"), "float"), most=0.02, expected=_MEASURED),
)  # fmt: skip


STUDY = Study(
    name="jeong2025-recurrence",
    title="Jeong et al. 2025: the optimum is left, and visited again and again",
    paper=f"{PAPER}; {OLDER}",
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "five minutes on two cores: 12 runs a cell, a million steps a run",
        "paper": "half an hour on two cores (--workers 2): 32 runs a cell, more noise levels and samples",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
)
