"""What follows from a study's cells: the number of samples where half of the runs succeed, and its growth."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import stdev
from typing import Any

from coarsegrad.measure.fits import LogisticThreshold, PowerLaw, logistic_threshold, power_law
from coarsegrad.studies.verdict import Row, Rows


def fitted(rows: Iterable[Row], criterion: str) -> LogisticThreshold | None:
    """Success against log N, of one surrogate at one n; None where nothing ever, or always, succeeds."""
    rows = list(rows)
    won, tried = [row[criterion] for row in rows], [row["runs"] for row in rows]
    if len(rows) < 2 or not 0 < sum(won) < sum(tried):
        return None
    return logistic_threshold([row["samples"] for row in rows], won, tried)


def cells_of(rows: Rows, kind: str = "grid", **about: Any) -> dict[tuple, list[Row]]:
    """The rows of each cell line: (surrogate, n), ascending in n; for ``varied`` by its number."""
    found: dict[tuple, list[Row]] = {}
    for row in rows.get(kind, ()):
        if all(row[key] == value for key, value in about.items()):
            key = (row["varied"],) if kind == "varied" else (row["surrogate"], row["n"])
            found.setdefault(key, []).append(row)
    return dict(sorted(found.items(), key=lambda item: item[0][-1]))


def thresholds(
    rows: Rows, surrogate: str, criterion: str, kind: str = "grid"
) -> list[tuple[int, LogisticThreshold]]:
    """(n, fit) for every n at which there is a threshold to see."""
    found = cells_of(rows, kind, surrogate=surrogate)
    fits = [(n, fitted(mine, criterion)) for (_, n), mine in found.items()]
    return [(n, fit) for n, fit in fits if fit is not None and math.isfinite(fit.n50.estimate)]


def growth(rows: Rows, surrogate: str, criterion: str, kind: str = "grid") -> PowerLaw | None:
    """N50 as a power of n; None with fewer than three n."""
    found = thresholds(rows, surrogate, criterion, kind)
    if len(found) < 3:
        return None
    return power_law([n for n, _ in found], [fit.n50.estimate for _, fit in found])


def misfit(found: Sequence[tuple[int, LogisticThreshold]], shape: Callable[[float], float]) -> float:
    """By what factor N50 scatters around its best multiple of ``shape(n)``: exp(sd of the logarithm)."""
    return math.exp(stdev(math.log(fit.n50.estimate / shape(n)) for n, fit in found))
