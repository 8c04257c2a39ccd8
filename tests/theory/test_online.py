import math
from dataclasses import replace

import pytest
import torch

from coarsegrad.problem.online import Even, Online
from coarsegrad.theory.online import crossing, error, inputs, settled, stationary, unquantized

BOTH = [Even(2, 2.0), Even(3, 1.5), Even(1, 0.8), Even(2, 2.0, zero=True)]
LINE = torch.linspace(-12, 12, 1_200_001, dtype=torch.float64)


@pytest.mark.parametrize("grid", BOTH, ids=lambda g: f"{g.bits}bits-{g.reach:g}{'-zero' * g.zero}")
def test_what_a_quantizer_does_to_an_input_is_the_integral(grid):
    density = torch.exp(-LINE.square() / 2) / math.sqrt(2 * math.pi)
    kappa, nu = inputs(grid)
    assert kappa == pytest.approx(float(torch.trapezoid(LINE * grid(LINE) * density, LINE)), abs=1e-4)
    assert nu == pytest.approx(float(torch.trapezoid(grid(LINE) ** 2 * density, LINE)), abs=1e-4)
    assert kappa**2 <= nu


@pytest.mark.parametrize("grid", [None, Even(2, 2.0)], ids=["float", "quantized"])
def test_the_error_is_the_mean_square_of_what_is_said_less_the_teachers_word(grid):
    """Against 200,000 samples: five standard errors, a false alarm in a million."""
    random = torch.Generator().manual_seed(0)
    d = 12
    q = torch.randn(d, generator=random, dtype=torch.float64)
    problem = Online(Even(2, 2.0), grid, teacher=tuple(range(1, d + 1)))
    teacher = torch.tensor(problem.teacher, dtype=torch.float64)
    x = torch.randn(200_000, d, generator=random, dtype=torch.float64)
    seen = grid(x) if grid else x
    squares = ((seen @ q - x @ teacher) ** 2) / d
    found = float(error(problem, q.square().mean(), (q * teacher).mean()))
    assert abs(found - float(squares.mean())) < 5 * float(squares.std()) / math.sqrt(len(squares))


@pytest.mark.parametrize("step", [0.1, 1.0, 2.5])
@pytest.mark.parametrize("grid", [None, Even(2, 2.0)], ids=["float", "quantized"])
def test_float_weights_are_their_means_and_variances(grid, step):
    """The error from the mean and variance of every weight, by small Euler steps."""
    problem = Online(None, grid, (1.0, -0.5), step, 0.3, 0.7)
    kappa, nu = inputs(grid)
    teacher = torch.tensor(problem.teacher, dtype=torch.float64)
    mean, variance = torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.49, dtype=torch.float64)
    h, found = 1e-3, []
    for k in range(2001):
        now = error(problem, (mean**2 + variance).mean(), (mean * teacher).mean())
        if k % 1000 == 0:
            found.append(float(now))
        mean = mean - h * step * (nu * mean - kappa * teacher)
        variance = variance + h * (-2 * step * nu * variance + step**2 * nu * (now + 0.09))
    assert unquantized(problem, torch.tensor([0.0, 1.0, 2.0])).tolist() == pytest.approx(found, rel=2e-2)


def test_float_weights_end_where_they_come_to_or_nowhere():
    problem = Online(None, Even(3, 2.0), step_size=0.8, noise=0.4)
    assert settled(problem) == pytest.approx(float(unquantized(problem, torch.tensor(1e6))), rel=1e-12)
    assert settled(Online(None, step_size=2.0)) == math.inf
    grows = unquantized(Online(None, step_size=2.0, noise=1.0), torch.tensor([0.0, 10.0]))
    assert float(grows.diff()) == pytest.approx(4 * 10.0)


@pytest.mark.parametrize("teacher", [0.1, 0.9, 1.7])
@pytest.mark.parametrize("grid", BOTH[:2], ids=["2bits", "3bits"])
@pytest.mark.parametrize("seen", [False, True], ids=["float-inputs", "quantized-inputs"])
def test_small_steps_take_turns_on_the_two_levels_beside(teacher, grid, seen):
    problem = Online(grid, grid if seen else None, (teacher,), step_size=1e-7)
    kappa, nu = inputs(problem.inputs)
    aim, found = kappa * teacher / nu, stationary(problem)
    least = teacher**2 * (1 - kappa**2 / nu)
    if aim >= grid.reach:
        assert found.error == pytest.approx(least + nu * (aim - grid.reach) ** 2)
        return
    low = max(level for level in grid.levels if level < aim)
    high = low + grid.spacing
    assert found.error == pytest.approx(least + nu * (aim - low) * (high - aim), rel=1e-5)
    assert float(found.shares[0] @ torch.tensor(grid.levels).double()) == pytest.approx(aim, abs=1e-6)


@pytest.mark.parametrize("step", [0.3, 1.5, 4.0])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_fixed_point_is_that_of_the_density(step, noise):
    """The density integrated on a line, and the error that it makes."""
    problem = Online(Even(2, 2.0), Even(3, 2.0), (1.0, -0.3), step, noise)
    kappa, nu = inputs(problem.inputs)
    found = stationary(problem)
    line = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    q = Even(2, 2.0)(line)
    square = overlap = 0.0
    for value in problem.teacher:
        pull = 2 * (kappa * value - nu * q) / (step * nu * (found.error + noise**2))
        log = torch.nn.functional.pad(torch.cumulative_trapezoid(pull, line), (1, 0))
        density = torch.softmax(log, 0)
        square += float(density @ q**2) / 2
        overlap += float(density @ q) * value / 2
    again = error(problem, torch.tensor(square), torch.tensor(overlap))
    assert float(again) == pytest.approx(found.error, rel=1e-3)
    means = found.shares @ torch.tensor(problem.weights.levels).double()
    assert means.tolist() == pytest.approx([kappa * value / nu for value in problem.teacher], abs=1e-6)


def test_weights_whose_aim_is_out_of_reach_count_at_the_last_level():
    found = stationary(Online(Even(2, 1.0), teacher=(1.5, -1.0, 0.2), step_size=0.5))
    assert found.shares[0].tolist() == [0, 0, 0, 1] and found.shares[1].tolist() == [1, 0, 0, 0]
    assert float(found.shares[2].min()) > 0
    assert stationary(Online(Even(2, 1.0), teacher=(1.5,))).error == pytest.approx(0.25)


def test_the_fixed_point_comes_to_that_of_float_weights_with_more_bits():
    problem = Online(Even(8, 6.0), None, (1.0, 0.4, -0.2), 0.7, 0.6)
    assert stationary(problem).error == pytest.approx(settled(problem), rel=0.01)
    assert stationary(replace(problem, weights=Even(4, 6.0))).error > 1.1 * settled(problem)


def test_a_crossing_is_a_way_at_a_speed():
    grid = Even(2, 2.0)
    kappa, nu = inputs(grid)
    speed = 0.1 * (kappa - nu * 2 / 3)
    assert crossing(Online(grid, grid, step_size=0.1)) == pytest.approx(4 / 3 / speed)
    assert crossing(Online(Even(2, 3.5), step_size=0.1)) == math.inf
    assert crossing(Online(Even(1, 0.5), step_size=0.1)) == math.inf


def test_what_needs_other_weights_says_so():
    with pytest.raises(ValueError, match="see unquantized"):
        stationary(Online(None))
    with pytest.raises(ValueError, match="one positive value"):
        crossing(Online(Even(2, 1.0), teacher=(1.0, 2.0)))
