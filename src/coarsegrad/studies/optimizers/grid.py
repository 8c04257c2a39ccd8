"""The grid as numbers: its runs, the rate of every cell, and what follows seed by seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

from coarsegrad.measure import Interval, mean_interval
from coarsegrad.studies.verdict import Row, Rows

Cell = dict[float, dict[int, Row]]
"""The runs of one optimizer and estimator, by learning rate and seed."""
Grid = dict[str, dict[str, Cell]]
"""By optimizer and estimator."""
Scores = dict[str, dict[str, dict[int, float]]]
"""A loss by optimizer, estimator and seed."""


def grid(rows: Rows, **about: Any) -> Grid:
    """The runs with these settings."""
    found: Grid = {}
    for row in rows.get("train", ()):
        if all(row.get(key) == value for key, value in about.items()):
            cell = found.setdefault(row["optimizer"], {}).setdefault(row["estimator"], {})
            cell.setdefault(row["lr"], {})[row["seed"]] = row
    return found


def tuned_rate(cell: Cell, seed: int) -> float:
    """The rate whose loss on what is held out is lowest in the mean over the *other* seeds.

    Only where there is no other seed, over this one. Of equal rates the smallest.
    """
    told: dict[float, float] = {}
    for lr, runs in cell.items():
        others = [row["held_out"] for other, row in runs.items() if other != seed]
        others = others or [row["held_out"] for row in runs.values()]
        told[lr] = sum(others) / len(others)
    return min(told, key=lambda lr: (told[lr], lr))


def tuned(found: Grid, key: str = "loss") -> Scores:
    """Every cell's test loss at its tuned rate, or another column."""
    return _scores(found, lambda cell, seed: cell[tuned_rate(cell, seed)][seed][key])


def at_top_rate(found: Grid) -> Scores:
    """Every cell's test loss at the largest rate that was tried."""
    return _scores(found, lambda cell, seed: cell[max(cell)][seed]["loss"])


def _scores(found: Grid, score: Callable[[Cell, int], float]) -> Scores:
    """For the seeds that every run of the grid has."""
    kept = [set(runs) for by in found.values() for cell in by.values() for runs in cell.values()]
    seeds = sorted(set.intersection(*kept)) if kept else []
    return {
        optimizer: {name: {seed: score(cell, seed) for seed in seeds} for name, cell in by.items()}
        for optimizer, by in found.items()
    }


def seeds_of(scores: Scores) -> list[int]:
    """The seeds, in order."""
    return sorted({seed for by in scores.values() for runs in by.values() for seed in runs})


def gap(scores: Scores, optimizer: str, better: str, worse: str) -> list[float]:
    """The loss of ``worse`` less that of ``better``, seed by seed; empty where one is not there."""
    by = scores.get(optimizer, {})
    if not {better, worse} <= by.keys():
        return []
    return [by[worse][seed] - by[better][seed] for seed in seeds_of(scores)]


def mean_gap(scores: Scores, better: str, worse: str) -> list[float]:
    """The mean of these gaps over optimizers, seed by seed."""
    return _means([gap(scores, optimizer, better, worse) for optimizer in scores])


def spread(scores: Scores, optimizer: str) -> list[float]:
    """The largest less the smallest loss among estimators, seed by seed."""
    by = scores.get(optimizer, {}).values()
    return [_range([runs[seed] for runs in by]) for seed in seeds_of(scores)] if by else []


def spread_of_estimators(scores: Scores) -> list[float]:
    """The mean of these spreads over optimizers."""
    return _means([spread(scores, optimizer) for optimizer in scores])


def spread_of_optimizers(scores: Scores) -> list[float]:
    """The largest less the smallest loss among optimizers, in the mean over estimators, seed by seed."""
    names = shared(scores)
    return [
        sum(_range([by[name][seed] for by in scores.values()]) for name in names) / len(names)
        for seed in (seeds_of(scores) if names else ())
    ]


def agreement(scores: Scores, *, one: bool) -> list[float]:
    """The rank correlation of two optimizers' orders of the estimators, mean over pairs; one number a seed.

    The second order is always that of the next seed, so that chance is not shared. ``one``: of an optimizer
    with itself, which is how far the order depends on the seed alone.
    """
    seeds, names = seeds_of(scores), shared(scores)
    if len(seeds) < 2 or len(names) < 2:
        return []
    pairs = [(a, a) for a in scores] if one else list(permutations(scores, 2))
    told = []
    for seed, next_seed in zip(seeds, seeds[1:] + seeds[:1], strict=True):
        orders = [
            rank_correlation([scores[a][n][seed] for n in names], [scores[b][n][next_seed] for n in names])
            for a, b in pairs
        ]
        told.append(sum(orders) / len(orders))
    return told


def winner(scores: Scores, optimizer: str, but: int | None = None) -> str:
    """The estimator of lowest mean loss over the seeds, one of them left out."""
    by = scores[optimizer]
    kept = [seed for seed in seeds_of(scores) if seed != but] or seeds_of(scores)
    return min(by, key=lambda name: (sum(by[name][seed] for seed in kept), name))


def cost_of_winner(scores: Scores, chosen_with: str, used_with: str) -> list[float]:
    """What it costs to take the estimator that wins with another optimizer, instead of one's own winner.

    Both winners are those of the other seeds, so that the number is no flattery: it may be negative.
    """
    by = scores[used_with]
    return [
        by[winner(scores, chosen_with, but=seed)][seed] - by[winner(scores, used_with, but=seed)][seed]
        for seed in seeds_of(scores)
    ]


def mean_cost(scores: Scores) -> list[float]:
    """The mean of these costs over ordered pairs of optimizers, seed by seed."""
    return _means([cost_of_winner(scores, a, b) for a, b in permutations(scores, 2)])


def shared(scores: Scores) -> list[str]:
    """The estimators that every optimizer has, in order."""
    first, *rest = scores.values() or [{}]
    return [name for name in first if all(name in by for by in rest)]


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, in [-1, 1]; 0 where all values of one are equal.

    >>> rank_correlation([1, 2, 3], [10, 30, 20])
    0.5
    """
    x, y = _ranks(a), _ranks(b)
    mean = (len(x) - 1) / 2
    cross = sum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    size = sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y)
    return cross / size**0.5 if size else 0.0


def over_seeds(values: Iterable[float]) -> Interval | None:
    """Their mean with its 95 % interval; None for fewer than two seeds."""
    values = list(values)
    return mean_interval(values) if len(values) > 1 else None


def told_apart(rows: Rows, *keys: str) -> list[Mapping[str, Any]]:
    """The different settings among the grid's runs, each a mapping of these keys, in the order met."""
    found = {tuple(row.get(key) for key in keys): None for row in rows.get("train", ())}
    return [dict(zip(keys, values, strict=True)) for values in found]


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0; equal values share the mean of their ranks."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]


def _range(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _means(lists: Sequence[Sequence[float]]) -> list[float]:
    """Position by position over the lists that are not empty."""
    kept = [values for values in lists if values]
    return [sum(values) / len(values) for values in zip(*kept, strict=True)]
