"""Orders: how far two lists of numbers put the same things in the same order."""

from collections.abc import Sequence


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, in [-1, 1], of ``a[i]`` with ``b[i]``; 0 where all values of one are equal.

    Equal values share the mean of their ranks. Raises ``ValueError`` for lists of different lengths.

    >>> rank_correlation([1, 2, 3], [10, 30, 20])
    0.5
    """
    if len(a) != len(b):
        raise ValueError(f"rank_correlation needs one b for each a, got {len(a)} and {len(b)}")
    x, y = _ranks(a), _ranks(b)
    mean = (len(x) - 1) / 2
    cross = sum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    size = sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y)
    return cross / size**0.5 if size else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0; equal values share the mean of their ranks."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]
