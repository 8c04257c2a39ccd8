"""Projections, against every member of the set."""

import math
from itertools import product

import pytest
import torch

from coarsegrad.optim import Blend
from coarsegrad.studies.yin2018 import STUDY
from coarsegrad.studies.yin2018.sets import SETS

N = 5


PINNED = {
    "fixed": [0.5, -0.5, 0.5, 0.5], "binary": [1.0, -1.0, 1.0, 1.0], "ternary": [1.3, -1.3, 1.3, 0.0],
    "grid": [9 / 7, -1.5, 15 / 14, 0.0],
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_changes_is_a_new_version_of_the_tasks_that_name_it(name):
    """A task's id holds a set's name: whoever changes what stands here raises ``version`` of its tasks."""
    found = SETS[name].quantize(torch.tensor([[1.3, -1.5, 1.1, 0.1]]).double())
    assert found[0].tolist() == pytest.approx(PINNED[name], abs=1e-6) and set(SETS) == set(PINNED)
    about = [task for task in STUDY.planned("smoke") if task.settings.get("weights") == name]
    assert {task.version for task in about} == {1}


def latents(seed=0, runs=200):
    return torch.randn(runs, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def patterns(levels):
    found = torch.tensor(list(product(levels, repeat=N)), dtype=torch.float64)
    return found[found.abs().sum(1) > 0]


@pytest.mark.parametrize(("name", "levels"), [("binary", (-1, 1)), ("ternary", (-1, 0, 1))])
def test_free_scales_are_nearest_among_all_patterns_at_their_best_scale(name, levels):
    y = latents()
    all_patterns = patterns(levels)
    best = (y @ all_patterns.T).clamp(min=0).square() / all_patterns.square().sum(1)
    nearest = y.square().sum(1) - best.max(1).values
    assert (y - SETS[name].quantize(y)).square().sum(1) == pytest.approx(nearest, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "levels"),
    [("fixed", (-1 / math.sqrt(N), 1 / math.sqrt(N))),
     ("grid", [3 * k / (7 * math.sqrt(N)) for k in range(-7, 8)])],
)  # fmt: skip
def test_fixed_levels_are_nearest_one_by_one(name, levels):
    y = latents(1)
    nearest = (y[..., None] - torch.tensor(levels, dtype=torch.float64)).abs().amin(-1)
    assert torch.allclose((y - SETS[name].quantize(y)).abs(), nearest, atol=1e-14)


@pytest.mark.parametrize("name", SETS)
def test_what_is_quantized_stays_and_rows_do_not_mix(name):
    y = latents(2)
    w = SETS[name].quantize(y)
    assert torch.allclose(SETS[name].quantize(w), w, atol=1e-14)
    assert torch.equal(SETS[name].quantize(y[:3]), w[:3])


@pytest.mark.parametrize("name", SETS)
def test_a_set_serves_the_rule_as_its_quantizer(name):
    y = latents(3)
    w = SETS[name].quantize(y)
    assert torch.allclose(Blend(rho=0.25, cap=1.0).before(y, SETS[name], 0), 0.75 * y + 0.25 * w)


@pytest.mark.parametrize("name", [name for name in SETS if SETS[name].directions])
def test_directions_have_the_largest_inner_product(name):
    """What the bound of `theory.blended` asks of a set."""
    y = latents(4)
    w = SETS[name].quantize(y)
    ways = patterns((-1, 0, 1) if SETS[name].directions == "ternary" else (-1, 1))
    ways = ways / ways.norm(dim=1, keepdim=True)
    assert torch.allclose((y * w).sum(1) / w.norm(dim=1), (y @ ways.T).amax(1), atol=1e-12)
