"""Laws whose features are not independent, or not alike."""

import math

import numpy as np
import pytest

from coarsegrad.problem.features import Bimodal, Correlated, Equicorrelated, Spread

MANY = 40_000


def rows(law, n=4):
    out = np.empty((MANY, 1, n))
    law.fill(np.random.default_rng(5), out)
    return out[:, 0]


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (Correlated(rho=0.8), 0.8 ** abs(np.subtract.outer(np.arange(4), np.arange(4)))),
        (Equicorrelated(rho=0.3), 0.3 + 0.7 * np.eye(4)),
        (Equicorrelated(rho=0.0), np.eye(4)),
        (Bimodal(shift=2.0), np.eye(4)),
        (Bimodal(shift=2.0, common=True), (4 + np.eye(4)) / 5),
        (Spread(ratio=100.0), np.eye(4)),
    ],
    ids=str,
)
def test_correlations_are_those_said(law, expected):
    assert abs(np.corrcoef(rows(law).T) - expected).max() < 5 / math.sqrt(MANY)


def test_two_modes_stand_apart_and_only_a_common_one_is_a_rows():
    for common in (False, True):
        z = rows(Bimodal(shift=8.0, common=common))
        assert abs(z).min() > 2 and abs((z > 0).mean() - 0.5) < 0.02
        assert bool((abs((z > 0).mean(1) - 0.5) == 0.5).all()) == common


def test_rows_of_a_sample_do_not_share_their_part():
    z = np.empty((MANY, 2, 3))
    Equicorrelated(rho=0.9).fill(np.random.default_rng(1), z)
    assert abs(np.corrcoef(z[:, 0, 0], z[:, 1, 0])[0, 1]) < 5 / math.sqrt(MANY)


def test_scales_grow_geometrically_around_one():
    scale = rows(Spread(ratio=100.0), n=5).std(0)
    assert scale == pytest.approx([0.1, 10**-0.5, 1, 10**0.5, 10], rel=0.03)
    assert math.isnan(Spread().variance)


@pytest.mark.parametrize(
    ("call", "mend"),
    [
        (lambda: Correlated(rho=1.0), "between -1 and 1"),
        (lambda: Equicorrelated(rho=-0.1), "at least 0 and below 1"),
        (lambda: Equicorrelated(rho=1.0), "at least 0 and below 1"),
        (lambda: Bimodal(shift=math.inf), "must be finite"),
        (lambda: Spread(ratio=0.5), "at least 1 and finite"),
    ],
)
def test_bad_input_is_refused_with_the_mend(call, mend):
    with pytest.raises(ValueError, match=mend):
        call()
