"""What is said of features, on features that are known."""

import pytest
import torch

from coarsegrad.studies.long2021.features import all_classes, features, lie, nearest


def test_features_are_what_the_last_layer_is_given_and_the_model_is_left_alone():
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    images = torch.randn(7, 3)
    batches = [(part, None) for part in images.split(3)]
    assert torch.equal(features(model, batches), model[:2](images).detach().double())
    assert not model[2]._forward_pre_hooks


def planes(angle=30.0):
    """50 points on each of two planes of four dimensions that meet at this angle."""
    draw, labels = torch.Generator().manual_seed(0), torch.tensor([0] * 50 + [1] * 50)
    turn = torch.tensor(angle).deg2rad()
    tilted = torch.tensor([[turn.cos(), 0, turn.sin(), 0], [0, 0, 0, 1.0]]).double()
    plane = torch.eye(4).double()[:2]
    found = [torch.randn(50, 2, generator=draw).double() @ basis for basis in (plane, tilted)]
    return torch.cat(found), labels


def test_angles_of_two_planes_that_meet_at_thirty_degrees():
    seen = lie(*planes(), size=2)
    assert seen["captured"] == pytest.approx(1) and seen["angle"] == pytest.approx(30)
    assert seen["conditioned"] == pytest.approx((1 - 0.75**0.5) ** 0.5)


def test_more_directions_than_dimensions_are_dependent():
    found, labels = planes()
    assert lie(found, labels, size=3)["conditioned"] == 0 and lie(found, labels, size=1)["conditioned"] > 0


def test_the_nearest_two_rays_are_drawn_at_their_angle():
    length = torch.linspace(1, 2, 20).double()[:, None]
    rays = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1.0]]).double()
    found = torch.cat([length * ray for ray in rays])
    rows = list(nearest(found, torch.arange(3).repeat_interleave(20)))
    assert {row["class"] for row in rows} == {0, 1}
    angle = torch.tensor(0.6).double().acos().rad2deg().item()
    assert all(row["between"] == pytest.approx(angle) for row in rows)
    ends = torch.tensor([[r["x"], r["y"]] for r in rows if r["what"] == "ray"]).double()
    across = [2 * 0.2**0.5, -2 * 0.2**0.5]
    torch.testing.assert_close(ends[:, 1], torch.tensor(across).double())
    torch.testing.assert_close(ends.norm(dim=-1), torch.full((2,), 2.0).double())
    for k in (0, 1):  # every point is on its ray
        points = torch.tensor([[r["x"], r["y"]] for r in rows if r["what"] == "point" and r["class"] == k])
        cross = points[:, 0] * ends[k, 1] - points[:, 1] * ends[k, 0]
        assert len(points) == 20 and cross.abs().max() < 1e-6


def test_all_classes_are_shown_without_what_they_share():
    shared = torch.tensor([5.0, 0, 0]).double()
    parts = torch.tensor([[0, 2.0, 0], [0, -2.0, 0], [0, 0, 1.0], [0, 0, -1.0]]).double()
    found = (shared + parts).repeat(3, 1)
    rows = list(all_classes(found, torch.arange(4).repeat(3)))
    assert len(rows) == 12
    assert {(round(abs(r["x"]), 6), round(abs(r["y"]), 6)) for r in rows} == {(2.0, 0.0), (0.0, 1.0)}
