"""Closed forms and quadrature agree with each other, with oracles and with what is known exactly."""

import math
from dataclasses import dataclass
from itertools import pairwise

import mpmath
import pytest
import torch
from scipy import integrate, stats

from coarsegrad.core.quantizers import Binary, Ternary
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import (
    EDE,
    EWGS,
    SURROGATES,
    ClippedReLU,
    Gaussian,
    HardTanh,
    Identity,
    MagnitudeAwareSign,
    ReLU,
    ReSTE,
    Tanh,
)
from coarsegrad.spec import write
from coarsegrad.theory.gauss import (
    THRESHOLD,
    Staircase,
    level_moments,
    level_product,
    slope_moments,
)
from core.grid import surrogates
from theory.problems import STAIRCASES, Hat, Undeclared, normal, sizes_and_angles

WINDOWS = (Identity(), ReLU(), ClippedReLU(), ClippedReLU(0.3), HardTanh(), HardTanh(-0.2, 3.0))
CATALOGUE = [s for s in surrogates() if s.name != "magnitude_aware_sign"]
everywhere = pytest.mark.parametrize("activation", STAIRCASES.values(), ids=STAIRCASES.keys())
sloped = pytest.mark.parametrize("surrogate", CATALOGUE, ids=write)


def together(moments, angle):
    """What is defined at every angle: at 0 and pi, w and w_star share one direction."""
    return moments.lone, moments.own, moments.student + angle.cos() * moments.teacher


@pytest.mark.parametrize("breaks", ["declared", "undeclared"])
@everywhere
@pytest.mark.parametrize("surrogate", WINDOWS, ids=write)
def test_quadrature_is_the_closed_form(surrogate, activation, breaks):
    size, angle, size_star = sizes_and_angles(60)
    exact = slope_moments(surrogate, size, angle, size_star, activation)
    same = Undeclared(surrogate, surrogate.breaks if breaks == "declared" else None)
    found = slope_moments(same, size, angle, size_star, activation)
    pairs = [(a[2:], b[2:]) for a, b in zip(found[:4], exact[:4], strict=True)]
    for a, b in [*pairs, *zip(together(found, angle), together(exact, angle), strict=True)]:
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)
        assert ((a - b).abs() <= found.error[-len(a) :] + 1e-14).all()
    assert found.error.max() <= 1e-12 and (exact.error == 0).all()


@sloped
def test_every_slope_of_the_catalogue_reaches_the_tolerance(surrogate):
    for activation in (THRESHOLD, STAIRCASES["ceil"]):
        for progress in (0.0, 0.6, 1.0):
            moments = slope_moments(surrogate.at(progress), *sizes_and_angles(30, seed=1), activation)
            largest = torch.stack([m.abs() for m in moments[:4]]).amax(0)
            assert (moments.error <= 1e-12 + 1e-10 * largest).all()
            assert all(torch.isfinite(m).all() for m in moments)


@pytest.mark.parametrize("surrogate", [s for s in CATALOGUE if s == type(s)()], ids=write)
def test_one_neuron_agrees_with_an_integral_of_scipys(surrogate):
    activation = STAIRCASES["ceil"]
    for size in (0.3, 1.7, 5.0):

        def part(x, level, size=size):
            r = torch.tensor([size * x], dtype=torch.float64)
            slope = float(surrogate.slope(r / activation.scale))
            step = activation.levels[sum(r > t for t in activation.thresholds)] if level else 1.0
            return slope * step * x * stats.norm.pdf(x)

        cuts = {*(b * activation.scale / size for b in surrogate.breaks), 0.0, -10.0, 10.0}
        cuts |= {t / size for t in activation.thresholds}
        cuts = sorted(c for c in cuts if abs(c) <= 10)
        one = torch.tensor(1.0, dtype=torch.float64)
        moments = slope_moments(surrogate, one * size, one, one, activation)
        for found, level in ((moments.lone, False), (moments.own, True)):
            exact = sum(
                integrate.quad(part, a, b, args=(level,), epsabs=1e-13, epsrel=1e-12, limit=200)[0]
                for a, b in pairwise(cuts)
            )
            assert float(found) == pytest.approx(exact, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(
    "surrogate", [ClippedReLU(), Tanh(2.0), Gaussian(), Hat()], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("angle", [0.3, 2.0])
def test_two_neurons_agree_with_a_plane_integral_of_mpmath(surrogate, angle):
    size, size_star, activation = 1.3, 0.7, STAIRCASES["quantized_relu"]
    c, s = math.cos(angle), math.sin(angle)

    def inside(x, power):
        """Over Y, in closed form, but through X and the other direction: E of levels times 1 or Y."""
        cuts = [(t / size_star - c * x) / s for t in activation.thresholds]
        jumps = [b - a for a, b in pairwise(activation.levels)]
        tail = mpmath.npdf if power else (lambda t: mpmath.ncdf(-t))
        return sum(j * tail(t) for j, t in zip(jumps, cuts, strict=True))

    def along(x, power):
        slope = float(
            surrogate.slope(torch.tensor([size * float(x) / activation.scale], dtype=torch.float64))
        )
        return slope * mpmath.npdf(x) * inside(x, power) * (1 if power else x)

    ends = [-12, -3, -1, 0, 0.5, 1, 3, 12]
    ends = sorted({*ends, *(b * activation.scale / size for b in (0.0, 1.0, -0.4, 0.2, 0.35, 1.1))})
    by_x, by_y = (mpmath.quad(lambda x, k=k: along(x, k), ends, maxdegree=5) for k in (0, 1))
    one = torch.tensor(1.0, dtype=torch.float64)
    moments = slope_moments(surrogate, one * size, one * angle, one * size_star, activation)
    assert float(moments.student + c * moments.teacher) == pytest.approx(float(by_x), abs=1e-11)
    assert float(s * moments.teacher) == pytest.approx(float(by_y), abs=1e-11)


def test_the_error_of_a_slope_that_declares_no_breaks_is_told():
    size, angle, size_star = sizes_and_angles(300, seed=2)
    moments = slope_moments(Hat(), size, angle, size_star)
    declared = slope_moments(Undeclared(Hat(), (-0.4, 0.2, 0.35, 1.1)), size, angle, size_star)
    for a, b in zip(together(moments, angle), together(declared, angle), strict=True):
        assert ((a - b).abs() <= moments.error + declared.error + 1e-14).all()
    assert 0 < moments.error.max() < 1e-12


@everywhere
def test_at_the_teacher_own_and_student_meet(activation):
    size = sizes_and_angles(20)[0]
    for surrogate in (*WINDOWS, Tanh(), Hat()):
        moments = slope_moments(surrogate, size, torch.zeros_like(size), size, activation)
        assert torch.allclose(moments.student + moments.teacher, moments.own, rtol=1e-11, atol=2e-12)


@everywhere
def test_levels_have_the_moments_of_their_probabilities(activation):
    size = torch.tensor([0.2, 1.0, 4.0], dtype=torch.float64)
    found = level_moments(size, activation)
    for i, s in enumerate(size.tolist()):
        ends = [0.0, *(float(stats.norm.cdf(t / s)) for t in activation.thresholds), 1.0]
        chance = [b - a for a, b in pairwise(ends)]
        for power, value in ((1, found.mean[i]), (2, found.square[i])):
            exact = sum(p * level**power for p, level in zip(chance, activation.levels, strict=True))
            assert float(value) == pytest.approx(exact, abs=1e-14)
    at_zero = level_moments(torch.zeros(1, dtype=torch.float64), activation)
    assert float(at_zero.mean) == activation.zero and float(at_zero.square) == activation.zero**2


@everywhere
def test_the_product_of_levels_is_known_at_three_angles(activation):
    size, _, size_star = sizes_and_angles(20)
    mine, theirs = level_moments(size, activation), level_moments(size_star, activation)
    zero = torch.zeros_like(size)
    found, error = level_product(size, zero + math.pi / 2, size_star, activation)
    assert torch.allclose(found, mine.mean * theirs.mean, rtol=1e-11, atol=1e-12)
    found, error = level_product(size, zero, size, activation)
    assert torch.allclose(found, mine.square, rtol=1e-11, atol=1e-12)
    assert error.max() < 1e-12


def test_the_product_of_levels_is_an_orthant_probability():
    activation = STAIRCASES["ceil"]
    size, angle, size_star = 1.3, 0.8, 0.6
    law = stats.multivariate_normal([0, 0], [[1, math.cos(angle)], [math.cos(angle), 1]])
    jumps = [b - a for a, b in pairwise(activation.levels)]
    pairs = [(t, j) for t, j in zip(activation.thresholds, jumps, strict=True)]
    exact = sum(j * k * law.cdf([-t / size, -q / size_star]) for t, j in pairs for q, k in pairs)
    one = torch.tensor(1.0, dtype=torch.float64)
    found = level_product(one * size, one * angle, one * size_star, activation).value
    assert float(found) == pytest.approx(exact, abs=1e-7)  # scipy's own error


def test_an_estimator_that_looks_at_the_upstream_gradient_is_sent_to_sim():
    with pytest.raises(ValueError, match=r"EWGS looks at the upstream.*sample it with sim"):
        slope_moments(EWGS(), torch.ones(1), torch.ones(1))


def test_a_pullback_of_ones_own_that_is_not_its_slope_is_found_out():
    @dataclass(frozen=True)
    class Signed(Surrogate):
        def slope(self, x):
            return torch.ones_like(x)

        def pullback(self, upstream, x):
            return upstream.clamp(min=0)

    for surrogate in (Signed(), Signed().over((0.0, 3.0))):
        with pytest.raises(ValueError, match="looks at the upstream gradient"):
            slope_moments(surrogate, torch.ones(1), torch.ones(1))


def test_equal_thresholds_leave_a_level_out():
    activation = Staircase.of(Ternary(threshold=0.0), scale=1.0)
    sign = Staircase.of(Binary(), scale=1.0)
    size, angle, size_star = sizes_and_angles(20)
    for a, b in zip(
        slope_moments(Tanh(), size, angle, size_star, activation)[:4],
        slope_moments(Tanh(), size, angle, size_star, sign)[:4],
        strict=True,
    ):
        assert torch.allclose(a[2:], b[2:], atol=1e-12)


def test_a_scheduled_surrogate_is_taken_as_it_stands():
    size, angle, _ = sizes_and_angles(5)
    assert torch.equal(
        slope_moments(EDE(progress=1.0), size, angle).own, slope_moments(EDE().at(1.0), size, angle).own
    )
    assert not torch.allclose(
        slope_moments(ReSTE(), size, angle).own, slope_moments(ReSTE().at(1.0), size, angle).own
    )


@everywhere
def test_the_magnitude_is_that_of_infinitely_many_inputs(activation):
    size, angle, size_star = sizes_and_angles(10)
    x = normal(400_000, seed=3)
    mean = torch.stack([((s * x - activation.offset) / activation.scale).abs().mean() for s in size])
    found = slope_moments(MagnitudeAwareSign(), size, angle, size_star, activation)
    window = slope_moments(HardTanh(), size, angle, size_star, activation)
    for a, b in zip(found, window, strict=True):
        assert torch.allclose(a, mean * b, rtol=0.01, atol=1e-12)


@everywhere
@pytest.mark.parametrize("surrogate", WINDOWS, ids=write)
def test_closed_forms_are_differentiable(surrogate, activation):
    size, angle, size_star = (t[12:15].clone().requires_grad_() for t in sizes_and_angles(15))
    assert torch.autograd.gradcheck(
        lambda *a: slope_moments(surrogate, *a, activation)[:4], (size, angle, size_star), atol=1e-7
    )


def test_quadrature_refuses_a_gradient_it_does_not_have():
    size = torch.ones(1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(
        ValueError, match="Tanh, which declares no passes: by quadrature, so not differentiable"
    ):
        slope_moments(Tanh(), size, torch.ones(1))
    with pytest.raises(ValueError, match="level_product with thresholds"):
        level_product(size, torch.ones(1), 1.0, STAIRCASES["ceil"])
    with torch.no_grad():
        slope_moments(Tanh(), size, torch.ones(1))


def test_a_weight_of_zero_meets_the_slope_at_zero():
    size, angle = torch.tensor([0.0, 1e-300], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for surrogate in (Identity(), ReLU(), ClippedReLU(), HardTanh(), Tanh(3.0)):
        moments = slope_moments(surrogate, size, angle)
        at_zero = float(surrogate.slope(torch.zeros(1, dtype=torch.float64)))
        assert float(moments.teacher[0]) == pytest.approx(at_zero / math.sqrt(2 * math.pi), rel=1e-14)
        assert float(moments.lone[0]) == float(moments.own[0]) == float(moments.student[0]) == 0
        assert all(torch.isfinite(m).all() for m in moments)


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e3, 1e6])
def test_slopes_much_wider_or_narrower_than_w_are_seen(size):
    one = torch.ones(40, dtype=torch.float64)
    angle = torch.linspace(0, math.pi, 40, dtype=torch.float64)
    found = slope_moments(Undeclared(HardTanh(), (-1.0, 1.0)), one * size, angle)
    blind = slope_moments(Undeclared(HardTanh()), one * size, angle)
    exact = slope_moments(HardTanh(), one * size, angle)
    for a, b, c in zip(together(found, angle), together(blind, angle), together(exact, angle), strict=True):
        assert torch.allclose(a, c, rtol=1e-10, atol=1e-12) and torch.allclose(b, c, rtol=1e-10, atol=1e-12)


def test_shapes_broadcast_and_the_answer_is_float64():
    size = torch.rand(3, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    angle = torch.rand(4, generator=torch.Generator().manual_seed(1))
    for surrogate in (ReLU(), ClippedReLU(), Tanh()):
        for moment in slope_moments(surrogate, size, angle):
            assert moment.shape == (3, 4) and moment.dtype == torch.float64
    assert slope_moments(Tanh(), size[:0], angle).lone.shape == (0, 4)


def test_the_catalogue_has_one_estimator_without_a_slope():
    one = torch.ones(1, dtype=torch.float64)
    for name, cls in SURROGATES.items():
        if name != "ewgs":
            assert torch.isfinite(slope_moments(cls(), one, one).student).all()
