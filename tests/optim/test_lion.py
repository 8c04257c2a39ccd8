"""Lion against its paper's update, by hand and in NumPy."""

import copy

import numpy as np
import pytest
import torch

from coarsegrad.optim import Clip, Latent, Lion


def test_first_steps_by_hand():
    """Decay 0.5 x lr 0.1 a step; the sign of 0.9 m + 0.1 g turns only with the third gradient."""
    w = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = Lion([w], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    seen = []
    for g in (2.0, -0.1, -1.0):
        w.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        seen += [(w.item(), optimizer.state[w]["m"].item())]
    assert seen == [pytest.approx(pair) for pair in [(0.85, 0.02), (0.7075, 0.0188), (0.772125, 0.008612)]]


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.3, 0.5), (0.0, 0.0)])
def test_it_is_the_update_of_its_paper(betas):
    """Algorithm 2 of arXiv:2302.06675, in NumPy."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(30, 4, 5, generator=generator, dtype=torch.float64)
    w = torch.nn.Parameter(torch.ones(4, 5, dtype=torch.float64))
    optimizer = Lion([w], lr=0.01, betas=betas, weight_decay=0.1)
    paper, m = np.ones((4, 5)), np.zeros((4, 5))
    for g in gradients:
        w.grad = g.clone()
        optimizer.step()
        update = np.sign(betas[0] * m + (1 - betas[0]) * g.numpy())
        paper = paper - 0.01 * (update + 0.1 * paper)
        m = betas[1] * m + (1 - betas[1]) * g.numpy()
        np.testing.assert_allclose(w.detach().numpy(), paper, rtol=1e-12)


def test_gradients_times_a_power_of_two_change_no_bit():
    ends = []
    for factor in (1.0, 2.0**-9, 2.0**6):
        generator = torch.Generator().manual_seed(1)
        w = torch.nn.Parameter(torch.randn(50, generator=generator))
        optimizer = Lion([w], lr=0.01)
        for _ in range(40):
            w.grad = factor * torch.randn(50, generator=generator)
            optimizer.step()
        ends.append(w.detach())
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_no_gradient_no_step_and_a_zero_one_only_decays():
    left, still = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Lion([left, still], lr=0.5, weight_decay=0.5)
    still.grad = torch.zeros(2)
    optimizer.step()
    assert left.tolist() == [1, 1] and still.tolist() == [0.75, 0.75]


def test_a_saved_optimizer_goes_on_bit_for_bit_also_inside_latent(grid):
    def begun():
        w = torch.nn.Parameter(torch.linspace(-1, 1, 6))
        return w, Latent(Lion([w], lr=0.1), [(w, grid("binary"))], [Clip(-0.9, 0.9)])

    def go(w, optimizer, steps):
        for g in steps:
            w.grad = g.clone()
            optimizer.step()

    gradients = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))
    whole, halves, again = begun(), begun(), begun()
    go(*whole, gradients)
    go(*halves, gradients[:4])
    again[0].data.copy_(halves[0].data)
    again[1].load_state_dict(copy.deepcopy(halves[1].state_dict()))
    go(*again, gradients[4:])
    assert torch.equal(again[0], whole[0]) and whole[0].abs().max() <= 0.9


def test_the_closures_loss_is_returned():
    w = torch.nn.Parameter(torch.ones(1))

    def closure():
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert Lion([w], lr=0.1).step(closure) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -1.0}, "lr"),
        ({"betas": (1.0, 0.9)}, r"two numbers in \[0, 1\)"),
        ({"betas": (0.9,)}, "two numbers"),
        ({"weight_decay": -0.1}, "weight_decay"),
    ],
    ids=["lr", "betas", "one beta", "decay"],
)
def test_what_it_cannot_mean_is_refused_also_of_a_group(wrong, message):
    with pytest.raises(ValueError, match=message):
        Lion([torch.nn.Parameter(torch.ones(1))], **wrong)
    with pytest.raises(ValueError, match=message):
        Lion([{"params": [torch.nn.Parameter(torch.ones(1))], **wrong}])
