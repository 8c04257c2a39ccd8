"""Normalizing a sample: against scikit-learn and torch, and by what must hold of the result."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from coarsegrad.problem import Problem
from coarsegrad.problem.laws import (
    Bernoulli,
    Correlated,
    Exponential,
    Gaussian,
    Poisson,
    Rademacher,
    Spread,
    Standardized,
    StudentT,
    Uniform,
)
from coarsegrad.problem.normalized import HOW, Normalized
from coarsegrad.sim.samples import samples

SHAPE = (400, 3, 5)
LAWS = [
    Gaussian(mean=2.0), Uniform(low=0.0), Exponential(), Correlated(rho=0.9), Spread(ratio=100.0), Poisson(),
    StudentT(df=1.5),
]  # fmt: skip


def drawn(law, kind=np.float64, shape=SHAPE):
    out = np.empty(shape, kind)
    law.fill(np.random.default_rng(3), out)
    return out


def oracle(how, x):
    """What another library makes of rows x."""
    if how == "layer norm":
        found = torch.nn.functional.layer_norm(torch.from_numpy(x), x.shape[-1:], eps=0.0)
        return found.nan_to_num(0.0).numpy()  # a row of equal entries
    if how == "L2":
        return normalize(x) * math.sqrt(x.shape[-1])
    if how == "whitening":  # turned back from the principal axes
        pca = PCA(whiten=True).fit(x)
        return pca.transform(x) @ pca.components_ * math.sqrt(len(x) / (len(x) - 1))
    with_mean, with_std = how in ("centring", "z-score"), how in ("scaling", "z-score")
    return StandardScaler(with_mean=with_mean, with_std=with_std).fit_transform(x)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("how", HOW)
def test_a_sample_is_what_other_libraries_make_of_it(how, law):
    found = drawn(Normalized(law, how)).reshape(-1, 5)
    raw = drawn(law).reshape(-1, 5)
    expected = raw if how == "none" else oracle(how, raw)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())
    single = drawn(Normalized(law, how), np.float32)
    assert single.dtype == np.float32 and np.isfinite(single).all()


def test_what_is_said_of_an_entry_holds_by_construction():
    for how in HOW:
        law = Normalized(Exponential(), how)
        z = drawn(law, shape=(20_000, 2, 4))
        for said, value in ((law.mean, z.mean()), (law.variance, z.var())):
            assert math.isnan(said) or value == pytest.approx(said, abs=0.03)
    assert (Normalized(Exponential(), "none").mean, Normalized(Gaussian(), "scaling").mean) == (1.0, 0.0)
    assert math.isnan(Normalized(Exponential(), "L2").mean)


def test_whitened_features_are_uncorrelated_and_stay_near_their_own():
    z = drawn(Normalized(Correlated(rho=0.9), "whitening")).reshape(-1, 5)
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(5), atol=1e-12)
    raw = drawn(Correlated(rho=0.9)).reshape(-1, 5)
    cross = raw.T @ z  # ZCA: the cross-covariance is symmetric and positive
    np.testing.assert_allclose(cross, cross.T, atol=1e-8)
    assert np.linalg.eigvalsh(cross)[0] > 0


def test_what_does_not_vary_is_left_whole():
    """One row in 2^4 of four signs is constant, and so is a feature of a rare event that never came."""
    z = drawn(Normalized(Rademacher(), "layer norm"), shape=(200, 1, 4))
    assert np.isfinite(z).all() and (z == 0).all(-1).any()
    z = drawn(Normalized(Bernoulli(p=1e-9), "z-score"))
    assert (z == 0).all()
    assert np.isfinite(drawn(Normalized(Bernoulli(p=1e-9), "L2"))).all()


def test_labels_come_from_the_normalized_inputs():
    law = Normalized(Exponential(), "z-score")
    problem = Problem.drawn(m=2, n=3, seed=0, samples=50, inputs=law)
    z, labels = samples(problem, 1, range(2))
    torch.testing.assert_close(z.mean((1, 2)), torch.zeros(2, 3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(labels, (z @ problem.w_star > 0).double() @ problem.v_star)


@pytest.mark.parametrize(
    ("call", "mend"),
    [
        (lambda: Normalized(Gaussian(), "zscore"), "known: none, centring, scaling, z-score"),
        (lambda: Normalized(Gaussian), "is no law of inputs"),
        (lambda: drawn(Normalized(Gaussian(), "whitening"), shape=(2, 2, 4)), "take more than 4 rows"),
        (lambda: drawn(Normalized(Bernoulli(p=1e-9), "whitening")), "depend on each other"),
        (lambda: Standardized(StudentT(df=1.5)), "no finite variance to divide by"),
        (lambda: Standardized(Spread()), "no finite variance to divide by"),
    ],
)
def test_bad_input_is_refused_with_the_mend(call, mend):
    with pytest.raises(ValueError, match=mend):
        call()
