"""What is claimed: of the grid, paired by seed, at tuned rates; and of estimators in disguise."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from coarsegrad.measure import Interval
from coarsegrad.studies.optimizers.grid import (
    UNKNOWN,
    Grid,
    Scores,
    agreement,
    at_top_rate,
    gap,
    grid,
    mean_cost,
    mean_gap,
    moved,
    of_chosen,
    over_seeds,
    spread,
    spread_of_estimators,
    spread_of_optimizers,
    tuned,
)
from coarsegrad.studies.verdict import CONFIRMED, UNRESOLVED, Claim, Rows, exactly

FEW, MANY = "w1a2", "w4a4"
JUDGED: dict[str, dict[str, Any]] = {
    "images": {"data": "fashion_mnist"},
    "text": {"data": "text", "width": 64},
}
"""The networks that claims speak of. What ``quick`` trains is smaller: it is shown, and not judged."""
CALLED = {"images": "LeNet-5, Fashion-MNIST", "text": "Transformer, text"}


def log_ratios(rows: Rows, optimizer: str, run: str) -> dict[int, float]:
    """By seed, how much farther a run is from the plain one than a rerun is, as a logarithm.

    Seeds of which one of the three broke are not among them (see `broken`), nor those of a distance of 0.
    """
    found: dict[int, dict[str, float]] = {}
    for row in rows.get("twins", ()):
        if row["optimizer"] == optimizer:
            found.setdefault(row["seed"], {})[row["run"]] = row["distance"]
    return {
        seed: math.log(by[run] / by["other order"])
        for seed, by in sorted(found.items())
        if by.get(run) and by.get("other order")
    }


def broken(rows: Rows, optimizer: str, *runs: str) -> int:
    """How many of an optimizer's runs with these names broke off."""
    return sum(
        row["broke"] for row in rows.get("twins", ()) if row["optimizer"] == optimizer and row["run"] in runs
    )


def _zero(rows: Rows, optimizer: str, *runs: str) -> bool:
    """Whether a distance is 0, which has no logarithm."""
    found = [row for row in rows.get("twins", ()) if row["optimizer"] == optimizer and row["run"] in runs]
    return any(row["distance"] == 0 for row in found)


def _multiples(optimizer: str) -> Callable[[Rows], Interval | None]:
    def estimate(rows: Rows) -> Interval | None:
        if broken(rows, optimizer, "plain", "times 8", "over 8"):
            return UNKNOWN
        found = [
            row["distance"] for row in rows.get("twins", ())
            if row["optimizer"] == optimizer and row["run"] in ("times 8", "over 8")
        ]  # fmt: skip
        return exactly(max(found)) if found else None

    return estimate


def _ratio(run: str, optimizer: str, less: str | None = None) -> Callable[[Rows], Interval | None]:
    def estimate(rows: Rows) -> Interval | None:
        for name in (optimizer, less or optimizer):
            if broken(rows, name, "plain", "other order", run) or _zero(rows, name, "other order", run):
                return UNKNOWN
        values = log_ratios(rows, optimizer, run)
        if less is None:
            return over_seeds(values.values())
        other = log_ratios(rows, less, run)
        return over_seeds(values[seed] - other[seed] for seed in values if seed in other)

    return estimate


def _of(net: str, number: Callable[[Grid, Grid], list[float]]) -> Callable[[Rows], Interval | None]:
    """A number of the grids of few and of many bits, seed by seed."""
    return lambda rows: of_chosen(number(*(grid(rows, **JUDGED[net], bits=b) for b in (FEW, MANY))))


def _few(net: str, number: Callable[[Scores], list[float]]) -> Callable[[Rows], Interval | None]:
    """A number of the tuned losses at few bits, seed by seed."""
    return _of(net, lambda few, many: number(tuned(few)))


def _order(net: str, number: Callable[[Scores], Interval | None]) -> Callable[[Rows], Interval | None]:
    """A number of the tuned losses at few bits, of all seeds together."""
    return lambda rows: number(tuned(grid(rows, **JUDGED[net], bits=FEW)))


def _minus(a: list[float], b: list[float]) -> list[float]:
    """Seed by seed; empty where one of them is."""
    return [x - y for x, y in zip(a, b, strict=True)] if a and b else []


def _too_high(few: Grid, many: Grid) -> list[float]:
    top, best = (mean_gap(score(few), "window", "identity") for score in (at_top_rate, tuned))
    return _minus(top, best)


def _fewer_bits(few: Grid, many: Grid) -> list[float]:
    return _minus(spread_of_estimators(tuned(few)), spread_of_estimators(tuned(many)))


_LOG, _BITS = "mean log ratio of distances, over seeds", "bits a decision, mean over seeds, 99 % interval"
_RUN: Mapping[str, str] = {"quick": CONFIRMED, "paper": CONFIRMED}
_OWN = "measured here"
_SCHOENBAUER = "Schoenbauer et al. 2024, arXiv:2405.05171"

_DISGUISE = (
    Claim("lion-multiples", "Lion: an estimator of weights times 8, or over 8, trains the same weights.",
          "theorem", "a sign does not change (arXiv:2302.06675, algorithm 2)",
          "largest distance to the plain run", _multiples("lion"), most=0.0),
    Claim("muon-multiples", "Muon: an estimator of hidden layers' weights times 8, or over 8, trains the "
          "same weights.", "theorem",
          "a matrix is divided by its norm first (Jordan et al. 2024)",
          "largest distance to the plain run", _multiples("muon"), most=0.0),
    Claim("adam-multiples", "Adam: times 8 it is less than half as far from the plain run as a rerun with "
          "its batches in another order.", "simulation", _SCHOENBAUER, _LOG, _ratio("times 8", "adam"),
          most=math.log(0.5), expected=_RUN),
    Claim("adamw-multiples", "AdamW: times 8 it is less than half as far as a rerun.",
          "simulation", _SCHOENBAUER, _LOG,
          _ratio("times 8", "adamw"), most=math.log(0.5), expected=_RUN),
    Claim("sgd-multiples", "SGD: times 8 it is farther than a rerun.", "simulation", _OWN, _LOG,
          _ratio("times 8", "sgd"), least=0.0, expected=_RUN),
    Claim("adam-wave", "Adam: an estimator steep at the borders (wave) is nearer to the plain one than a "
          "rerun.", "simulation", _SCHOENBAUER, _LOG, _ratio("wave", "adam"), most=0.0, expected=_RUN),
    Claim("lion-wave", "Lion: the wave is nearer than a rerun, for a positive slope keeps every sign.",
          "simulation",
          _OWN, _LOG, _ratio("wave", "lion"), most=0.0, expected=_RUN),
    Claim("muon-wave", "Muon: the wave is farther than a rerun, for the entries of a matrix are mixed.",
          "simulation", _OWN, _LOG, _ratio("wave", "muon"), least=0.0, expected=_RUN),
    Claim("sgd-wave", "SGD: the wave is farther than with Adam, each in units of its own rerun.",
          "simulation", _OWN, "difference of mean log ratios", _ratio("wave", "sgd", less="adam"), least=0.0,
          expected=_RUN),
)  # fmt: skip


def _of_net(net: str, bets: Mapping[str, str]) -> tuple[Claim, ...]:
    """The claims about one network's grid; of those not in ``bets`` we do not know, and say so."""

    def claim(name: str, says: str, number: str, estimate: Callable, **range_: float) -> Claim:
        said = f"{CALLED[net]}, {FEW}: {says}"
        expected = {"paper": bets.get(name, UNRESOLVED)}
        return Claim(f"{net}-{name}", said, "simulation", _OWN, number, estimate, expected=expected, **range_)

    return (
        claim("order", "the orders that two optimizers give the estimators agree more than chance.",
              "rank correlation of orders on different seeds, mean over pairs of optimizers",
              _order(net, lambda s: agreement(s, one=False)), least=0.0),
        claim("order-moves", "another optimizer changes the order, beyond what the seeds' noise does.",
              "root of both correlations with itself less that of the two, mean over pairs of optimizers",
              _order(net, moved), least=0.0),
        claim("winner-carries", "the estimator that wins with another optimizer costs at most 0.02 bits.",
              _BITS, _few(net, mean_cost), most=0.02),
        claim("interplay", "the identity loses more to the window with Adam than with SGD.",
              f"difference of gaps, {_BITS}",
              _few(net, lambda s: _minus(gap(s, "adam", "window", "identity"),
                                         gap(s, "sgd", "window", "identity"))), least=0.0),
        claim("lion-sensitive", "estimators lie farther apart with Lion than with Adam.",
              f"difference of spreads, each between a best and a worst of other seeds, {_BITS}",
              _few(net, lambda s: _minus(spread(s, "lion"), spread(s, "adam"))), least=0.0),
        claim("smooth-weights", "a smooth estimator of weights beats the usual, in the mean over optimizers.",
              f"gap, {_BITS}", _few(net, lambda s: mean_gap(s, "smooth weights", "window")), least=0.0),
        claim("optimizer-first", "the optimizer matters more than the estimator.",
              f"spread of optimizers less that of estimators, {_BITS}",
              _few(net, lambda s: _minus(spread_of_optimizers(s), spread_of_estimators(s))), least=0.0),
        claim("rate-too-high", "the identity loses more to the window at the highest rate than when tuned.",
              f"difference of mean gaps, {_BITS}", _of(net, _too_high), least=0.0),
        claim("fewer-bits", f"estimators lie farther apart than with {MANY}.",
              f"difference of mean spreads, {_BITS}", _of(net, _fewer_bits), least=0.0),
    )  # fmt: skip


CLAIMS = (
    *_DISGUISE,
    *_of_net("images", {"winner-carries": CONFIRMED, "fewer-bits": CONFIRMED}),
    *_of_net("text", {
        "order": CONFIRMED, "winner-carries": CONFIRMED, "interplay": CONFIRMED, "fewer-bits": CONFIRMED,
        "smooth-weights": CONFIRMED, "optimizer-first": CONFIRMED,
    }),
)  # fmt: skip
