"""Laws made of another: its sample moved and scaled, by its own moments or by those of the sample."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from coarsegrad.problem.law import checked_law, parts


@dataclass(frozen=True)
class Standardized:
    """Another law, moved to mean 0 and variance 1 by its own moments, not by those of the sample.

    >>> from coarsegrad.problem.laws import StudentT
    >>> Standardized(StudentT(df=2))
    Traceback (most recent call last):
    ...
    ValueError: Standardized(StudentT(df=2)): it has no finite variance to divide by (known); use Normalized
    """

    law: Any
    name: ClassVar[str] = "standardized"
    mean: ClassVar[float] = 0.0
    variance: ClassVar[float] = 1.0

    def __post_init__(self):
        checked_law(self.law)
        if not (math.isfinite(self.law.mean) and math.isfinite(self.law.variance)):
            raise ValueError(
                f"Standardized({self.law}): it has no finite variance to divide by (known); use Normalized"
            )

    def fill(self, draw, out):
        """The law's own sample, then moved."""
        self.law.fill(draw, out)
        out -= self.law.mean
        out /= math.sqrt(self.law.variance)


@dataclass(frozen=True)
class Normalized:
    """Another law's sample, normalized as one does with a matrix of data.

    ``how``, one of ``HOW``: by statistics of each feature over all rows of the sample,

    - ``centring``: its mean is subtracted;
    - ``scaling``: it is divided by its standard deviation, around the mean; a constant feature is left;
    - ``z-score``: both;
    - ``whitening``: the rows, centred, times the covariance's inverse square root (ZCA);

    or row by row,

    - ``layer norm``: mean 0 and variance 1 over the row's n entries, nothing added to the variance; a row
      of equal entries becomes 0;
    - ``L2``: to length sqrt(n), so that an entry's mean square is 1.

    ``none`` leaves it. A sample has these statistics also where its law has no mean or variance; then they
    are those of its largest numbers. Where features' statistics are used, samples are no longer quite
    independent. ``mean`` and ``variance`` are those by construction, else the law's where they follow from
    it, else nan.

    Raises ``ValueError`` for an unknown ``how``, and when it is filled with too few rows to whiten.

    >>> from coarsegrad.problem.laws import Exponential
    >>> z = np.empty((500, 2, 3))
    >>> Normalized(Exponential(), how="whitening").fill(np.random.default_rng(0), z)
    >>> bool(abs(np.cov(z.reshape(-1, 3).T, bias=True) - np.eye(3)).max() < 1e-12)
    True
    """

    law: Any
    how: str = "z-score"
    name: ClassVar[str] = "normalized"

    def __post_init__(self):
        checked_law(self.law)
        if self.how not in HOW:
            raise ValueError(f"Normalized(how={self.how!r}) is unknown; known: {', '.join(HOW)}")

    @property
    def mean(self) -> float:
        """Of an entry."""
        if self.how == "scaling":
            return 0.0 if self.law.mean == 0 else math.nan
        return {"none": self.law.mean, "L2": math.nan}.get(self.how, 0.0)

    @property
    def variance(self) -> float:
        """Of an entry."""
        if self.how == "L2":
            return math.nan
        return self.law.variance if self.how in ("none", "centring") else 1.0

    def fill(self, draw, out):
        """The law's own sample, then normalized in place."""
        self.law.fill(draw, out)
        if self.how in ("layer norm", "L2"):
            for part in parts(out):
                least = 8 * np.finfo(part.dtype).eps * abs(part).max(-1, keepdims=True)  # below: rounding
                if self.how == "layer norm":
                    part -= part.mean(-1, keepdims=True)
                size = np.sqrt(np.square(part).mean(-1, keepdims=True))
                part /= np.where(size > least, size, 1)
        elif self.how != "none":
            self._features(out.reshape(-1, out.shape[-1]))

    def _features(self, rows: np.ndarray) -> None:
        """With statistics in float64, a few rows at a time."""
        mean, scale, turn = rows.mean(0, dtype=np.float64), np.ones(rows.shape[-1]), None
        if self.how == "whitening":
            turn = _inverse_root(rows, mean)
        elif self.how != "centring":
            scale = np.sqrt(sum(np.square(part - mean).sum(0) for part in parts(rows)) / len(rows))
            scale = np.where(scale > 1e-12 * abs(mean), scale, 1)
        for part in parts(rows):
            moved = part / scale if self.how == "scaling" else (part - mean) / scale
            part[...] = moved if turn is None else np.einsum("ri,ij->rj", moved, turn)


def _inverse_root(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Of the rows' covariance; symmetric."""
    count, n = rows.shape
    if count <= n:
        raise ValueError(
            f'Normalized(how="whitening") has {count} rows (samples times m) for {n} features: their '
            f"covariance has no inverse; take more than {n} rows"
        )
    pairs = (np.einsum("ri,rj->ij", part - mean, part - mean) for part in parts(rows))  # not by threads
    covariance = sum(pairs) / count
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= n * np.finfo(rows.dtype).eps * values[-1]:
        raise ValueError(
            'Normalized(how="whitening"): features of the sample depend on each other, so that their '
            'covariance has no inverse; use "z-score"'
        )
    return (vectors / np.sqrt(values)) @ vectors.T


HOW = ("none", "centring", "scaling", "z-score", "whitening", "layer norm", "L2")
