import math

import pytest

from coarsegrad.studies.ichikawa2025.plateau import plateau


def test_a_step_down_is_a_plateau_as_long_as_the_step():
    found = plateau(range(100), [1.0] * 60 + [0.3] * 40)
    assert found[:3] == (59, 0, 1.0) and found.fall == 1 and found.middle == 60 and found.sharpness == 59


def test_an_exponential_decay_has_the_ratio_of_its_logarithms():
    times = [k / 1000 for k in range(5001)]
    found = plateau(times, [math.exp(-time) for time in times])
    assert found.sharpness == pytest.approx(math.log(1.1) / math.log(2), abs=0.01)


def test_of_two_plateaus_the_longer_counts_if_a_drop_comes_later():
    steps = [4.0] * 10 + [2.0] * 30 + [1.0] * 20 + [0.9] * 200
    found = plateau(range(len(steps)), steps)
    assert (found.length, found.begin, found.level) == (29, 10, 2.0)


def test_a_small_ripple_is_on_the_plateau_and_a_large_one_breaks_it():
    assert plateau(range(7), [1.0, 1.05, 1.0, 1.05, 1.0, 0.2, 0.2]).length == 4
    assert plateau(range(7), [1.0, 1.05, 1.3, 1.05, 1.0, 0.2, 0.2]).length == 1


def test_what_does_not_fall_to_half_has_none():
    assert plateau(range(50), [1.0] * 25 + [0.6] * 25).length == 0
    assert plateau(range(50), [1.0] * 25 + [2.0] * 25).length == 0


def test_the_rise_of_a_curve_is_the_fall_of_its_reciprocal():
    found = plateau(range(60), [1 / value for value in [1.0] * 40 + [3.0] * 20])
    assert (found.length, found.begin) == (39, 0)


@pytest.mark.parametrize("values", [[1.0, 0.0], [1.0, -1.0], [1.0]], ids=["zero", "negative", "short"])
def test_values_without_a_ratio_are_refused(values):
    with pytest.raises(ValueError, match="positive values"):
        plateau([0.0, 1.0], values)
