import math
from pathlib import Path

import torch

from coarsegrad.studies.yin2019 import descents
from coarsegrad.studies.yin2019.fields import PAPERS
from coarsegrad.theory import critical

HERE = Path("nowhere")


def test_every_start_ends_somewhere(smoke):
    for name in (*PAPERS, "hardtanh"):
        rows = [row for row in smoke["ends"] if row["surrogate"] == name]
        assert sorted(row["exists"] for row in rows) == [False, True]
        assert sum(row[kind] for row in rows for kind in critical.KINDS) == sum(row["starts"] for row in rows)
        assert all(row["starts"] > 0 for row in rows)


def test_near_the_spurious_minimizer_each_teacher_has_a_row_and_a_path(smoke):
    for name in PAPERS:
        rows = [row for row in smoke["near"] if row["surrogate"] == name]
        assert sum(row["what"] == "teacher" for row in rows) == 4
        path = [row for row in rows if row["what"] == "path" and row["teacher"] == 0]
        assert path[0]["step"] == 0 and len(path) > 100
        assert abs(path[0]["loss"] - path[0]["bottom"]) < 0.2 * path[0]["bottom"] or name == "identity"


def test_the_twin_is_closer_with_more_samples():
    settings = {"seed": 1, "surrogate": "relu", "runs": 10, "steps": 20, "step_size": 0.1, "stretch": 10.0}
    few, many = (next(iter(descents.twin({**settings, "samples": n}, HERE)))["off"] for n in (50, 2000))
    assert many < 0.4 * few


def slices(smoke, side):
    return [row for row in smoke["slice"] if row["side"] == side]


def test_the_slice_holds_the_critical_points_that_exist(smoke):
    found = {
        row["is"]: (row["theta"], row["kappa"])
        for row in slices(smoke, "exists")
        if row["what"] == "critical"
    }
    assert found["global minimizer"] == (0.0, 1.0)
    assert math.isclose(found["spurious minimizer"][0], math.pi)
    assert math.isclose(found["spurious minimizer"][1], -1)
    theta, kappa = found["saddle"]
    assert math.isclose(kappa, 1 - 2 * theta / math.pi)
    without = [row["is"] for row in slices(smoke, "fails") if row["what"] == "critical"]
    assert without == ["global minimizer"]


def test_on_a_level_line_the_loss_is_the_level(smoke):
    from coarsegrad.theory import hidden

    rows = [row for row in slices(smoke, "exists") if row["what"] == "level" and row["low"] is not None]
    v_star = torch.tensor([1.0, -0.6, 0.8], dtype=torch.float64)
    axis, origin = descents.slice_axes(v_star)
    for row in rows[::17]:
        theta = torch.tensor(row["theta"], dtype=torch.float64)
        w = torch.stack((theta.cos(), theta.sin()))
        for kappa in (row["low"], row["high"]):
            loss = hidden.loss(
                origin + kappa * axis, w, v_star, torch.tensor([1.0, 0.0], dtype=torch.float64)
            )
            assert math.isclose(loss, row["level"], rel_tol=1e-9, abs_tol=1e-12)


def test_the_best_v_of_an_angle_lies_on_the_slice():
    v_star = torch.tensor([1.0, -0.6, 0.8], dtype=torch.float64)
    axis, origin = descents.slice_axes(v_star)
    for family in (critical.global_minimizer, critical.spurious_minimizer, critical.saddle):
        point = family(v_star)
        torch.testing.assert_close(origin + (1 - 2 * point.theta / math.pi) * axis, point.v)


def test_arrows_point_down_the_loss(smoke):
    rows = [row for row in slices(smoke, "exists") if row["what"] == "arrow"]
    fields = {row["field"] for row in rows}
    assert fields == {"true", *PAPERS}
    true = {(row["theta"], row["kappa"]): row["d_theta"] for row in rows if row["field"] == "true"}
    for row in rows:  # across w, a coarse gradient never points the other way
        assert row["d_theta"] * true[row["theta"], row["kappa"]] >= -1e-12


def test_paths_of_the_clipped_relu_go_down(smoke):
    rows = [row for row in slices(smoke, "fails") if row["what"] == "path"]
    for start in range(5):
        mine = [row for row in rows if row["surrogate"] == "clipped_relu" and row["start"] == start]
        assert len(mine) > 10 and mine[-1]["loss"] < mine[0]["loss"]
