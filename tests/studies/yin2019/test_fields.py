import math
from pathlib import Path

import pytest
import torch

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies.yin2019 import fields

HERE = Path("nowhere")  # no measure of this file keeps anything


def test_every_surrogate_with_a_slope_is_asked():
    assert set(SURROGATES) - set(fields.SLOPED) == {"ewgs"}
    assert all(torch.isfinite(fields.surrogate_of(name).slope(torch.zeros(1))) for name in fields.SLOPED)


def test_random_points_keep_their_promise_and_depend_on_their_number_alone():
    for number in range(30):
        v, w, v_star, w_star = fields.random_point(1, number)
        assert 1 <= len(v) == len(v_star) <= 8 and 2 <= len(w) == len(w_star) <= 12
        assert 0.3 <= w.norm() <= 5 and math.isclose(w_star.norm(), 1)
    torch.testing.assert_close(fields.random_point(1, 29)[0], v)


def test_a_comparison_counts_standard_errors():
    blocks = torch.tensor([[1.0, 5.0], [3.0, 5.0]]).double()
    found = fields.compared(blocks, torch.tensor([1.0, 5.0]).double())
    assert found["comparisons"] == 2 and found["df"] == 1
    assert math.isclose(found["t"], 1.0)  # mean 2, error 1, formula 1; where nothing varies and all agrees, 0
    assert (found["dot"], found["size"]) == (27.0, 26.0)
    assert fields.compared(blocks, torch.tensor([2.0, 4.0]).double())["t"] == math.inf


def test_agreement_speaks_of_every_formula_at_one_point():
    rows = list(fields.agreement({"seed": 1, "number": 0, "blocks": 8, "samples": 50}, HERE))
    assert [row["what"] for row in rows[:3]] == ["loss", "dv", "dw"]
    assert [row["surrogate"] for row in rows[3::2]] == list(fields.SLOPED)
    assert all(row["t"] >= 0 and row["m"] == rows[0]["m"] for row in rows)


@pytest.mark.parametrize("name", ["relu", "identity"])
def test_alignment_ends_with_a_summary(name):
    *bins, last = fields.alignment({"seed": 1, "surrogate": name, "points": 200, "bins": 5}, HERE)
    assert [row["what"] for row in bins] == ["bin"] * 5 and last["what"] == "all"
    assert last["smallest"] <= last["low"] <= last["median"] <= last["high"] <= 1
    assert last["tried"] == 200 and last["uphill"] == 0
    assert (last["bound"] is None) == (name == "identity")


def test_critical_points_are_looked_at_by_all_surrogates(smoke):
    rows = [row for row in smoke["critical"] if row["number"] == 0]
    assert sum(row["what"] == "zero" for row in rows) == 6
    assert [row["surrogate"] for row in rows if row["what"] == "push"] == list(fields.SLOPED)
    near = [row["ratio"] for row in rows if row["what"] == "nearby" and row["surrogate"] == "identity"]
    assert near == sorted(near)


def test_along_a_line_more_samples_are_smoother():
    settings = {"seed": 1, "m": 3, "n": 4, "reach": 2.0, "grid": 30, "trials": 4, "surrogate": "relu"}
    rough = {}
    for n in (20, 2000):
        rows = list(fields.along_a_line({**settings, "samples": n}, HERE))
        assert sum(row["what"] == "curve" for row in rows) == 31
        rough[n] = sum(row["off"] for row in rows if row["what"] == "trial")
    assert rough[2000] < 0.5 * rough[20]


def test_the_line_is_that_of_the_full_problem():
    """Projecting the samples onto the line changes no loss."""
    from coarsegrad.sim import hidden

    draw = torch.Generator().manual_seed(0)
    v, v_star, w, w_star, down = (torch.randn(4, generator=draw, dtype=torch.double) for _ in range(5))
    z = torch.randn(50, 4, 4, generator=draw, dtype=torch.double)
    planes = torch.stack((z @ w, z @ down, z @ w_star), -1)
    at, teacher = torch.tensor([1.0, 0.7, 0.0]).double(), torch.tensor([0.0, 0.0, 1.0]).double()
    here = hidden.loss(v, at, v_star, teacher, planes)
    torch.testing.assert_close(here, hidden.loss(v, w + 0.7 * down, v_star, w_star, z))
