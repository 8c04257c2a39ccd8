"""What is claimed, from rows: ratios of distances on a log scale, paired by seed, and final accuracies."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from coarsegrad.measure import Interval, mean_interval, power_law
from coarsegrad.studies.schoenbauer2024.runs import COVERED
from coarsegrad.studies.verdict import Claim, Row, Rows, exactly

Lockstep = dict[str, Row]
"""The rows of one lockstep by the name of the run."""
_WHAT = ("data", "of", "estimator", "optimizer", "bits", "lr", "epochs", "seed")


def locksteps(rows: Rows, **about) -> list[Lockstep]:
    """The twins whose settings are these."""
    found: dict[tuple, Lockstep] = {}
    for row in rows.get("twins", ()):
        if all(row[key] == value for key, value in about.items()):
            found.setdefault(tuple(row[key] for key in _WHAT), {})[row["run"]] = row
    return list(found.values())


def at_rate(found: Iterable[Lockstep], which: Callable[..., float]) -> list[Lockstep]:
    """Those of the smallest (``min``) or largest (``max``) learning rate."""
    found = list(found)
    end = which((one["estimator"]["lr"] for one in found), default=0.0)
    return [one for one in found if one["estimator"]["lr"] == end]


def log_ratio(one: Lockstep, run: str, to: str = "other order") -> float:
    """The logarithm of how much farther ``run`` is from the estimator's run than ``to`` is.

    ``best rate`` is the nearest of ``plain`` and the runs of another rate.
    """
    return math.log(_distance(one, run) / _distance(one, to))


def _distance(one: Lockstep, run: str) -> float:
    if run != "best rate":
        return one[run]["distance"]
    return min(row["distance"] for name, row in one.items() if name == "plain" or name.startswith("rate "))


def by_seed(found: Sequence[Lockstep], value: Callable[[Lockstep], float]) -> list[float]:
    """The mean of a value over what shares a seed; one number a seed."""
    sums: dict[int, list[float]] = {}
    for one in found:
        sums.setdefault(one["estimator"]["seed"], []).append(value(one))
    return [sum(values) / len(values) for values in sums.values()]


def _compared(
    run: str, to: str, *, steps: Callable[..., float] | None = None, **about: Any
) -> Callable[[Rows], Interval | None]:
    """Mean over seeds of the log ratio of two runs' distances, at all rates or at one end of them."""

    def estimate(rows: Rows) -> Interval | None:
        found = locksteps(rows, **about)
        found = at_rate(found, steps) if steps else found
        values = by_seed(found, lambda one: log_ratio(one, run, to))
        return mean_interval(values) if len(values) > 1 else None

    return estimate


def _decay(run: str, **about) -> Callable[[Rows], Interval | None]:
    """The exponent with which a run's distance shrinks with the learning rate, fitted seed by seed."""

    def estimate(rows: Rows) -> Interval | None:
        points: dict[tuple, list[tuple[float, float]]] = {}
        for one in locksteps(rows, **about):
            row = one[run]
            points.setdefault((row["seed"], row["estimator"]), []).append((row["lr"], row["distance"]))
        fits: dict[int, list[float]] = {}
        for (seed, _), mine in points.items():
            if len(mine) > 1:
                lr, distance = zip(*sorted(mine), strict=True)
                fits.setdefault(seed, []).append(power_law(lr, distance).exponent.estimate)
        values = [sum(found) / len(found) for found in fits.values()]
        return mean_interval(values) if len(values) > 1 else None

    return estimate


def _largest(what: str, key: str) -> Callable[[Rows], Interval | None]:
    def estimate(rows: Rows) -> Interval | None:
        found = [row[key] for row in rows.get("formulas", ()) if row["what"] == what]
        return exactly(max(found)) if found else None

    return estimate


def _step_exponent(rows: Rows) -> Interval | None:
    """The exponent of a step's error, the smallest of all estimators' and of all neighbouring sizes'."""
    off: dict[str, dict[float, float]] = {}
    for row in rows.get("formulas", ()):
        if row["what"] == "step":
            off.setdefault(row["estimator"], {})[row["size"]] = row["off"]
    found = [
        math.log(by[b] / by[a]) / math.log(b / a)
        for by in off.values() for a, b in pairwise(sorted(s for s in by if s <= 0.01))
    ]  # fmt: skip
    return exactly(min(found)) if found else None


def finals(rows: Rows, of: str, data: str = "digits") -> dict[str, dict[int, float]]:
    """Final accuracy by estimator and seed, in percent."""
    found: dict[str, dict[int, float]] = {}
    for row in rows.get("choice", ()):
        if row["of"] == of and row["data"] == data:
            found.setdefault(row["estimator"], {})[row["seed"]] = row["accuracy"]
    return found


def spread(rows: Rows, of: str, data: str = "digits") -> list[float]:
    """Per seed the largest less the smallest final accuracy among estimators, in points."""
    found = finals(rows, of, data)
    seeds = set.intersection(*(set(by) for by in found.values())) if found else set()
    sides: list[list[float]] = [[by[seed] for by in found.values()] for seed in sorted(seeds)]
    return [max(side) - min(side) for side in sides]


def _gaps(rows: Rows, of: str, names: Sequence[str]) -> list[Interval]:
    """Accuracies less the identity's on digits, paired by seed, each with an interval that holds for all."""
    found = finals(rows, of)
    gaps = []
    for name in names:
        seeds = sorted(found.get(name, {}).keys() & found.get("identity", {}).keys())
        if len(seeds) > 1:
            off = [found[name][seed] - found["identity"][seed] for seed in seeds]
            gaps.append(mean_interval(off, 1 - 0.05 / len(names)))
    return gaps


def _weights_gap(rows: Rows) -> Interval | None:
    """The gap that reaches farthest from 0."""
    gaps = _gaps(rows, "weights", COVERED)
    return max(gaps, key=lambda gap: max(-gap.low, gap.high)) if gaps else None


def _activations_gap(rows: Rows) -> Interval | None:
    gaps = _gaps(rows, "activations", ("inverse wave",))
    return gaps[0] if gaps else None


def _shorter_memory(rows: Rows) -> Interval | None:
    """The log ratio of the plain run's distances at the smallest rate, short memory over usual, by seed."""
    both = [
        by_seed(at_rate(locksteps(rows, **{**_ADAM, "optimizer": name, "estimator": "wave"}), min), _plain)
        for name in ("adam, short memory", "adam")
    ]  # fmt: skip
    values = [short - usual for short, usual in zip(*both, strict=False)]
    return mean_interval(values) if len(values) > 1 else None


def _plain(one: Lockstep) -> float:
    return math.log(one["plain"]["distance"])


_PAPER = "Schoenbauer et al. 2024"
_MEASURED: Mapping[str, str] = {"quick": "confirmed", "paper": "confirmed"}
_LOG = "mean log ratio of distances, over seeds"
_SGD = {"of": "weights", "optimizer": "sgd", "bits": 2}
_ADAM = {"of": "weights", "optimizer": "adam", "bits": 2}
_ACT = {"of": "activations", "optimizer": "sgd", "estimator": "wave"}


CLAIMS = (
    Claim("borders-stay", "The map M leaves every border where it is.", "theorem", _PAPER,
          "largest move of a border, in scales", _largest("rate", "border_off"), most=0.0, margin=1e-12),
    Claim("levels-stay", "No weight changes its level under M.", "theorem", _PAPER,
          "weights of 20,000 that do", _largest("rate", "crossed"), most=0.0),
    Claim("one-step", "One mended step differs from the estimator's by the square of the step.", "theorem",
          _PAPER, "smallest exponent between neighbouring steps of at most 0.01", _step_exponent, least=1.95),
    Claim("sgd-mended-nearer", "SGD, smallest rate: with the rate and the start mended, the plain estimator "
          "stays nearer to the custom one's run than unmended.", "simulation", _PAPER, _LOG,
          _compared("mended", "plain", steps=min, **_SGD), most=0.0, expected=_MEASURED),
    Claim("sgd-rate-alone", "It takes the start too: nearer than with the rate alone.", "simulation", _PAPER,
          _LOG, _compared("mended", "rate only", steps=min, **_SGD), most=0.0, expected=_MEASURED),
    Claim("sgd-start-alone", "And the rate: nearer than with the start alone.", "simulation", _PAPER, _LOG,
          _compared("mended", "start only", steps=min, **_SGD), most=0.0, expected=_MEASURED),
    Claim("sgd-decay", "SGD: over one stretch of the flow, the mended run's distance shrinks with the "
          "learning rate (as that of a rerun does).", "simulation", _PAPER, "exponent",
          _decay("mended", **_SGD), least=0.0, expected=_MEASURED),
    Claim("sgd-same", "SGD, smallest rate: the mended run is no farther than the same method with its "
          "batches in another order.", "simulation", "measured here", _LOG,
          _compared("mended", "other order", steps=min, **_SGD), most=0.0, margin=0.1, expected=_MEASURED),
    Claim("sgd-plain-differs", "SGD: unmended it is farther than that.", "simulation", "measured here", _LOG,
          _compared("plain", "other order", steps=min, **_SGD), least=0.0, expected=_MEASURED),
    Claim("adam-unchanged", "Adam: the plain estimator is nearer as it is than with rate and start mended.",
          "simulation", _PAPER, _LOG, _compared("plain", "mended", **_ADAM), most=0.0, expected=_MEASURED),
    Claim("adam-same", "Adam at its usual rate, 0.001: unmended it is nearer than the same method with its "
          "batches in another order.", "simulation", _PAPER, _LOG,
          _compared("plain", "other order", steps=max, **_ADAM), most=0.0, expected=_MEASURED),
    Claim("adam-memory", "Adam, over one stretch of the flow: smaller steps do not bring the runs nearer "
          "while the run is shorter than the memory of its second moment, 1000 steps.", "heuristic",
          "measured here", "exponent", _decay("plain", **_ADAM), most=0.0, expected=_MEASURED),
    Claim("adam-short-memory", "Adam at its smallest rate: with a memory of 20 steps the runs stay nearer "
          "than with one of 1000.", "heuristic", "measured here", _LOG, _shorter_memory, most=0.0,
          expected=_MEASURED),
    Claim("activations-differ", "Activations, smallest rate: an estimator that on weights would be the plain "
          "one in disguise is another training, with the best of three rates too.", "simulation",
          "measured here", _LOG, _compared("best rate", "other order", steps=min, **_ACT), least=0.0,
          expected=_MEASURED),
    Claim("activations-cost", "Activations: the wrong one of the estimators that on weights are all alike "
          "costs accuracy.", "simulation", "measured here",
          "inverse wave less identity, points, paired by seed",
          _activations_gap, most=-0.5, expected=_MEASURED),
    Claim("weights-alike", "Weights: the estimators that the theorem covers end within a point of the "
          "plain one.", "simulation", "measured here",
          "gap to identity that reaches farthest, points, paired by seed", _weights_gap,
          least=-1.0, most=1.0, expected=_MEASURED),
)  # fmt: skip
