"""Bop against the update of its paper and of Larq, by hand; several optimizers as one."""

import copy

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR

from coarsegrad.optim import Bop, Clip, Latent, Together


@pytest.fixture
def binary(grid):
    return grid("binary")


def gradients(steps, n=40, seed=0):
    return torch.randn(steps, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def signs(n=40):
    return torch.where(torch.arange(n) % 3 == 0, -1.0, 1.0).double()


def test_bop_is_the_update_of_its_paper_and_of_larq(binary):
    w = torch.nn.Parameter(signs())
    optimizer = Bop([(w, binary)], threshold=0.1, lr=0.2)
    paper, larq, m, flips = signs().numpy(), signs().numpy(), np.zeros(40), 0
    for g in gradients(40):
        w.grad = g
        optimizer.step()
        m = (1 - 0.2) * m + 0.2 * g.numpy()
        flip = (np.abs(m) > 0.1) & (np.sign(m) == np.sign(paper))
        paper, flips = np.where(flip, -paper, paper), flips + flip.sum()
        larq = np.sign(-np.sign(larq * m - 0.1) * larq)
        np.testing.assert_array_equal(w.detach().numpy(), paper)
        np.testing.assert_array_equal(w.detach().numpy(), larq)
    assert flips > 40


def test_a_flip_goes_against_the_gradient(binary):
    target = signs()
    w = torch.nn.Parameter(-target)
    optimizer = Bop([(w, binary)], threshold=0.1, lr=0.5)
    for _ in range(5):
        w.grad = w.detach() - target
        optimizer.step()
    assert torch.equal(w, target)


def test_a_flip_keeps_the_magnitude(binary):
    start = gradients(1, seed=7)[0]
    w = torch.nn.Parameter(start.clone())
    optimizer = Bop([(w, binary)], threshold=0.01, lr=0.3)
    for g in gradients(20):
        w.grad = g
        optimizer.step()
    assert torch.equal(w.abs(), start.abs())
    assert not torch.equal(w, start)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_zero_can_flip(binary, dtype):
    w = torch.nn.Parameter(torch.zeros(2, dtype=dtype))
    w.grad = torch.tensor([1.0, -1.0], dtype=dtype)
    Bop([(w, binary)], threshold=0.1, lr=0.5).step()
    assert binary.quantize(w.detach()).tolist() == [-1, 1]


def test_nothing_flips_below_the_threshold_and_nothing_without_gradient(binary):
    w, idle = (torch.nn.Parameter(signs()) for _ in range(2))
    optimizer = Bop([(w, binary), (idle, binary)], threshold=10.0, lr=0.5)
    w.grad = gradients(1)[0]
    optimizer.step()
    assert torch.equal(w, signs())
    assert torch.equal(idle, signs())
    assert idle not in optimizer.state


def test_saved_loaded_and_continued_is_the_same_to_the_bit(binary):
    def run(w, optimizer, grads):
        path = []
        for g in grads:
            w.grad = g
            optimizer.step()
            path.append(w.detach().clone())
        return torch.stack(path)

    def fresh():
        w = torch.nn.Parameter(signs())
        return w, Bop([(w, binary)], threshold=0.1, lr=0.2)

    grads = gradients(30)
    whole = run(*fresh(), grads)
    (w, optimizer), (other, loaded) = fresh(), fresh()
    run(w, optimizer, grads[:12])
    other.data.copy_(w.data)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert torch.equal(run(other, loaded, grads[12:]), whole[12:])
    w, optimizer = copy.deepcopy((w, optimizer))
    assert torch.equal(run(w, optimizer, grads[12:]), whole[12:])


def test_a_scheduler_decays_the_adaptivity_rate(binary):
    w = torch.nn.Parameter(signs())
    optimizer = Bop([(w, binary)], lr=0.5)
    scheduler = ExponentialLR(optimizer, 0.5)
    w.grad = torch.ones_like(w)
    optimizer.step()
    scheduler.step()
    optimizer.step()
    torch.testing.assert_close(optimizer.state[w]["m"], torch.full_like(w, 0.5 * 0.75 + 0.25).detach())


def test_a_closure_is_called_once_with_gradients_on(binary):
    w = torch.nn.Parameter(signs())

    def closure():
        loss = w.sum()
        loss.backward()
        return loss

    optimizer = Bop([(w, binary)], threshold=0.1, lr=0.5)
    assert optimizer.step(closure) == signs().sum()
    assert w.tolist() == [-1.0] * 40


def test_errors_at_the_door_carry_the_right_call(binary, grid):
    w = torch.nn.Parameter(signs())
    with pytest.raises(
        ValueError, match=r"pair 0 \(parameter of shape \(40,\)\) has a quantizer of 3 levels"
    ):
        Bop([(w, grid("ternary"))])
    with pytest.raises(ValueError, match="threshold"):
        Bop([(w, binary)], threshold=-1)
    with pytest.raises(ValueError, match="adaptivity rate"):
        Bop([(w, binary)], lr=0)
    optimizer = Bop([(w, binary)])
    with pytest.raises(ValueError, match="a quantizer for each parameter"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(signs())]})
    assert len(optimizer.param_groups) == 1


@pytest.fixture
def pair_of(binary):
    """``w, bias, together``: Bop for w, Adam inside a Latent for the bias."""

    def make():
        w, bias = torch.nn.Parameter(signs(4)), torch.nn.Parameter(torch.ones(2))
        rest = Latent(torch.optim.Adam([bias], lr=0.1), [(bias, binary)], [Clip(-0.95, 0.95)])
        return w, bias, Together([Bop([(w, binary)], threshold=0.1, lr=0.5), rest])

    return make


def advance(w, bias, together, steps):
    for _ in range(steps):
        together.zero_grad()
        loss = (w.sum() * bias.sum() - 1) ** 2
        loss.backward()
        together.step()
    return torch.cat([w.detach(), bias.detach()])


def test_together_steps_saves_and_loads_all(pair_of):
    whole = advance(*pair_of(), 9)
    w, bias, together = pair_of()
    advance(w, bias, together, 4)
    other_w, other_bias, loaded = pair_of()
    other_w.data.copy_(w.data)
    other_bias.data.copy_(bias.data)
    loaded.load_state_dict(copy.deepcopy(together.state_dict()))
    assert torch.equal(advance(other_w, other_bias, loaded, 5), whole)
    assert torch.equal(advance(*copy.deepcopy((w, bias, together)), 5), whole)


@pytest.mark.filterwarnings("error")
def test_a_scheduler_and_a_gradient_scaler_reach_every_group_of_together(pair_of):
    w, bias, together = pair_of()
    scheduler, scaler = ExponentialLR(together, 0.5), torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale((w.sum() + bias.sum()).float()).backward()
    scaler.step(together)
    scaler.update()
    assert bias.grad.tolist() == [1.0, 1.0]
    assert w.tolist() == [-1.0] * 4
    scheduler.step()
    assert [group["lr"] for group in together.param_groups] == [0.25, 0.05]
    assert set(together.state) == {w, bias}


def test_together_refuses_what_it_cannot_mean(pair_of):
    w, bias, together = pair_of()
    with pytest.raises(ValueError, match="in two of these"):
        Together([*together.optimizers, torch.optim.SGD([w], lr=0.1)])
    with pytest.raises(ValueError, match="at least one"):
        Together([])
    with pytest.raises(ValueError, match="saved with 1 optimizers; there are 2 here"):
        together.load_state_dict({"optimizers": together.state_dict()["optimizers"][:1]})
    with pytest.raises(TypeError, match="add the group to one of"):
        together.add_param_group({"params": [torch.nn.Parameter(bias.detach())]})
    assert "Bop" in repr(together)


def test_together_returns_the_loss_of_a_closure_called_once(pair_of):
    w, bias, together = pair_of()
    calls = []

    def closure():
        calls.append(1)
        loss = (w.sum() + bias.sum()) ** 2
        loss.backward()
        return loss

    assert together.step(closure) == (signs(4).sum() + 2) ** 2
    assert calls == [1]
