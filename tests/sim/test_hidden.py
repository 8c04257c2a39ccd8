"""Sampled quantities against the sums they are means of, written out by hand; all on a few samples."""

import pytest
import torch

from coarsegrad.core.quantizers import QuantizedReLU, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogates import EWGS, SURROGATES, HardTanh, Identity, MagnitudeAwareSign, ReLU
from coarsegrad.sim import hidden


def drawn(*batch, m=3, n=4, samples=50):
    g = torch.Generator().manual_seed(1)
    v, v_star = (torch.randn(*batch, m, generator=g, dtype=torch.double) for _ in range(2))
    w, w_star = (torch.randn(*batch, n, generator=g, dtype=torch.double) for _ in range(2))
    z = torch.randn(*batch, samples, m, n, generator=g, dtype=torch.double)
    return v, w, v_star, w_star / w_star.norm(dim=-1, keepdim=True), z


def by_hand(v, w, v_star, w_star, surrogate, z, value=lambda x: (x > 0).double(), noise=None):
    total = torch.zeros_like(w)
    for k, sample in enumerate(z):
        x = sample @ w
        rest = v @ value(x) - v_star @ value(sample @ w_star) - (0 if noise is None else noise[k])
        total += sample.T @ surrogate.pullback(v * rest, x)
    return total / len(z)


@pytest.mark.parametrize(
    "surrogate", [c() for c in SURROGATES.values() if c is not MagnitudeAwareSign], ids=lambda s: s.name
)
def test_coarse_gradient_is_the_mean_of_what_each_sample_sends_back(surrogate):
    v, w, v_star, w_star, z = drawn()
    found = hidden.coarse_gradient(v, w, v_star, w_star, surrogate, z)
    torch.testing.assert_close(found, by_hand(v, w, v_star, w_star, surrogate, z), rtol=1e-11, atol=1e-12)


def test_an_estimator_that_looks_at_the_upstream_gradient_sees_that_of_one_sample():
    v, w, v_star, w_star, z = drawn()
    far = hidden.coarse_gradient(v, w, v_star, w_star, EWGS(delta=0.5), z)
    near = hidden.coarse_gradient(v, w, v_star, w_star, EWGS(delta=0.0), z)
    assert torch.equal(near, hidden.coarse_gradient(v, w, v_star, w_star, HardTanh(), z))
    assert not torch.allclose(far, near)


@pytest.mark.parametrize(
    "activation",
    [QuantizedReLU(bits=2, scale=Scale("one"), rounding="ceil"), Uniform(bits=3, scale=Scale("one"))],
)
def test_any_quantizer_stands_for_the_threshold(activation):
    v, w, v_star, w_star, z = drawn()
    noise = torch.linspace(-1, 1, 50, dtype=torch.double)
    value = lambda x: activation(x)  # noqa: E731
    expected = by_hand(v, w, v_star, w_star, ReLU(), z, value, noise)
    found = hidden.coarse_gradient(v, w, v_star, w_star, ReLU(), z, noise=noise, activation=activation)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_the_threshold_is_one_bit_of_the_quantized_relu():
    v, w, v_star, w_star, z = drawn()
    one_bit = QuantizedReLU(bits=1, scale=Scale("one"), rounding="ceil")
    assert torch.equal(
        hidden.loss(v, w, v_star, w_star, z), hidden.loss(v, w, v_star, w_star, z, activation=one_bit)
    )


def test_batches_do_not_meet():
    v, w, v_star, w_star, z = drawn(3)
    noise = torch.ones(50, dtype=torch.double)
    whole = (
        hidden.loss(v, w, v_star, w_star, z, noise=noise),
        *hidden.gradient(v, w, v_star, w_star, z, noise=noise),
        hidden.coarse_gradient(v, w, v_star, w_star, MagnitudeAwareSign(), z, noise=noise),
    )
    for k in range(3):
        own = v[k], w[k], v_star[k], w_star[k]
        alone = (
            hidden.loss(*own, z[k], noise=noise),
            *hidden.gradient(*own, z[k], noise=noise),
            hidden.coarse_gradient(*own, MagnitudeAwareSign(), z[k], noise=noise),
        )
        for a, b in zip(whole, alone, strict=True):
            torch.testing.assert_close(a[k], b)


def test_one_set_of_samples_serves_many_points():
    v, w, v_star, w_star, _ = drawn(3)
    z = drawn()[4]
    found = hidden.coarse_gradient(v, w, v_star, w_star, Identity(), z)
    alone = hidden.coarse_gradient(v[1], w[1], v_star[1], w_star[1], Identity(), z)
    torch.testing.assert_close(found[1], alone)


def test_dv_is_the_derivative_of_the_empirical_loss():
    v, w, v_star, w_star, z = drawn()
    v.requires_grad_()
    expected = torch.autograd.grad(hidden.loss(v, w, v_star, w_star, z), v)[0]
    v = v.detach()
    torch.testing.assert_close(hidden.gradient(v, w, v_star, w_star, z)[0], expected)
    torch.testing.assert_close(hidden.step(v, w, hidden.output(v_star, w_star, z), z, ReLU())[1], expected)


def test_nothing_is_left_in_the_arguments():
    v, w, v_star, w_star, z = drawn()
    before = [t.clone() for t in (v, w)]
    hidden.coarse_gradient(v, w, v_star, w_star, ReLU(), z)
    assert torch.equal(v, before[0]) and torch.equal(w, before[1])
    assert not v.requires_grad and not w.requires_grad
