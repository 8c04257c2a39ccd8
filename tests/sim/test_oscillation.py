"""One weight, step by step: against torch's optimizer, the library's quantizer, and answers known by hand."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from coarsegrad.core.quantizers import Uniform
from coarsegrad.core.scheduled import EWGS
from coarsegrad.core.windows import Identity
from coarsegrad.sim.oscillation import Weight, ewgs, psg

TARGET = np.array([-0.6, 0.1, 0.3, 0.45, 1.3])


def walked(weight, start, steps):
    latents, codes = zip(*weight.walk(start, steps), strict=True)
    return np.array(latents), np.array(codes)


@pytest.mark.parametrize(
    ("surrogate", "factor"), [(Identity(), None), (EWGS(delta=0.4), ewgs(0.4))], ids=["identity", "ewgs"]
)
@pytest.mark.parametrize("momentum", [0.0, 0.7], ids=str)
def test_it_is_torchs_descent_through_the_librarys_quantizer(surrogate, factor, momentum):
    quantizer, scale = Uniform(bits=3), torch.tensor(0.25, dtype=torch.float64)
    target, steps = torch.tensor([-0.6, 0.1, 0.3, 0.45, 0.7], dtype=torch.float64), 200
    latent = torch.nn.Parameter(torch.full_like(target, 0.131618))
    optimizer, expected = torch.optim.SGD([latent], lr=0.05, momentum=momentum), []
    for _ in range(steps):
        expected.append(latent.detach().clone())
        optimizer.zero_grad()
        level = quantizer(latent, surrogate.over(quantizer.window), scale=scale)
        (0.5 * 1.5 * (level - target).square()).sum().backward()
        optimizer.step()
    weight = Weight(
        target.numpy(), 0.25, 0.05, curvature=1.5, momentum=momentum, factor=factor, lowest=-4, highest=3
    )
    latents, _ = walked(weight, np.full(5, 0.131618), steps)
    np.testing.assert_allclose(latents, torch.stack(expected).numpy(), rtol=0, atol=1e-12)


def test_a_tie_is_rounded_up_and_codes_stay_within_the_ends():
    weight = Weight(TARGET, 0.5, 0.1, lowest=-2, highest=1)
    assert weight.codes(np.array([-3.0, -0.25, 0.25, 0.2499, 9.0])).tolist() == [-2, 0, 1, 0, 1]


def test_fractions_are_kept_and_agree_with_floats():
    exact = Weight(
        np.array([Fraction(3, 8)], dtype=object), Fraction(1, 2), Fraction(1, 16), strength=Fraction(1, 5)
    )
    rough = Weight(np.array([0.375]), 0.5, 0.0625, strength=0.2)
    latents, codes = walked(exact, np.array([Fraction(1, 3)], dtype=object), 30)
    found, same = walked(rough, np.array([1 / 3]), 30)
    assert isinstance(latents[-1][0], Fraction)
    np.testing.assert_allclose(latents.astype(float), found, rtol=0, atol=1e-13)
    assert (codes.astype(float) == same).all()


def test_the_term_is_a_pull_to_the_level_or_a_push_away_from_it():
    start = np.array([0.2])
    for strength, moved in ((-1.0, 0.2 - 0.1 * 0.4), (1.0, 0.2 + 0.1 * 0.4)):
        weight = Weight(np.array([0.0]), 1.0, 0.1, strength=strength)
        latents, _ = walked(weight, start, 2)
        assert latents[1, 0] == pytest.approx(moved)


def test_the_float_loss_goes_straight_to_the_target():
    weight = Weight(TARGET, 0.5, 0.5, quantized=False)
    latents, codes = walked(weight, TARGET * 0, 60)
    np.testing.assert_allclose(latents[-1], TARGET, atol=1e-12)
    assert codes[-1].tolist() == [-1, 0, 1, 1, 3]


def test_psg_does_not_move_a_latent_that_lies_on_a_level():
    weight = Weight(TARGET, 0.5, 0.1, factor=psg(2.0))
    latents, _ = walked(weight, np.full(5, 0.5), 20)
    assert (latents == 0.5).all()
