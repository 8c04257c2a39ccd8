"""The fast blocks are the slow ones, bit for bit."""

import numpy as np
import pytest

from coarsegrad.sim import gauss, gauss_compiled


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("size", "first", "key"), [(1, 0, 0), (5000, 12_345, 2**64 - 1), (2048, 2**40, 9)])
def test_the_same_bits(kind, size, first, key):
    name = "fill32" if kind == np.float32 else "fill64"
    slow, fast = np.empty((2, size), kind)
    getattr(gauss, name)(slow, first, np.uint64(key))
    getattr(gauss_compiled, name)(fast, first, np.uint64(key))
    assert np.array_equal(slow, fast)
