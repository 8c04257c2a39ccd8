"""The laws of the inputs: what they say of themselves is what they draw."""

import math

import numpy as np
import pytest
from scipy import stats

from coarsegrad.problem import Problem, laws
from coarsegrad.spec import read, write

DRAWN = [
    laws.Gaussian(), laws.Gaussian(mean=2.0, scale=0.5), laws.Rademacher(), laws.Uniform(),
    laws.Uniform(low=0.0, high=1.0), laws.Laplace(scale=2.0), laws.StudentT(df=9.0),
    laws.Exponential(scale=3.0),
    laws.LogNormal(sigma=0.4), laws.Correlated(rho=0.8), laws.Standardized(laws.Exponential()),
]  # fmt: skip
FALSE_ALARM = 1e-5


def drawn(law, shape=(20_000, 2, 3), kind=np.float64):
    out = np.empty(shape, kind)
    law.fill(np.random.default_rng(5), out)
    return out


@pytest.mark.parametrize("law", DRAWN, ids=write)
def test_mean_and_variance_are_those_of_the_sample(law):
    z = drawn(law).reshape(50, -1)  # blocks: rows of a sample are independent, entries need not be
    square = (z - law.mean) ** 2
    for blocks, value in ((z.mean(1), law.mean), (square.mean(1), law.variance)):
        error = blocks.std(ddof=1) / math.sqrt(len(blocks))
        threshold = stats.t.isf(FALSE_ALARM / 2 / (2 * len(DRAWN)), len(blocks) - 1)
        assert abs(blocks.mean() - value) <= threshold * error + 1e-12


@pytest.mark.parametrize("law", DRAWN, ids=write)
def test_a_law_fills_either_precision_and_repeats(law):
    single = drawn(law, (3, 2, 4), np.float32)
    assert single.dtype == np.float32 and np.isfinite(single).all()
    assert np.array_equal(drawn(law, (3, 2, 4)), drawn(law, (3, 2, 4)))


def test_correlated_columns_decay_with_their_distance():
    z = drawn(laws.Correlated(rho=0.8), (40_000, 1, 4))[:, 0]
    expected = 0.8 ** abs(np.subtract.outer(np.arange(4), np.arange(4)))
    assert abs(np.corrcoef(z.T) - expected).max() < 5 / math.sqrt(len(z))


def test_signs_are_exact_and_fair():
    z = drawn(laws.Rademacher(), (1000, 3, 3))
    assert set(np.unique(z)) == {-1.0, 1.0}
    assert abs(z.mean()) < 5 / math.sqrt(z.size)


@pytest.mark.parametrize("law", laws.LAWS.values(), ids=lambda law: law.name)
def test_a_law_has_a_written_form(law):
    if law is not laws.Standardized:
        assert read(write(law()), laws.LAWS) == law()


def test_moments_that_do_not_exist_are_said():
    assert math.isinf(laws.StudentT(df=2.0).variance) and math.isnan(laws.StudentT(df=1.0).mean)


def drawn_problem(inputs):
    return Problem.drawn(m=2, n=3, seed=0, samples=4, inputs=inputs)


@pytest.mark.parametrize(
    ("call", "mend"),
    [
        (lambda: laws.Gaussian(scale=0.0), r"Gaussian\(scale=...\) must be positive"),
        (lambda: laws.Gaussian(mean=math.inf), r"Gaussian\(mean=...\) must be finite"),
        (lambda: laws.Uniform(low=1.0, high=0.0), "needs low < high"),
        (lambda: laws.Correlated(rho=1.0), "between -1 and 1"),
        (lambda: laws.StudentT(df=-1.0), "must be positive"),
        (lambda: laws.Standardized(laws.StudentT(df=1.5)), "no finite variance to divide by"),
        (lambda: laws.Standardized("gaussian"), "is no law of inputs"),
        (lambda: drawn_problem("cauchy"), "'cauchy' is no law.*Gaussian, R"),
        (lambda: drawn_problem(laws.Laplace), "give an object of problem.laws"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_mend(call, mend):
    with pytest.raises(ValueError, match=mend):
        call()
