"""Other laws than the standard normal: against closed forms, enumeration, exact values and samples."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from coarsegrad.core.surrogates import ClippedReLU, HardTanh, Identity, ReLU
from coarsegrad.problem import Problem
from coarsegrad.problem.laws import (
    Exponential,
    Gaussian,
    Laplace,
    LogNormal,
    Rademacher,
    Standardized,
    StudentT,
    Uniform,
)
from coarsegrad.theory import descend, general, hidden
from coarsegrad.theory.entries import Density, entry
from coarsegrad.theory.general import coarse_gradient, field, moments
from theory.laws import BERNOULLI, DENSITIES, MASSES, POISSON, Own
from theory.problems import normal

D = torch.double
FALSE_ALARM = 1e-5
BOTH = (Identity(), ReLU())
surrogates = pytest.mark.parametrize("surrogate", BOTH, ids=lambda s: s.name)


def filters(number, n, seed):
    """Pairs of binary filters, ``[number, n]`` each; the first are equal, the second opposite."""
    w, w_star = torch.where(normal(2, number, n, seed=seed) < 0, -1.0, 1.0).to(D) / math.sqrt(n)
    w[0], w[1] = w_star[0], -w_star[1]
    return w, w_star


def seen(z, w, w_star):
    """What ``moments`` expects, for rows z ``[N, n]``: six tensors ``[N, ...]``."""
    f, f_star = ((z @ t.sign() > 0).to(D).unsqueeze(-1) for t in (w, w_star))
    both = f * f_star
    return *(t.squeeze(-1) for t in (f, f_star, both)), z * f, z * f_star, z * both


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_under_the_standard_normal_law_they_are_the_closed_forms(n):
    w, w_star = filters(8, n, seed=n)
    v, v_star = normal(2, 8, 3, seed=n + 1)
    for surrogate in BOTH:
        loss, dv, g = field(v, w, v_star, w_star, surrogate, Gaussian())
        torch.testing.assert_close(loss, hidden.loss(v, w, v_star, w_star), rtol=0, atol=1e-9)
        torch.testing.assert_close(dv, hidden.gradient(v, w, v_star, w_star)[0], rtol=0, atol=1e-9)
        expected = hidden.coarse_gradient(v, w, v_star, w_star, surrogate)
        torch.testing.assert_close(g, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("law", [law for law in MASSES if law != POISSON], ids=str)
@pytest.mark.parametrize("n", [2, 5, 6])
def test_masses_are_those_of_all_cases_and_a_tie_does_not_fire(law, n):
    one = entry(law)
    k = torch.tensor(list(itertools.product(range(len(one.masses)), repeat=n)))
    mass = torch.tensor(one.masses, dtype=D)[k].prod(-1)
    z = one.shift + one.scale * k.to(D)
    z = torch.where(z.abs() < 1e-12, 0.0, z)
    for w, w_star in zip(*filters(10, n, seed=n), strict=True):
        found = moments(w, w_star, law)
        f, f_star = ((z @ t.sign() > 1e-12).to(D) for t in (w, w_star))
        for value, fires in ((found.fired, f), (found.fired_star, f_star), (found.both, f * f_star)):
            torch.testing.assert_close(value, (mass * fires).sum(), rtol=0, atol=1e-14)
        means = (found.mean_fired, f), (found.mean_fired_star, f_star), (found.mean_both, f * f_star)
        for value, fires in means:
            torch.testing.assert_close(value, (mass * fires) @ z, rtol=0, atol=1e-14)


def test_sums_of_exponentials_have_the_beta_laws_values():
    """A of four, B of two, each positive: P(A > B) is a beta law's, and an entry's mean adds one entry."""
    w_star = torch.ones(6, dtype=D)
    w = torch.cat([w_star[:4], -w_star[4:]])
    found = moments(w, w_star, Exponential())
    beta = stats.beta.cdf(0.5, (2, 2, 3), (4, 5, 4))
    assert (found.fired - beta[0]).abs() <= found.error < 1e-9
    assert (found.mean_fired[:4] - beta[1]).abs().max() <= found.error
    assert (found.mean_fired[4:] - beta[2]).abs().max() <= found.error
    assert (found.fired_star - 1).abs() <= found.error and (found.both - beta[0]).abs() <= found.error
    assert (found.mean_fired_star - 1).abs().max() <= found.error


@pytest.mark.parametrize(
    ("law", "largest"),
    [(Exponential(), 1.5), (Uniform(0, 1), 2 / 3), (Uniform(-1, 1), 1 / 3), (Gaussian(), math.pi**-0.5),
     (Laplace(), 0.75), (LogNormal(0.5), math.exp(0.125) * 2 * stats.norm.cdf(0.5 / math.sqrt(2)))],
    ids=str,
)  # fmt: skip
def test_of_two_entries_the_larger_has_its_known_mean(law, largest):
    w = torch.tensor([1.0, -1.0], dtype=D)
    found = moments(w, -w, law)
    assert (found.mean_fired[0] - largest / 2).abs() < 1e-9
    assert (found.fired - 0.5).abs() < 1e-9 and (found.both).abs() < 1e-9


@pytest.mark.parametrize("n", [3, 12])
def test_samples_agree(n):
    """All laws with a fourth moment, or nearly; all comparisons together raise a false alarm below 1e-5."""
    scores = []
    for seed, law in enumerate(DENSITIES + MASSES):
        z = np.empty((60_000, 1, n))
        law.fill(np.random.default_rng(seed), z)
        z = torch.from_numpy(z[:, 0])
        for w, w_star in zip(*filters(4, n, seed=seed), strict=True):
            if isinstance(entry(law), Density):
                exact = z
            else:  # sums of rounded numbers miss ties
                exact = torch.where(z.abs() < 1e-9, 0.0, z)
                exact = exact[((exact @ w.sign()).abs() > 1e-9) | ((exact @ w.sign()) == 0)]
                if len(exact) < len(z):
                    continue
            found = moments(w, w_star, law)
            for value, sample in zip(found, seen(exact, w, w_star), strict=False):
                off = (sample.mean(0) - value).abs()
                scores.append(torch.where(off < 1e-8, 0.0, off / sample.std(0) * len(z) ** 0.5).flatten())
    scores = torch.cat(scores)
    threshold = stats.norm.isf(FALSE_ALARM / 2 / len(scores))
    print(f"{len(scores)} comparisons, largest {scores.max():.2f}, allowed {threshold:.2f}")
    assert len(scores) > 900 and scores.max() < threshold


@pytest.mark.parametrize("law", [*DENSITIES, *MASSES], ids=str)
def test_the_reported_error_is_small_and_the_teacher_has_no_gradient(law):
    w, w_star = filters(4, 12, seed=0)
    v = normal(4, 3, seed=1)
    assert moments(w, w_star, law).error.max() < 1e-9 * (1 + math.sqrt(law.variance))
    for surrogate in BOTH:
        loss, dv, g = field(v, w, v, w_star, surrogate, law)
        assert loss[0].abs() < 1e-12 and dv[0].abs().max() < 1e-12 and g[0].abs().max() < 1e-12
        assert (loss >= -1e-12).all()


@surrogates
def test_entries_may_change_places_and_both_signs_of_a_symmetric_law(surrogate):
    (w, w_star), v, turn = filters(6, 9, seed=0), normal(3, seed=1), torch.randperm(9)
    for law in (Exponential(), Laplace(), Rademacher()):
        g = coarse_gradient(v, w, v, w_star, surrogate, law)
        torch.testing.assert_close(
            coarse_gradient(v, w[:, turn], v, w_star[:, turn], surrogate, law), g[:, turn], rtol=0, atol=1e-14
        )
    torch.testing.assert_close(coarse_gradient(v, -w, v, -w_star, surrogate, Laplace()), -coarse_gradient(
        v, w, v, w_star, surrogate, Laplace()), rtol=0, atol=1e-9)  # fmt: skip


@pytest.mark.parametrize("law", [Exponential(), BERNOULLI, Uniform(-1, 0.3)], ids=str)
def test_dv_is_the_slope_of_the_loss(law):
    (w, w_star), v, v_star = filters(5, 7, seed=0), normal(3, seed=1), normal(3, seed=2)
    _, dv, _ = field(v, w, v_star, w_star, ReLU(), law)
    for i, step in enumerate(0.5 * torch.eye(3, dtype=D)):  # quadratic in v: the difference is exact
        up, down = (field(v + s, w, v_star, w_star, ReLU(), law)[0] for s in (step, -step))
        torch.testing.assert_close(up - down, dv[:, i], rtol=0, atol=1e-12)


@surrogates
def test_it_is_the_formula_at_the_teachers_v(surrogate):
    (w, w_star), v, law = filters(6, 10, seed=3), normal(4, seed=1), Gaussian(0.5)
    of, length = moments(w, w_star, law), v.square().sum()
    k = v.sum().square() - length
    gap = (of.fired - of.fired_star).unsqueeze(-1)
    if surrogate == ReLU():
        expected = length * (of.mean_fired - of.mean_both) + k * gap * of.mean_fired
    else:
        expected = length * (of.mean_fired - of.mean_fired_star) + k * gap * law.mean
    torch.testing.assert_close(coarse_gradient(v, w, v, w_star, surrogate, law), expected)


@pytest.mark.parametrize("law", [Uniform(0, 1), Exponential(), BERNOULLI, LogNormal(0.5)], ids=str)
def test_one_row_of_positive_entries_drives_the_relus_w_down_and_never_up(law):
    """With m = 1 only false positives count, whose mean is positive: what is right is pushed down, too."""
    (w, w_star), v = filters(20, 9, seed=0), torch.ones(1, dtype=D)
    g = coarse_gradient(v, w, v, w_star, ReLU(), law)
    assert g.min() > -1e-9 and (g[1:].amax(-1) > 1e-3).sum() >= 10
    g = coarse_gradient(v, w, v, w_star, ReLU(), Gaussian(-0.5))
    assert (g.sum(-1) < 1e-9).all()  # against the mean, whichever sign it has


def test_a_mean_that_is_not_zero_breaks_the_relu_alone_and_standardizing_mends_it():
    w_star = torch.tensor([1.0, -1.0], dtype=D).repeat(5) / math.sqrt(10)
    v = torch.tensor([1.0, -1.0, 0.5, -0.5], dtype=D) / math.sqrt(2.5)
    found = {}
    for law in (Uniform(0, 1), Standardized(Uniform(0, 1))):
        problem = Problem(v, w_star, weights="binary", trained="w", inputs=law)
        start = problem.starts(20, 0)
        for surrogate in BOTH:
            end = descend(problem, surrogate, start=start, steps=300, step_size=0.3)
            found[law, surrogate] = (problem.shown(end.w) == w_star).all(-1).sum().item()
    assert found.pop((Uniform(0, 1), ReLU())) <= 5
    assert set(found.values()) == {20}


def test_axes_broadcast_and_the_dtype_is_the_arguments():
    w, w_star = filters(6, 5, seed=0)
    v, v_star = normal(4, 1, 3, seed=1), normal(3, seed=2)
    loss, dv, g = field(v, w, v_star, w_star[0], ReLU(), Uniform(0, 1))
    assert (loss.shape, dv.shape, g.shape) == ((4, 6), (4, 6, 3), (4, 6, 5))
    one = field(v[2, 0], w[3], v_star, w_star[0], ReLU(), Uniform(0, 1))
    for many, alone in zip((loss, dv, g), one, strict=True):
        torch.testing.assert_close(many[2, 3], alone)
    narrow = field(*(t.float() for t in (v, w, v_star, w_star[0])), ReLU(), Uniform(0, 1))
    assert {t.dtype for t in narrow} == {torch.float32}
    torch.testing.assert_close(narrow[2], g.float())


def test_heavy_tails_are_known_to_the_error_that_is_said(monkeypatch):
    laws, coarse = (StudentT(3.0), LogNormal()), []
    monkeypatch.setattr(general, "_POINTS", 2**18)
    for law in laws:
        coarse.append(general._moments.__wrapped__(law, 6, 2, 1, 1))
    monkeypatch.setattr(general, "_POINTS", 2**20)
    for law, (value, error) in zip(laws, coarse, strict=True):
        fine, less = general._moments.__wrapped__(law, 6, 2, 1, 1)
        assert (value - fine).abs().max() <= error + less and less < 1e-6


def test_a_law_of_your_own_brings_its_entry():
    (w, w_star), v = filters(4, 6, seed=0), normal(3, seed=1)
    assert field(v, w, v, w_star, ReLU(), Own())[2].isfinite().all()


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"law": StudentT(df=1.0)}, "no mean, .*sample it with sim"),
        ({"law": LogNormal(3.0)}, "sample it with sim.hidden"),
        ({"law": Uniform(-1, math.sqrt(0.5))}, "no multiples of a common length: round them"),
        ({"surrogate": ClippedReLU()}, r"ClippedReLU: .*knows Identity\(\) and ReLU\(\); sample others"),
        ({"surrogate": HardTanh()}, "HardTanh: .*sample others with sim.hidden"),
        ({"w": torch.tensor([1.0, 2.0])}, r'w must have entries of one size, as Problem\(weights="binary"\)'),
        ({"w": torch.zeros(2)}, "w must have entries of one size"),
        ({"w": torch.ones(3)}, "same last axis"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_bad_input_is_refused_with_the_mend(change, mend):
    given = {"w": torch.ones(2), "surrogate": ReLU(), "law": Exponential()} | change
    with pytest.raises(ValueError, match=mend):
        field(torch.ones(1), given["w"], torch.ones(1), torch.ones(2), given["surrogate"], given["law"])
