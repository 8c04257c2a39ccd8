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
    laws.HalfNormal(scale=2.0), laws.Bernoulli(p=0.3), laws.Poisson(rate=2.5), laws.Equicorrelated(rho=0.6),
    laws.Bimodal(), laws.Bimodal(shift=1.0, common=True),
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


ORACLES = [
    (laws.Gaussian(mean=1.0, scale=2.0), stats.norm(1, 2)), (laws.Uniform(low=0.0), stats.uniform(0, 1)),
    (laws.Laplace(), stats.laplace()), (laws.StudentT(df=1.5), stats.t(1.5)),
    (laws.StudentT(df=1.0), stats.cauchy()), (laws.Exponential(scale=2.0), stats.expon(scale=2)),
    (laws.LogNormal(), stats.lognorm(1)), (laws.HalfNormal(scale=0.5), stats.halfnorm(scale=0.5)),
    (laws.Equicorrelated(rho=0.5), stats.norm()), (laws.Correlated(rho=0.5), stats.norm()),
]  # fmt: skip
COUNTED = [
    (laws.Bernoulli(p=0.3), stats.bernoulli(0.3)), (laws.Poisson(rate=1.5), stats.poisson(1.5)),
    (laws.Rademacher(), stats.rv_discrete(values=([-1, 1], [0.5, 0.5]))),
]  # fmt: skip


@pytest.mark.parametrize(("law", "oracle"), ORACLES, ids=[str(law) for law, _ in ORACLES])
def test_the_distribution_is_scipys(law, oracle):
    assert stats.kstest(drawn(law)[:, 0, 1], oracle.cdf).pvalue > FALSE_ALARM
    if math.isfinite(law.variance):
        assert (law.mean, law.variance) == pytest.approx((oracle.mean(), oracle.var()))


@pytest.mark.parametrize(("law", "oracle"), COUNTED, ids=[str(law) for law, _ in COUNTED])
def test_counts_have_scipys_probabilities(law, oracle):
    z = drawn(law)
    values, counts = np.unique(z, return_counts=True)
    enough = counts > 50
    expected = oracle.pmf(values[enough]) * z.size
    found = stats.chi2.sf(((counts[enough] - expected) ** 2 / expected).sum(), enough.sum() - 1)
    assert found > FALSE_ALARM and (law.mean, law.variance) == pytest.approx((oracle.mean(), oracle.var()))


def test_signs_are_exact_and_fair():
    z = drawn(laws.Rademacher(), (1000, 3, 3))
    assert set(np.unique(z)) == {-1.0, 1.0}
    assert abs(z.mean()) < 5 / math.sqrt(z.size)


@pytest.mark.parametrize("law", laws.LAWS.values(), ids=lambda law: law.name)
def test_a_law_has_a_written_form(law):
    if law not in (laws.Standardized, laws.Normalized):
        assert read(write(law()), laws.LAWS) == law()


def test_a_law_made_of_another_has_one_too():
    for law in (laws.Standardized(laws.Exponential(scale=2.0)), laws.Normalized(laws.StudentT(), "L2")):
        assert read(write(law), laws.LAWS) == law


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
        (lambda: laws.HalfNormal(scale=-1.0), "must be positive"),
        (lambda: laws.Bernoulli(p=1.0), "between 0 and 1"),
        (lambda: laws.Poisson(rate=0.0), "must be positive"),
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
