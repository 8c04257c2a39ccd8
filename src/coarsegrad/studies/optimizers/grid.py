"""The grid as numbers: its runs, the rate of every cell, and what follows seed by seed."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, combinations_with_replacement, permutations
from typing import Any

from coarsegrad.measure import Interval, mean_interval, rank_correlation
from coarsegrad.studies.verdict import Row, Rows

Cell = dict[float, dict[int, Row]]
"""The runs of one optimizer and estimator, by learning rate and seed."""
Grid = dict[str, dict[str, Cell]]
"""By optimizer and estimator."""
Scores = dict[str, dict[str, dict[int, float]]]
"""A loss by optimizer, estimator and seed."""
CHOSEN = 0.99
"""The confidence of `of_chosen`."""
UNKNOWN = Interval(math.nan, math.nan, math.nan)
"""Measured, and no number: a claim about it stays unresolved."""


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
    """The loss of the worst estimator less that of the best, seed by seed, both chosen on the *other* seeds.

    So where there is no effect its mean is 0, whatever the number of estimators and the noise; where chance
    hides which they are it is too small. Empty for fewer than two seeds.
    """
    return _spread(scores.get(optimizer, {}), seeds_of(scores))


def spread_of_estimators(scores: Scores) -> list[float]:
    """The mean of these spreads over optimizers."""
    return _means([spread(scores, optimizer) for optimizer in scores])


def spread_of_optimizers(scores: Scores) -> list[float]:
    """The same spread among optimizers, in the mean over estimators, seed by seed."""
    seeds = seeds_of(scores)
    return _means([_spread({o: by[name] for o, by in scores.items()}, seeds) for name in shared(scores)])


def agreement(scores: Scores, *, one: bool) -> Interval | None:
    """The rank correlation of two optimizers' orders of the estimators, mean over pairs of optimizers.

    The two orders are always of different seeds, so that chance is not shared. ``one``: of an optimizer with
    itself, which is how far its order depends on the seed alone. None for fewer than three seeds.
    """

    def number(seeds: Sequence[int]) -> float:
        found = [r for (a, b), r in correlations(scores, seeds).items() if (a == b) == one]
        return sum(found) / len(found)

    return _jackknife(scores, number) if one or len(scores) > 1 else None


def moved(scores: Scores) -> Interval | None:
    """How far two optimizers' orders are apart beyond chance, mean over pairs; 0 where one order holds.

    The correlation of two noisy orders is that of the true ones times the root of both reliabilities, which
    are the correlations r_aa and r_bb of an order with itself on another seed (Spearman 1904). So this is
    sqrt(r_aa r_bb) - r_ab; no number (NaN) where an r_aa is not positive. None for fewer than three seeds.
    """

    def number(seeds: Sequence[int]) -> float:
        r = correlations(scores, seeds)
        if any(r[a, a] <= 0 for a in scores):
            return math.nan
        apart = [math.sqrt(r[a, a] * r[b, b]) - r[a, b] for a, b in combinations(scores, 2)]
        return sum(apart) / len(apart)

    return _jackknife(scores, number) if len(scores) > 1 else None


def correlations(scores: Scores, seeds: Sequence[int]) -> dict[tuple[str, str], float]:
    """Of every two optimizers, and of each with itself: the mean over ordered pairs of different seeds."""
    names, pairs = shared(scores), list(permutations(seeds, 2))

    def correlation(a: str, b: str) -> float:
        lists = [([scores[a][n][s] for n in names], [scores[b][n][t] for n in names]) for s, t in pairs]
        return sum(rank_correlation(x, y) for x, y in lists) / len(lists)

    return {(a, b): correlation(a, b) for a, b in combinations_with_replacement(scores, 2)}


def _jackknife(scores: Scores, number: Callable[[Sequence[int]], float]) -> Interval | None:
    """Of a number of seeds: the mean of Tukey's pseudo-values, one a seed, with Student's interval."""
    seeds = seeds_of(scores)
    n = len(seeds)
    if n < 3 or len(shared(scores)) < 2:
        return None
    whole = number(seeds)
    values = [n * whole - (n - 1) * number([s for s in seeds if s != seed]) for seed in seeds]
    return UNKNOWN if any(map(math.isnan, values)) else mean_interval(values)


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


def over_seeds(values: Iterable[float], confidence: float = 0.95) -> Interval | None:
    """Their mean with its interval, Student's; None for fewer than two seeds."""
    values = list(values)
    return mean_interval(values, confidence) if len(values) > 1 else None


def of_chosen(values: Iterable[float]) -> Interval | None:
    """The same for numbers whose rates, winners, best or worst were chosen on one another's seeds.

    They are not independent, and a 95 % interval would leave out 0 in 12 to 16 of 100 draws of pure noise
    (spreads and costs of 5 optimizers, 4 estimators, 3 or 4 seeds; 1500 draws). Student's of 99 % leaves it
    out in 2 to 4.
    """
    return over_seeds(values, CHOSEN)


def told_apart(rows: Rows, *keys: str) -> list[Mapping[str, Any]]:
    """The different settings among the grid's runs, each a mapping of these keys, in the order met."""
    found = {tuple(row.get(key) for key in keys): None for row in rows.get("train", ())}
    return [dict(zip(keys, values, strict=True)) for values in found]


def _spread(by: Mapping[str, Mapping[int, float]], seeds: Sequence[int]) -> list[float]:
    if len(seeds) < 2:
        return []
    told = []
    for seed in seeds:
        ranked = sorted(by, key=lambda name, left=seed: (sum(by[name][s] for s in seeds if s != left), name))
        told += [by[ranked[-1]][seed] - by[ranked[0]][seed]] if ranked else []
    return told


def _means(lists: Sequence[Sequence[float]]) -> list[float]:
    """Position by position over the lists that are not empty."""
    kept = [values for values in lists if values]
    return [sum(values) / len(values) for values in zip(*kept, strict=True)]
