"""What a law is: the checks at the door, and drawing a few samples at a time."""

import numpy as np
import pytest

from coarsegrad.problem.law import checked_law, parts
from coarsegrad.problem.laws import Gaussian


class Own:
    mean, variance = 0.0, 1.0

    def fill(self, draw, out):
        out[...] = 1


def test_an_object_with_the_three_parts_is_a_law():
    checked_law(Gaussian())
    checked_law(Own())


@pytest.mark.parametrize("thing", ["gaussian", Gaussian, None, 3.0])
def test_anything_else_is_refused_with_the_mend(thing):
    with pytest.raises(ValueError, match=r"is no law of inputs; give an object of problem.laws, such as Gau"):
        checked_law(thing)


@pytest.mark.parametrize("shape", [(5, 2, 3), (3, 300, 400), (100_000, 1), (0, 2, 3)])
def test_parts_are_the_whole_and_small(shape):
    z = np.zeros(shape)
    for part in parts(z):
        assert part.size <= max(2**16, z[:1].size)
        part += 1
    assert (z == 1).all()
