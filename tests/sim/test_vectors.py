"""The sums against NumPy."""

import numpy as np

from coarsegrad.sim import vectors


def test_products_and_combinations_of_a_stretch():
    draw = np.random.default_rng(0)
    kept, x, factors = (
        draw.standard_normal((9, 10_000)),
        draw.standard_normal(10_000),
        draw.standard_normal(6),
    )
    out, y = np.empty(6), x.copy()
    vectors.dots(kept, 6, x, 10, 9000, out)
    np.testing.assert_allclose(out, kept[:6, 10:9000] @ x[10:9000])
    vectors.combine(kept, factors, y, 10, 9000)
    np.testing.assert_allclose(y[10:9000] - x[10:9000], factors @ kept[:6, 10:9000], atol=1e-12)
    assert np.array_equal(y[:10], x[:10]) and np.array_equal(y[9000:], x[9000:])
