"""Muon against torch's own where there is one, and against the singular value decomposition."""

import copy

import pytest
import torch

from coarsegrad.optim import Lion, Muon, Together
from coarsegrad.optim.muon import orthogonal


def gradients(steps, *shape, seed=0):
    return torch.randn(steps, *shape, generator=torch.Generator().manual_seed(seed))


def after(optimizer, w, steps):
    for g in steps:
        w.grad = g.clone()
        optimizer.step()
    return w.detach()


@pytest.mark.parametrize("shape", [(6, 4), (3, 9), (5, 5)], ids=["tall", "wide", "square"])
def test_on_matrices_it_is_torchs_own_bit_for_bit(shape):
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon of its own: 2.9 has")
    settings = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    steps = gradients(12, *shape)
    found = after(Muon([ours], **settings), ours, steps)
    known = after(torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **settings), theirs, steps)
    assert torch.equal(found, known)


def test_a_convolution_is_the_matrix_of_its_outputs():
    steps = gradients(6, 4, 3, 2, 2)
    conv, matrix = torch.nn.Parameter(torch.ones(4, 3, 2, 2)), torch.nn.Parameter(torch.ones(4, 12))
    found = after(Muon([conv], lr=0.1), conv, steps)
    assert torch.equal(found.flatten(1), after(Muon([matrix], lr=0.1), matrix, steps.flatten(2)))


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (16, 16)], ids=["tall", "wide", "square"])
def test_the_step_is_nearly_the_polar_factor(shape):
    """Same singular vectors, and values from 0.7 to 1.2 (0.6 to 1.3 with bfloat16) of those not tiny."""
    g = gradients(1, *shape)[0]
    u, s, v = torch.linalg.svd(g, full_matrices=False)
    told = u.T @ orthogonal(g).float() @ v.T
    kept = s > 0.02 * s.norm()
    assert ((told.diag()[kept] > 0.6) & (told.diag()[kept] < 1.3)).all()
    assert (told - told.diag().diag()).abs().max() < 0.05


def test_a_step_has_about_a_fifth_of_the_rate_as_its_size():
    w = torch.nn.Parameter(torch.zeros(64, 256))
    after(Muon([w], lr=1.0), w, gradients(1, 64, 256))
    assert w.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.2)


def test_gradients_times_a_power_of_two_change_no_bit():
    ends = []
    for factor in (1.0, 2.0**-9, 2.0**6):
        w = torch.nn.Parameter(torch.ones(6, 4))
        ends.append(after(Muon([w], lr=0.1), w, factor * gradients(9, 6, 4)))
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_no_gradient_no_step_and_a_zero_one_only_decays():
    left, still = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = Muon([left, still], lr=0.5, weight_decay=0.5)
    still.grad = torch.zeros(2, 2)
    optimizer.step()
    assert left.unique().tolist() == [1] and still.unique().tolist() == [0.75]


def test_a_saved_optimizer_goes_on_bit_for_bit():
    def begun():
        w, bias = torch.nn.Parameter(torch.ones(4, 3)), torch.nn.Parameter(torch.ones(3))
        return w, bias, Together([Muon([w], lr=0.1), Lion([bias], lr=0.1)])

    def go(w, bias, optimizer, steps):
        for g in steps:
            w.grad, bias.grad = g.clone(), g[0].clone()
            optimizer.step()

    steps = gradients(8, 4, 3)
    whole, halves, again = begun(), begun(), begun()
    go(*whole, steps)
    go(*halves, steps[:4])
    for mine, theirs in zip(again[:2], halves[:2], strict=True):
        mine.data.copy_(theirs.data)
    again[2].load_state_dict(copy.deepcopy(halves[2].state_dict()))
    go(*again, steps[4:])
    assert torch.equal(again[0], whole[0]) and torch.equal(again[1], whole[1])


def test_the_closures_loss_is_returned():
    w = torch.nn.Parameter(torch.ones(2, 2))

    def closure():
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert Muon([w], lr=0.1).step(closure) == 4


def test_a_vector_is_refused_with_the_mend():
    with pytest.raises(ValueError, match=r"got shape \(3,\).*Together"):
        Muon([torch.nn.Parameter(torch.ones(3))])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"lr": -1.0}, "lr"), ({"momentum": 1.0}, "momentum"), ({"weight_decay": -0.1}, "weight_decay")],
    ids=["lr", "momentum", "decay"],
)
def test_what_it_cannot_mean_is_refused_also_of_a_group(wrong, message):
    with pytest.raises(ValueError, match=message):
        Muon([torch.nn.Parameter(torch.ones(2, 2))], **wrong)
    with pytest.raises(ValueError, match=message):
        Muon([{"params": [torch.nn.Parameter(torch.ones(2, 2))], **wrong}])


def test_only_gradients_below_1e_7_make_smaller_steps():
    g = gradients(1, 6, 4)[0]
    sizes = [orthogonal(g / g.norm() * size).float().norm().item() for size in (1e-30, 1e-6, 1.0)]
    assert sizes[0] < 1e-3 and sizes[1] == pytest.approx(sizes[2], rel=0.02)
