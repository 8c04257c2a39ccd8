import math

import pytest
import torch

from coarsegrad.problem import Descent, Problem, Window
from coarsegrad.problem.descent import Watch, checked_start, checked_step, descend

PROBLEM = Problem(torch.ones(2, dtype=torch.double), torch.tensor([1.0, 0.0], dtype=torch.double))


def watched(losses, norms, angles, window, record=None):
    watch = Watch(PROBLEM, len(losses) - 1, record, window)
    for step, row in enumerate(zip(losses, angles, norms, strict=True)):
        watch.see(step, *(torch.tensor([x], dtype=torch.double) for x in row))
    return watch.close(torch.zeros(1, 2), torch.zeros(1, 2), "by hand")


def test_rises_are_counted_inside_the_window_and_outside():
    angles = [1.0, 1.0, 1.0, 1.0, 3.1, 1.0, 1.0]
    norms = [1.0, 1.0, 1.0, 0.2, 1.0, 1.0, 1.0]
    losses = [5.0, 6.0, 4.0, 4.5, 4.0, 4.25, 4.25 + 1e-13]
    seen = watched(losses, norms, angles, Window(norm=0.5, angle=0.1))
    assert seen.steps_inside.item() == 3  # 0-1, 1-2, 5-6
    assert (seen.rises_inside.item(), seen.rises_outside.item()) == (1, 2)
    assert (seen.largest_rise_inside.item(), seen.largest_rise_outside.item()) == (1.0, 0.5)
    assert seen.smallest_norm.item() == 0.2


def test_the_window_is_closed():
    seen = watched(
        [1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.1, math.pi - 0.1, 0.0999], Window(norm=0.5, angle=0.1)
    )
    assert seen.steps_inside.item() == 1


def test_traces_are_kept_where_asked():
    seen = watched([3.0, 2.0, 1.0], [1.0] * 3, [1.0] * 3, None, record=(2, 1))
    assert seen.recorded == (1, 2)
    assert seen.loss.tolist() == [[2.0], [1.0]]
    assert watched([3.0, 2.0], [1.0] * 2, [1.0] * 2, None, record=()).loss.shape == (0, 1)


def test_the_loop_steps_both_layers_from_the_old_point():
    def field(v, w):
        return (v.sum(-1)), w[:, :2], v[:, :2]

    start = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, 5.0]]).double()
    end = descend(PROBLEM, field, start, steps=1, step_size=0.5, method="test")
    assert end.v.tolist() == [[-0.5, -0.5]]
    assert end.w.tolist() == [[2.5, 4.0]]
    assert (end.steps, end.recorded, end.method) == (1, (0, 1), "test")
    assert torch.allclose(end.angle[0], torch.atan2(torch.tensor(5.0), torch.tensor(3.0)).double())


def test_binary_weights_move_their_latents_and_show_their_signs():
    seen = []

    def field(v, w):
        seen.append(w)
        return v.sum(-1), v, torch.ones_like(w)

    w_star = torch.tensor([0.5] * 4, dtype=torch.double)
    problem = Problem(torch.ones(2, dtype=torch.double), w_star, weights="binary", trained="w")
    end = descend(
        problem, field, (torch.ones(1, 2), torch.full((1, 4), 0.2)), steps=2, step_size=0.5, method="test"
    )
    assert [w[0, 0].item() for w in seen] == [0.5, -0.5, -0.5]
    assert torch.allclose(end.w, torch.full((1, 4), -0.8, dtype=torch.double))
    assert end.v.tolist() == [[1.0, 1.0]]


def test_runs_computed_apart_are_joined():
    parts = [watched([3.0, 2.0, 2.5], [1.0] * 3, [1.0] * 3, None) for _ in range(3)]
    whole = Descent.joined(parts)
    assert whole.loss.shape == (2, 3)
    assert whole.rises_inside.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "mend"),
    [
        (lambda: Window(norm=-1.0), "needs norm >= 0"),
        (lambda: Window(angle=2.0), "angle < pi/2"),
        (lambda: Watch(PROBLEM, -1, None, None), "steps=... is a whole number"),
        (lambda: Watch(PROBLEM, 3, (4,), None), "names steps from 0 to 3"),
        (lambda: checked_step(0.0), "positive and finite"),
        (
            lambda: checked_start(PROBLEM, (torch.ones(2, 2), torch.ones(3, 2))),
            r"problem.starts\(runs, seed\)",
        ),
        (lambda: checked_start(PROBLEM, (torch.ones(2), torch.ones(2))), r"needs shapes \[runs, 2\]"),
        (lambda: checked_start(PROBLEM, (torch.ones(2, 2), torch.ones(2, 2) * math.inf)), "finite"),
    ],
)
def test_bad_input_is_refused_with_the_mend(call, mend):
    with pytest.raises(ValueError, match=mend):
        call()
