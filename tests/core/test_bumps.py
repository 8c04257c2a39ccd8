"""Each bump against the formula of its paper or of the library that made it known, written out in NumPy."""

import numpy as np
import pytest
import torch

from coarsegrad.core.bumps import ApproxSign, Arctan, Gaussian, Sigmoid, SwishSign, Tanh, Triangular
from coarsegrad.spec import write

X = np.linspace(-4, 4, 1601) + 1e-4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def approx_sign(x):
    """Liu et al. 2018, equation 8: 2 + 2x on [-1, 0), 2 - 2x on [0, 1), else 0; larq's approx_sign."""
    return np.where((x >= -1) & (x < 0), 2 + 2 * x, np.where((x >= 0) & (x < 1), 2 - 2 * x, 0.0))


def spikingjelly_sigmoid(x, alpha):
    """SpikingJelly surrogate.Sigmoid: alpha s(alpha x)(1 - s(alpha x)), for a step of height 1."""
    return alpha * sigmoid(alpha * x) * (1 - sigmoid(alpha * x))


def spikingjelly_atan(x, alpha):
    """SpikingJelly surrogate.ATan, snnTorch surrogate.atan: alpha/2 / (1 + (pi alpha x/2)^2), step 1."""
    return alpha / 2 / (1 + (np.pi / 2 * alpha * x) ** 2)


def snntorch_triangular(x, threshold):
    """Esser et al. 2016, equation 2: max(0, 1 - |x|) around a threshold of 1."""
    return np.maximum(0, 1 - np.abs(x) / threshold)


def normal_density(x, sigma):
    """Yin, Corradi & Bohte 2021, equation 8: the normal density, for a step of height 1."""
    return np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


def swish_sign(x, beta):
    """Darabi et al. 2018, equation 6, as in larq's swish_sign."""
    return beta * (2 - beta * x * np.tanh(beta * x / 2)) / (1 + np.cosh(beta * x))


FORMULAS = [
    (ApproxSign(), approx_sign),
    (SwishSign(5.0), lambda x: swish_sign(x, 5.0)),
    (SwishSign(1.0), lambda x: swish_sign(x, 1.0)),
    (Sigmoid(4.0), lambda x: 2 * spikingjelly_sigmoid(x, 4.0)),  # a sign is a step of height 2
    (Tanh(1.5), lambda x: 1.5 / np.cosh(1.5 * x) ** 2),
    (Triangular(), lambda x: snntorch_triangular(x, 1.0)),
    (Triangular(2.0, 0.3), lambda x: 0.3 * snntorch_triangular(x, 2.0)),
    (Arctan(2.0), lambda x: 2 * spikingjelly_atan(x, 2.0)),
    (Gaussian(0.5), lambda x: 2 * normal_density(x, 0.5)),
]


@pytest.mark.parametrize(("surrogate", "formula"), FORMULAS, ids=[write(s) for s, _ in FORMULAS])
def test_slope_is_the_formula_of_the_source(surrogate, formula):
    assert np.allclose(surrogate.slope(torch.tensor(X)).numpy(), formula(X), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "surrogate",
    [
        ApproxSign(),
        SwishSign(),
        Sigmoid(),
        Tanh(),
        Triangular(height=2.0),
        Triangular(),
        Arctan(),
        Gaussian(),
    ],
    ids=write,
)
def test_curve_is_odd_and_rises_to_half_the_area_under_the_slope(surrogate):
    x = torch.linspace(0, 1e3, 2_000_001, dtype=torch.float64)
    curve = surrogate.curve(x[[0, -1]])
    assert curve[0] == 0
    assert curve[1] == pytest.approx(torch.trapezoid(surrogate.slope(x), x).item(), abs=1e-6)
    assert torch.allclose(surrogate.curve(-x), -surrogate.curve(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("surrogate", [ApproxSign(), SwishSign(), Sigmoid(), Tanh(), Gaussian()], ids=write)
def test_curve_becomes_the_sign(surrogate):
    x = torch.tensor([-50.0, 0.0, 50.0], dtype=torch.float64)
    assert surrogate.curve(x).tolist() == [-1, 0, 1]
