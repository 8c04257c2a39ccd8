"""The walk between patterns, led by gradients made up for the purpose."""

import numpy as np
import torch

from coarsegrad.sim.walk import Walk


class Made:
    """Pulls every latent to its target, a constant for each pattern; None after ``most`` patterns."""

    close, compiled = 0, None

    def __init__(self, most=100):
        self.most, self.asked = most, []

    def value(self, negative):
        self.asked.append(negative.tolist())
        return None if len(self.asked) > self.most else np.where(negative, -1.0, 0.0) + 0.0


def walked(source, **more):
    how = dict(
        steps=10,
        step_size=0.25,
        recorded=(0, 3, 10),
        window=(-np.inf, np.inf),
        trained=False,
        slots=8,
        width=2,
    )
    w = torch.tensor([-0.6, -1.1], dtype=torch.double)
    found = Walk(**(how | more)).follow(
        source, torch.ones(1).double(), w, torch.tensor([False, False]), method="made", why="up"
    )
    assert w.tolist() == [-0.6, -1.1]
    return found


def test_a_gradient_is_asked_for_once_a_pattern():
    source = Made()
    found = walked(source)
    assert source.asked == [[True, True], [False, True], [False, False]]
    assert found.w[0].tolist() == [-0.6 + 3 * 0.25, -1.1 + 5 * 0.25]
    assert (found.first.item(), found.at.item(), found.settled.item(), found.changes.item()) == (5, 5, 5, 2)
    assert found.signs[:, 0].tolist() == [[-1, -1], [1, -1], [1, 1]]
    assert (found.method, found.why, found.gradients.item()) == ("made", "up", 3)


def test_a_source_without_memory_ends_the_run_where_it_is():
    found = walked(Made(most=1))
    assert (found.ran.item(), found.capped.item(), found.wrong.item()) == (3, True, 1)
    assert found.signs[:, 0].tolist() == [[-1, -1], [1, -1], [0, 0]]


def test_a_latent_outside_the_window_stays():
    found = walked(Made(), window=(-1.0, 1.0))
    assert found.w[0, 1].item() == -1.1 and found.last.item() is False
    assert found.settled.item() == 3
