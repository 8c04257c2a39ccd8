"""Oscillations as Nagel et al. describe them: at that rate, stopped by cures, made more by the opposite."""

import numpy as np
import pytest
import torch

from coarsegrad.measure import oscillation_start, oscillation_step
from coarsegrad.optim import Clip, Dampen, Ergodic, Freeze, Induce, Latent, Watch
from coarsegrad.optim.oscillation import Rule

SPREAD = torch.tensor([0.1, 0.2, 0.3, 0.45, -0.25, 1.6])


def regress(quantizer, rules, steps, target=SPREAD, lr=0.02, latents=False):
    """Codes (or latents) per step, [steps, n], of n one-dimensional regressions (q(w) - target)²/2."""
    w = torch.nn.Parameter(torch.full_like(target, 0.3))
    optimizer, path = Latent(torch.optim.SGD([w], lr=lr), [(w, quantizer)], rules), []
    for _ in range(steps):
        w.grad = quantizer.forward(w) - target
        optimizer.step()
        path.append(w.detach().clone() if latents else quantizer.codes(w))
    return torch.stack(path)


def moves(codes):
    """Level changes per step, [n], over the last half."""
    late = codes[len(codes) // 2 :]
    return (late.diff(dim=0) != 0).double().mean(0)


@pytest.fixture
def integers(grid):
    return grid([-2.0, -1.0, 0.0, 1.0, 2.0])


def test_a_weight_changes_level_at_twice_the_rate_of_its_targets_distance_from_the_grid(integers):
    distance = (SPREAD - SPREAD.round()).abs().double()
    rate = moves(regress(integers, (), 4000))
    torch.testing.assert_close(rate, 2 * distance, rtol=0, atol=0.01)


@pytest.mark.parametrize("rule", [Freeze(threshold=0.03), Dampen(strength=1.0)], ids=["freeze", "dampen"])
def test_both_cures_stop_the_oscillation(integers, rule):
    assert moves(regress(integers, (), 2000)).min() > 0.15
    assert moves(regress(integers, (rule,), 2000)).max() == 0


def test_freezing_keeps_the_level_the_weight_spent_its_time_at(integers):
    last = regress(integers, (Freeze(threshold=0.03, start=500),), 2000)[-1]
    assert (last - 2).tolist() == SPREAD.round().int().tolist()


def test_a_frozen_weight_never_moves_again(integers):
    generator = torch.Generator().manual_seed(0)
    w = torch.nn.Parameter(torch.randn(200, generator=generator))
    rules = [Clip(-2, 2), Freeze(threshold=0.25, momentum=0.1)]
    optimizer = Latent(torch.optim.SGD([w], lr=0.3, momentum=0.5), [(w, integers)], rules)
    frozen, codes = torch.zeros(200, dtype=torch.bool), integers.codes(w)
    for _ in range(60):
        w.grad = torch.randn(200, generator=generator)
        optimizer.step()
        memory = optimizer.memory(w)[1]
        assert memory["frozen"][frozen].all()
        assert torch.equal(integers.codes(w)[frozen], codes[frozen])
        assert torch.equal(w[memory["frozen"]], integers.quantize(w.detach())[memory["frozen"]])
        frozen, codes = memory["frozen"], integers.codes(w)
    assert 0 < frozen.sum() < 200


def test_a_frozen_weight_follows_the_scale_and_keeps_its_level(integers):
    w = torch.nn.Parameter(torch.full_like(SPREAD, 0.3))
    optimizer = Latent(torch.optim.SGD([w], lr=0.02), [(w, integers)], [Freeze(threshold=0.03)])
    for _ in range(500):
        w.grad = integers.forward(w) - SPREAD
        optimizer.step()
    codes, values = integers.codes(w), w.detach().clone()
    integers.scale *= 1.5
    w.grad = torch.zeros_like(SPREAD)
    optimizer.step()
    assert torch.equal(integers.codes(w), codes)
    torch.testing.assert_close(w.detach(), 1.5 * values)


def test_freeze_is_the_tracker_of_the_paper(integers):
    generator = torch.Generator().manual_seed(1)
    path = torch.randn(80, 50, generator=generator).cumsum(0) * 0.3
    rule = Freeze(threshold=0.15, momentum=0.1, initial=0.3, start=5, end=40)
    state = rule.init(path[0], integers)
    previous = average = path[0].round().clip(-2, 2).numpy()
    direction, frequency = np.zeros(50), np.zeros(50)
    frozen, held = np.zeros(50, bool), np.zeros(50)
    for step, latent in enumerate(path[1:]):
        value, state = rule.after(latent, state, integers, step)

        x = np.where(frozen, held, latent.round().clip(-2, 2).numpy())
        turn = np.sign(x - previous)
        frequency = 0.1 * (turn * direction == -1) + 0.9 * frequency
        direction = np.where(turn != 0, turn, direction)
        fade = (1 + np.cos(np.pi * min(max(step - 5, 0) / 35, 1))) / 2
        limit = np.inf if step < 5 else 0.15 + 0.15 * fade
        newly = (frequency > limit) & ~frozen
        held = np.where(newly, average.round(), held)
        frozen |= newly
        average = 0.1 * x + 0.9 * average
        previous = np.where(frozen, held, x)
        np.testing.assert_allclose(state["frequency"], frequency, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(state["frozen"], frozen)
        np.testing.assert_allclose(value, np.where(frozen, held, latent.numpy()))
    assert 5 < frozen.sum() < 45


def test_nothing_freezes_before_the_start(integers):
    rule = Freeze(threshold=0.03, start=1500)
    assert moves(regress(integers, (rule,), 1500)).min() > 0.15
    assert moves(regress(integers, (rule,), 4000)).max() == 0


def test_dampen_adds_the_gradient_of_the_dampening_loss(any_grid):
    latent = torch.linspace(-3, 3, 301, dtype=torch.float64, requires_grad=True)
    low, high = (any_grid.levels * any_grid.scale)[[0, -1]]
    quantized = any_grid.quantize(latent.detach())
    loss = 0.3 * (quantized - latent.clamp(low, high)).square().sum()
    (expected,) = torch.autograd.grad(loss, latent)
    upstream = torch.ones(301, dtype=torch.float64)
    found = Dampen(strength=0.3).gradient(upstream, latent.detach(), any_grid, 0)
    torch.testing.assert_close(found - upstream, expected)
    assert upstream.eq(1).all()


def test_dampening_gathers_latents_at_the_levels(integers):
    def gap(rules):
        last = regress(integers, rules, 2000, latents=True)[-1]
        return (last - integers.quantize(last)).abs().max()

    assert gap((Dampen(strength=2.0, start=500, end=1000),)) < 0.15 < 0.4 < gap(())


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        (Dampen(strength=0.4), [0.4] * 5),
        (Dampen(strength=0.4, start=2), [0.0, 0.0, 0.4, 0.4, 0.4]),
        (Dampen(strength=0.4, initial=0.2, start=1, end=3), [0.2, 0.2, 0.3, 0.4, 0.4]),
        (Dampen(strength=0.0, initial=0.2, end=2), [0.2, 0.1, 0.0, 0.0, 0.0]),
    ],
)
def test_the_strength_goes_along_half_a_cosine(rule, weights):
    assert [rule.weight(step) for step in range(5)] == pytest.approx(weights)


def test_inducing_adds_the_gradient_of_the_authors_term(any_grid):
    latent = torch.linspace(-3, 3, 301, dtype=torch.float64, requires_grad=True)
    low, high = (any_grid.levels * any_grid.scale)[[0, -1]]
    inside = (latent.detach() >= low) & (latent.detach() <= high)
    straight = latent + (any_grid.quantize(latent.detach()) - latent).detach()
    (expected,) = torch.autograd.grad(0.3 * (straight.square() - latent.square()).mean(), latent)
    upstream = torch.ones(301, dtype=torch.float64)
    found = Induce(strength=0.3).gradient(upstream, latent.detach(), any_grid, 0) - upstream
    torch.testing.assert_close(found, expected * inside)
    assert upstream.eq(1).all()


def test_induced_weights_change_level_more_often(integers):
    n = len(SPREAD)  # the term is a mean over them
    plain = moves(regress(integers, (), 4000))
    pushed = moves(regress(integers, (Induce(strength=0.2 * n, quantized=True),), 4000))
    share = ((SPREAD % 1 + 0.2) / 1.4).double()
    torch.testing.assert_close(pushed, 2 * torch.minimum(share, 1 - share), rtol=0, atol=0.03)
    assert (pushed > plain).all()


def test_inducing_without_the_mean_is_of_each_weight_whatever_their_number(any_grid):
    latent, nothing = torch.linspace(-0.4, 0.4, 10), torch.zeros(10)
    of_each = Induce(strength=0.3, mean=False).gradient(nothing, latent, any_grid, 0)
    assert torch.allclose(of_each, Induce(strength=3.0).gradient(nothing, latent, any_grid, 0))


def test_the_float_loss_and_half_its_curvature_of_inducing_are_the_quantized_loss(integers):
    rule = Induce(strength=len(SPREAD) / 2)
    torch.testing.assert_close(
        regress(integers, (rule,), 300, latents=True), regress(integers, (), 300, latents=True)
    )


def test_inducing_shows_the_loss_the_latents_unless_told_otherwise(integers):
    assert regress(integers, (Induce(strength=0.0),), 2000, latents=True)[-1].sub(SPREAD).abs().max() < 1e-3
    assert integers.relax is not None
    assert torch.equal(
        regress(integers, (Induce(strength=0.0, quantized=True),), 500), regress(integers, (), 500)
    )


def test_watching_changes_nothing_and_remembers_what_measure_says(integers):
    rule = Watch(start=1500, momentum=0.05)
    w = torch.nn.Parameter(torch.full_like(SPREAD, 0.3))
    optimizer = Latent(torch.optim.SGD([w], lr=0.02), [(w, integers)], [rule])
    codes, seen = [], oscillation_start(integers.codes(w).to(torch.int32))
    votes = Ergodic([(w, integers)])
    for step in range(2000):
        w.grad = integers.forward(w) - SPREAD
        optimizer.step()
        codes.append(integers.codes(w))
        seen = oscillation_step(seen, codes[-1].to(torch.int32), 0.05)
        if step >= 1500:
            votes.update()
    assert torch.equal(torch.stack(codes), regress(integers, (), 2000))
    (memory,) = optimizer.memory(w)
    for name, value in seen._asdict().items():
        assert torch.equal(memory[name], value), name
    loaded = Ergodic([(w, integers)])
    loaded.load_state_dict({"updates": int(memory["steps"]), "sums": [memory["sum"]]})
    assert torch.equal(loaded.average(w), votes.average(w))
    assert torch.equal(loaded.average(w), SPREAD.round())


def test_all_are_rules():
    assert all(issubclass(rule, Rule) for rule in (Dampen, Freeze, Induce, Watch))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dampen(strength=-1), "negative"),
        (lambda: Dampen(strength=1, start=5, end=3), r"Dampen anneals.*start=5, end=3"),
        (lambda: Freeze(momentum=1), "momentum"),
        (lambda: Freeze(threshold=0), r"Freeze\(threshold"),
        (lambda: Freeze(initial=-0.1), r"Freeze\(initial"),
        (lambda: Freeze(start=-1), "Freeze anneals"),
        (lambda: Induce(strength=-1), "negative"),
        (lambda: Watch(start=-1), r"Watch\(start"),
        (lambda: Watch(momentum=0), r"Watch\(momentum"),
    ],
)
def test_errors_at_the_door_carry_the_right_call(make, message):
    with pytest.raises(ValueError, match=message):
        make()
