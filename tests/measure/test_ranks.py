"""Rank correlations, known and SciPy's."""

import pytest

from coarsegrad.measure import rank_correlation


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [([1, 2, 3], [4, 5, 6], 1), ([1, 2, 3], [6, 5, 4], -1), ([1, 1, 1], [1, 2, 3], 0),
     ([1, 2, 2, 3], [1, 2, 2, 3], 1)],
    ids=["same", "turned", "flat", "ties"],
)  # fmt: skip
def test_the_rank_correlation_is_spearmans(a, b, value):
    assert rank_correlation(a, b) == pytest.approx(value)


def test_it_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="needs scipy: pip install scipy")
    a, b = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0], [2.0, 7.0, 1.0, 8.0, 2.0, 8.0]
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_lists_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="one b for each a, got 2 and 3"):
        rank_correlation([1, 2], [1, 2, 3])
