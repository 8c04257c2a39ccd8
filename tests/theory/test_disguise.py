import math

import pytest
import torch

from coarsegrad.core.quantizers import Binary, Ternary, Uniform
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES, HardTanh, Identity, LeakyHardTanh, LeakyReLU, Tanh
from coarsegrad.studies.schoenbauer2024.runs import COVERED, ESTIMATORS, SoftSteps, Wave
from coarsegrad.theory.disguise import disguise

LATENTS = torch.linspace(-5, 5, 20001, dtype=torch.float64)[1:-1:2]  # no border among them


def drawn(seed, size=5000):
    g = torch.Generator().manual_seed(seed)
    return 6 * torch.rand(size, generator=g, dtype=torch.float64) - 3, torch.randn(
        size, generator=g, dtype=torch.float64
    )


@pytest.mark.parametrize("a", [-0.9, -0.3, 0.0, 0.5, 0.8])
def test_the_rate_and_the_map_of_a_wave_are_known(a):
    found = disguise(Wave(a), Uniform(bits=2))
    assert abs(found.rate - math.sqrt(1 - a * a)) < 1e-12
    assert found.least == pytest.approx(1 - abs(a), abs=1e-5) and found.most == pytest.approx(1 + abs(a))
    # from the border -1/2 the integral of 1/(1 - a cos 2 pi x) is an arctangent
    x = torch.linspace(-0.49, 0.49, 99, dtype=torch.float64)
    ratio = math.sqrt((1 + a) / (1 - a))
    known = torch.arctan(ratio * torch.tan(math.pi * x)) / math.pi
    assert (found.warp(x) - known).abs().max() < 1e-11


def test_the_rate_of_soft_steps_is_known():
    for k in (1.0, 4.0, 8.0):
        known = 1 / (2 * math.tanh(k / 2) / k * (0.5 + math.sinh(k) / (2 * k)))
        assert disguise(SoftSteps(k), Uniform(bits=3)).rate == pytest.approx(known, rel=1e-12)


@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_the_map_is_monotone_and_keeps_borders_and_levels(name, bits):
    quantizer = Uniform(bits=bits)
    found = disguise(ESTIMATORS[name], quantizer)
    borders = torch.tensor(found.borders, dtype=torch.float64)
    assert (found.warp(borders) - borders).abs().max() < 1e-11
    warped = found.warp(LATENTS)
    assert (warped.diff() > 0).all()
    inside = (LATENTS[:, None] - borders).abs().amin(1) > 1e-9
    assert torch.equal(quantizer.step(warped)[inside], quantizer.step(LATENTS)[inside])


@pytest.mark.parametrize("name", COVERED)
def test_the_maps_slope_is_the_rate_over_the_surrogates(name):
    found, own, h = disguise(ESTIMATORS[name], Uniform(bits=2)), ESTIMATORS[name], 1e-5
    u, _ = drawn(1)
    u = u[(u - u.round()).abs() > 2 * h]  # soft steps have a kink at the levels
    slope = (found.warp(u + h) - found.warp(u - h)) / (2 * h)
    assert (slope * own.slope(u) - found.rate).abs().max() < 1e-6


@pytest.mark.parametrize("name", COVERED)
def test_a_mended_step_is_off_by_the_square_of_the_step(name):
    found, own = disguise(ESTIMATORS[name], Uniform(bits=2)), ESTIMATORS[name]
    u, g = drawn(2)
    off = [
        (found.warp(u - eta * own.slope(u) * g) - (found.warp(u) - eta * found.rate * g)).abs().mean()
        for eta in (1e-3, 1e-4)
    ]
    assert 1.95 < math.log10(off[0] / off[1]) < 2.05


def test_the_plain_estimator_is_itself():
    for quantizer in (Binary(), Ternary(), Uniform(bits=4)):
        found = disguise(Identity(), quantizer)
        assert found.rate == pytest.approx(1.0, abs=1e-12)
        assert torch.allclose(found.warp(LATENTS), LATENTS, atol=1e-12)


def test_a_sign_takes_any_rate_and_any_slope_that_stays_positive():
    found = disguise(LeakyHardTanh(leak=0.25), Binary())
    u = torch.linspace(-3, 3, 13, dtype=torch.float64)
    known = torch.where(u.abs() < 1, u, u.sign() * (1 + 4 * (u.abs() - 1)))
    assert torch.allclose(found.warp(u), known, rtol=1e-10) and found.rate == 1.0 and found.period is None
    assert found.warp(torch.zeros(0)).shape == (0,)
    for bad in (torch.tensor([math.nan]), torch.tensor([2000.0])):
        with pytest.raises(ValueError, match="finite latents"):
            found.warp(bad)


def test_the_surrogate_is_taken_as_training_takes_it():
    """Stretched over the levels, a wave meant cell by cell is another estimator, which no rate mends."""

    class Stretching(Wave):
        def over(self, levels):
            return Surrogate.over(self, levels)

    with pytest.raises(ValueError, match="over the levels differs between cells"):
        disguise(Stretching(0.8), Uniform(bits=2))


def test_float32_latents_stay_float32():
    assert disguise(Wave(), Uniform(bits=2)).warp(torch.zeros(3)).dtype == torch.float32


def test_what_the_theorem_does_not_cover_is_refused():
    for surrogate in (HardTanh(), SURROGATES["triangular"]()):
        with pytest.raises(ValueError, match="says nothing here"):
            disguise(surrogate, Uniform(bits=2))
    with pytest.raises(ValueError, match="says nothing here"):
        disguise(Tanh(), Binary())  # it falls to 0 far from the border
    with pytest.raises(ValueError, match="differs between cells"):
        disguise(LeakyReLU(), Uniform(bits=2))
    with pytest.raises(ValueError, match="looks at the upstream gradient"):
        disguise(SURROGATES["ewgs"](), Uniform(bits=2))
    with pytest.raises(TypeError, match="a surrogate object is asked for"):
        disguise("identity", Uniform(bits=2))
    with pytest.raises(TypeError, match="takes a quantizer second"):
        disguise(Identity(), Identity())

    class Bare(Surrogate):
        def slope(self, x):
            return torch.ones_like(x)

    with pytest.raises(ValueError, match="declares no borders"):
        disguise(Bare(), Uniform(bits=2, rounding="stochastic"))
