"""Integrals are right, and their error bounds hold, whatever the function does."""

import math

import pytest
import torch

from coarsegrad.theory.quadrature import NODES, REACH, integrate, octaves, pieces


def edges(*values):
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize("power", range(2 * NODES))
def test_a_polynomial_is_exact_on_one_piece(power):
    value, _ = integrate(lambda x, p: (x**power).unsqueeze(-1), edges(-1.0, 2.0))
    assert float(value) == pytest.approx(
        (2.0 ** (power + 1) - (-1.0) ** (power + 1)) / (power + 1), rel=1e-14
    )


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (lambda x: torch.exp(-x.square() / 2), math.sqrt(2 * math.pi)),
        (lambda x: torch.exp(-x.square() * 5e5), math.sqrt(math.pi / 5e5)),
        (lambda x: 1 / (1 + x.square()), 2 * math.atan(12)),
        (lambda x: x.abs().sqrt(), 4 / 3 * 12**1.5),
        (lambda x: torch.cos(30 * x), 2 * math.sin(360) / 30),
    ],
    ids=["bell", "narrow bell", "lorentz", "root", "wave"],
)
def test_the_error_bound_holds_for_smooth_functions(function, exact):
    ends = pieces(octaves(torch.tensor([0.01], dtype=torch.float64)))
    value, error = integrate(lambda x, p: function(x).unsqueeze(-1), ends)
    assert abs(float(value) - exact) <= float(error) + 1e-14
    assert float(error) < 1e-11


def test_a_jump_nobody_declared_is_closed_in_wherever_it_lies():
    at = torch.rand(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    at[:40] = torch.linspace(-1, -0.98, 40)  # behind the outermost node of the first pieces
    two = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64).expand(len(at), 3)
    value, error = integrate(lambda x, p: (x > at[p]).double().unsqueeze(-1), two, declared=False)
    missed = (value[:, 0] - (1 - at)).abs()
    assert missed.max() < 1e-12 and error.max() < 1e-12
    assert (missed <= error + 2e-14).all()  # what is smaller counts as settled


def test_problems_and_fields_do_not_mix():
    scale = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    ends = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.5, 2.0], [3.0, 3.0, 3.0]], dtype=torch.float64)
    value, error = integrate(lambda x, p: torch.stack([scale[p] * x, x * 0 + 1], -1), ends, 2)
    assert torch.allclose(value, torch.tensor([[0.5, 1.0], [20.0, 2.0], [0.0, 0.0]]).double(), rtol=1e-14)
    assert value.shape == (3, 2) and error.shape == (3,)


def test_what_never_settles_ends_and_says_so():
    def noise(x, p):
        return torch.frac(x * 1e15).unsqueeze(-1)

    value, error = integrate(noise, edges(0.0, 1e-3, 2e-3))
    assert torch.isfinite(value).all() and float(error) > 1e-9
    value, error = integrate(lambda x, p: (x * math.nan).unsqueeze(-1), edges(0.0, 1.0))
    assert value.isnan().all() and error.isnan().all()


def test_no_problem_gives_no_integral():
    value, error = integrate(lambda x, p: x.unsqueeze(-1), torch.zeros(0, 3))
    assert value.shape == (0, 1) and error.shape == (0,)


def test_pieces_are_sorted_inside_the_reach_with_both_ends():
    found = pieces(edges(3.0, -50.0), torch.tensor([[1.0, math.inf]]).double())
    assert found.tolist() == [[-REACH, -REACH, 1.0, 3.0, REACH, REACH]]


def test_octaves_reach_from_a_quarter_of_the_unit_to_the_end():
    found = octaves(torch.tensor([1.0, 0.01], dtype=torch.float64))
    assert found.shape[0] == 2 and (found[:, found.shape[1] // 2] == 0).all()
    assert found[1].abs().sort().values[1] == 0.0025 and found.abs().max(1).values.min() >= REACH
    assert octaves(torch.zeros(0, dtype=torch.float64)).shape[0] == 0
