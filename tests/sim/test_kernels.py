"""The loops against NumPy."""

import numpy as np
import pytest

from coarsegrad.sim import kernels, patterns


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_images_are_the_products(draw):
    z, w, x = draw.standard_normal((12, 5)), draw.standard_normal(5), np.empty(12)
    kernels.forward(z, w, x)
    np.testing.assert_allclose(x, z @ w)
    kernels.flip(z, np.array([1, 4]), np.array([0.5, -2.0]), x)
    np.testing.assert_allclose(x, z @ (w + np.array([0, 0.5, 0, 0, -2])))


def test_parts_are_the_sums_of_the_rows_that_pass(draw):
    m, n, v = 3, 5, draw.standard_normal(3)
    z, parts, open_rows = draw.standard_normal((12, n)), np.zeros((4, n)), np.zeros(4, np.int64)
    passes, rows = np.zeros(12, np.bool_), np.empty(13, np.int64)
    for number in range(4):
        x = draw.standard_normal(12)
        x[number : number + 3] = -2.0  # now and then none of a sample's
        now = (x > -0.5) & (x < 1)
        expected = np.flatnonzero(now != passes)
        count = kernels.crossed(x, -0.5, 1.0, passes, rows)
        assert np.array_equal(rows[:count], expected) and np.array_equal(passes, now)
        kernels.gather(z, v, rows[:count], passes, parts, open_rows)
        expected = np.einsum("ki,i,kin->kn", now.reshape(4, m), v, z.reshape(4, m, n))
        np.testing.assert_allclose(parts, expected, atol=1e-14)
        assert np.array_equal(parts.any(1), now.reshape(4, m).any(1))


def test_a_sum_over_rows_skips_those_that_send_nothing(draw):
    z, c, out = draw.standard_normal((11, 5)), draw.standard_normal(11), np.zeros(5)
    c[[2, 7]] = 0
    rows, by = np.empty(12, np.int64), np.empty(12)
    count = kernels.nonzero(c, rows, by)
    assert rows[:count].tolist() == [0, 1, 3, 4, 5, 6, 8, 9, 10]
    kernels.backward(z, rows[:count], by[:count], out)
    np.testing.assert_allclose(out, c @ z)


def test_residuals_and_what_a_window_lets_through(draw):
    x, v, labels, rest, c = (
        draw.standard_normal(6),
        np.array([1.0, -2.0]),
        np.array([1.0, 0, 0]),
        *np.empty((2, 6)),
    )
    x[3] = 0.0
    rest = rest[:3]
    assert kernels.residuals(x, v, labels, rest) == 1
    np.testing.assert_allclose(rest, (x.reshape(3, 2) > 0) @ v - labels)
    kernels.window(x, v, rest, 0.0, 1.0, c)
    np.testing.assert_allclose(
        c.reshape(3, 2), np.where((x > 0) & (x < 1), 1, 0).reshape(3, 2) * np.outer(rest, v)
    )
    kernels.heads(x, v, np.ones(3), rest)
    np.testing.assert_allclose(rest, (x.reshape(3, 2) > 0) @ v + 1)


def test_tensors_give_the_gradient_for_any_v(draw):
    n, m, samples = 4, 3, 20
    z, x, slope, labels, v = (draw.standard_normal(s) for s in ((samples * m, n), 60, 60, samples, m))
    out = np.zeros(m * m * n + m * n + m * m + m)
    kernels.tensors(z, x, slope, labels, m, out)
    dv, dw = np.empty(m), np.empty(n)
    patterns._both(out, v, dv, dw)
    hidden = (x > 0).reshape(samples, m)
    rest = hidden @ v - labels
    np.testing.assert_allclose(dv, rest @ hidden)
    np.testing.assert_allclose(dw, (slope * np.outer(rest, v).ravel()) @ z)
