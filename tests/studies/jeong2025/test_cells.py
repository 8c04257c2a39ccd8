import pytest
import torch

from coarsegrad.studies.jeong2025 import cells

SETTINGS = {
    "n": 8, "m": 3, "v": "unit", "runs": 6, "surrogate": "relu", "step_size": 0.3, "steps": 200, "seed": 1,
    "multiples": (0.5, 1, 2, 4, 8, 16, 32, 64), "extra": 2,
}  # fmt: skip


def test_teachers_are_binary_and_a_run_has_its_own():
    given = cells.problem(SETTINGS, 40, seed=3)
    assert given.samples == 40 and given.w_star.shape == (6, 8) and given.trained == "w"
    assert torch.allclose(given.w_star.abs(), torch.full((6, 8), 8**-0.5).double())
    assert torch.allclose(given.v_star.norm(dim=-1), torch.ones(6).double())
    ones = cells.problem({**SETTINGS, "v": "ones"}, 40, seed=3).v_star
    assert torch.allclose(ones, torch.full((6, 3), 3**-0.5).double())
    with pytest.raises(ValueError, match="known: unit, ones"):
        cells.problem({**SETTINGS, "v": "other"}, 40, seed=3)


def test_a_line_of_cells_ascends_ends_when_sure_and_then_looks_closer():
    rows = list(cells.threshold(SETTINGS, None))
    sizes = [row["samples"] for row in rows]
    assert sizes[:4] == [4, 8, 16, 32]
    assert all(0 <= row[name] <= 6 for row in rows for name in cells.CRITERIA)
    assert all(row["last"] <= row["hit"] and row["left"] == 0 for row in rows)
    sure = [all(row[name] == 6 for name in cells.CRITERIA) for row in rows]
    assert sum(sure[: len(sizes)]) >= 3 and max(sizes) < 64 * 8
    assert rows == list(cells.threshold(SETTINGS, None))


def test_a_cell_is_that_of_the_oracle():
    fast = cells.cell(SETTINGS, 16, threads=1)
    slow = cells.cell({**SETTINGS, "method": "direct"}, 16)
    assert fast.method != "direct"
    if fast.method == "events":
        assert torch.equal(fast.wrong, slow.wrong) and torch.equal(fast.first, slow.first)


@pytest.mark.parametrize(
    ("won", "middle"), [((0, 0, 10), 28), ((0, 10, 10), 14), ((10, 10, 10), None), ((0, 0, 0), None)]
)
def test_the_gap_around_one_half_is_halved(won, middle):
    done = {N: {"last": k, "runs": 10} for N, k in zip((10, 20, 40), won, strict=True)}
    assert cells._between(done, "last") == middle


def test_neighbours_without_room_are_left():
    assert cells._between({10: {"last": 0, "runs": 10}, 11: {"last": 10, "runs": 10}}, "last") is None
