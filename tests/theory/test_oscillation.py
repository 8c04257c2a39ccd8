"""The rotation of one weight, against a descent written here in fractions, and what its sequences must be."""

from fractions import Fraction
from itertools import pairwise, product
from math import floor

import pytest

from coarsegrad.theory.oscillation import duty, level_changes, phase, pushes, share_above, visits

SHARES = [Fraction(k, 7) for k in range(7)] + [Fraction(1, 2), Fraction(13, 31)]
by_share = pytest.mark.parametrize("share", SHARES, ids=str)


def upper(share, at, steps, swing=Fraction(1, 3)):
    """Whether each iterate is at level 1 of 0 and 1, threshold 1/2, from this place on the circle."""
    latent, found = Fraction(1, 2) + swing * (at - 1 + share), []
    for _ in range(steps):
        found.append(latent >= Fraction(1, 2))
        latent -= swing * (found[-1] - share)
    return found


@by_share
@pytest.mark.parametrize("at", [Fraction(0), Fraction(2, 5), Fraction(99, 100)], ids=str)
def test_visits_count_the_upper_iterates_of_every_first_stretch(share, at):
    found = upper(share, at, 60)
    assert [visits(share, at, k) for k in range(61)] == [sum(found[:k]) for k in range(61)]


@by_share
def test_changes_are_twice_the_distance_and_the_most_that_the_share_allows(share):
    found = upper(share, Fraction(0), 7 * 31 * 2 + 1)
    changes = sum(a != b for a, b in pairwise(found))
    assert changes == level_changes(share) * (len(found) - 1)
    rare = min(share, 1 - share)
    assert level_changes(share) == 2 * rare == 2 * abs(share - floor(share + Fraction(1, 2)))


def test_the_phase_is_the_place_on_the_circle_and_turns_by_the_share():
    share, swing = Fraction(2, 7), Fraction(3, 10)
    for at in (Fraction(0), Fraction(1, 3), Fraction(6, 7)):
        distance = swing * (at - 1 + share)
        assert phase(distance, share, swing) == at
        after = distance - swing * ((distance >= 0) - share)
        assert phase(after, share, swing) == (at + share) % 1


@pytest.mark.parametrize(
    ("target", "spacing", "share"),
    [
        (0.25, 1.0, 0.25),
        (-0.25, 1.0, 0.75),
        (1.75, 0.5, 0.5),
        (Fraction(-1, 3), Fraction(1, 2), Fraction(1, 3)),
    ],
    ids=str,
)
def test_the_share_is_the_place_between_two_levels(target, spacing, share):
    assert share_above(target, spacing) == share


@by_share
def test_without_a_term_the_duty_is_the_share_in_fractions_exactly(share):
    assert duty(*pushes(share)) == share
    assert duty(*pushes(share, strength=Fraction(1, 2), quantized=False)) == share


@by_share
def test_pushes_are_the_gradients_on_the_two_sides_of_the_threshold(share):
    """By definition: half (v - share)² at v the level, or the latent, and the term's gradient."""
    half = Fraction(1, 2)
    for strength, quantized in product((Fraction(-1, 5), 0, Fraction(1, 3)), (True, False)):
        grads = [(level if quantized else half) - share + 2 * strength * (level - half) for level in (0, 1)]
        assert pushes(share, strength=strength, quantized=quantized) == (-grads[0], grads[1])


@by_share
def test_dampening_stops_a_weight_from_the_distance_to_the_nearest_level_on(share):
    near, far = sorted((share, 1 - share))
    eps = Fraction(1, 1000)
    if near > eps:
        assert 0 < duty(*pushes(share, strength=eps - near)) < 1
    if near + eps < far:
        assert duty(*pushes(share, strength=-near - eps)) == round(share)
    assert duty(*pushes(share, strength=-far - eps)) is None


def test_inducing_a_float_loss_makes_those_oscillate_that_are_near_a_threshold():
    found = [duty(*pushes(k / 100, strength=0.105, quantized=False)) for k in range(100)]
    assert [k for k, value in enumerate(found) if value not in (0, 1)] == list(range(40, 61))
    assert found[50] == 0.5


def test_any_positive_factor_on_both_sides_leaves_the_duty_alone_and_on_one_side_never_stops_it():
    rise, fall = pushes(0.3)
    assert duty(0.1 * rise, 0.1 * fall) == pytest.approx(0.3)
    assert all(0 < duty(c * rise, fall) < 1 for c in (1e-6, 0.5, 1e6))
