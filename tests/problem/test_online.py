import math
from itertools import pairwise

import pytest
import torch

from coarsegrad.core.quantizers import Nonuniform
from coarsegrad.problem.online import Even, Online

GRIDS = [Even(1, 2.0), Even(2, 2.0), Even(2, 1.5, zero=True), Even(3, 0.7), Even(8, 3.0), Even(8, 3.0, True)]


def named(grid):
    return f"{grid.bits}bits{'-zero' * grid.zero}"


@pytest.mark.parametrize("grid", GRIDS, ids=named)
def test_levels_are_even_symmetric_and_reach_the_ends(grid):
    assert len(grid.levels) == grid.count == 2**grid.bits - grid.zero
    assert grid.levels == pytest.approx([-level for level in reversed(grid.levels)])
    assert (grid.levels[0], grid.levels[-1]) == pytest.approx((-grid.reach, grid.reach))
    assert torch.tensor(grid.levels).diff().numpy() == pytest.approx(grid.spacing, rel=1e-4)
    assert (0.0 in grid.levels) == grid.zero


@pytest.mark.parametrize("grid", GRIDS, ids=named)
def test_each_number_goes_to_the_level_that_core_would_choose(grid):
    x = torch.linspace(-5, 5, 4001, dtype=torch.float64) + 1e-7
    chosen = Nonuniform(grid.levels)(x, scale=torch.tensor(1.0))
    torch.testing.assert_close(grid(x), chosen, rtol=0, atol=1e-12)
    assert grid.breaks == pytest.approx([(a + b) / 2 for a, b in pairwise(grid.levels)])


def test_dtype_and_input_stay_as_they_are():
    x = torch.tensor([0.3, -0.3], dtype=torch.float32)
    assert Even(2, 2.0)(x).dtype == torch.float32 and x.tolist() == pytest.approx([0.3, -0.3])


@pytest.mark.parametrize(
    "make",
    [lambda: Even(0, 1.0), lambda: Even(1, 1.0, zero=True), lambda: Even(9, 1.0), lambda: Even(2, 0.0),
     lambda: Even(2, math.inf), lambda: Online(None, teacher=(0.0,)), lambda: Online(None, step_size=0.0),
     lambda: Online(None, noise=-1.0), lambda: Online(None, start=0.0),
     lambda: Online(None, start=math.nan)],
    ids=["no-bits", "one-level", "many-bits", "no-reach", "endless", "no-teacher", "no-step", "noise",
         "point", "nan"],
)  # fmt: skip
def test_what_is_no_problem_is_refused(make):
    with pytest.raises(ValueError, match=r"\(\w+=\.\.\.\)"):
        make()


def test_the_teachers_size_is_its_mean_square():
    assert Online(None, teacher=(1, -2, 2)).size == pytest.approx(3.0)
