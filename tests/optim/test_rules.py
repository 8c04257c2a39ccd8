"""Each rule against its paper's update, written out by hand in NumPy."""

import dataclasses
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from coarsegrad import spec
from coarsegrad.optim import PARQ, RULES, BinaryRelax, Blend, Clip, Latent, ProxQuant
from coarsegrad.optim.rules import Rule, level_count

LR, STEPS = 0.05, 30


@pytest.fixture
def train(start, least_squares):
    """``train(quantizer, rules)``: what each forward pass saw, and each step's latents, [steps, 5]."""

    def train(quantizer, *rules):
        w = torch.nn.Parameter(start.clone())
        optimizer = Latent(torch.optim.SGD([w], lr=LR), [(w, quantizer)], rules)
        seen, latents = [], []
        for _ in range(STEPS):
            seen.append(quantizer.forward(w).clone())
            w.grad = least_squares(seen[-1])
            optimizer.step()
            latents.append(w.detach().clone())
        return torch.stack(seen).numpy(), torch.stack(latents).numpy()

    return train


@pytest.fixture
def by_hand(start, least_squares, any_grid):
    """``by_hand(view, update)``: the same by a hand-written ``view(y, q, t)`` and ``update(y, q, g, t)``."""
    levels = (any_grid.levels * any_grid.scale).numpy()

    def project(y):
        return levels[np.abs(y[:, None] - levels).argmin(1)]

    def loop(view, update):
        y, seen, latents = start.numpy().copy(), [], []
        for t in range(STEPS):
            x = view(y, project(y), t)
            g = least_squares(torch.from_numpy(x)).numpy()
            y = update(y, project(y), g, t)
            seen.append(x)
            latents.append(y)
        return np.array(seen), np.array(latents)

    loop.project, loop.levels = project, levels
    return loop


def assert_same(run, other):
    for ours, theirs in zip(run, other, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def quantized(y, q, t):
    return q


def descent(y, q, g, t):
    return y - LR * g


def test_clip_is_binary_connect(any_grid, train, by_hand):
    def update(y, q, g, t):
        return np.clip(y - LR * g, -1, 1)

    assert_same(train(any_grid, Clip()), by_hand(quantized, update))


def test_no_rule_is_straight_through_descent(any_grid, train, by_hand):
    assert_same(train(any_grid), by_hand(quantized, descent))


def test_blend_is_blended_coarse_gradient_descent(any_grid, train, by_hand):
    def update(y, q, g, t):
        rho = min(0.01 * 1.5 ** (t // 4), 0.05)
        return (1 - rho) * y + rho * q - LR * g

    rule = Blend(rho=0.01, growth=1.5, cap=0.05, every=4)
    assert_same(train(any_grid, rule), by_hand(quantized, update))


def test_binary_relax_shows_the_relaxed_weight_then_the_projection(any_grid, train, by_hand):
    def view(y, q, t):
        lam = 2 * 1.3 ** (t // 3)
        return (lam * q + y) / (lam + 1) if t < 20 else q

    rule = BinaryRelax(switch=20, lambda0=2, growth=1.3, every=3)
    assert_same(train(any_grid, rule), by_hand(view, descent))


def test_absolute_prox_quant_on_binary_weights_is_the_w_shaped_prox(grid, start, least_squares, train):
    theta, seen, latents = start.numpy().copy(), [], []
    for t in range(STEPS):
        seen.append(theta)
        theta = theta - LR * least_squares(torch.from_numpy(theta)).numpy()
        gap = np.abs(theta) - 1
        theta = np.sign(theta) * (1 + np.sign(gap) * np.maximum(np.abs(gap) - 0.003 * t, 0))
        latents.append(theta)
    assert_same(train(grid("binary"), ProxQuant(rate=0.003)), (np.array(seen), np.array(latents)))


def test_squared_prox_quant_then_frozen(any_grid, train, by_hand):
    held = {}

    def view(y, q, t):
        return y if t <= 15 else q

    def update(y, q, g, t):
        lam, theta = 0.02 * t, y - LR * g
        if t == 15:
            held["at"] = by_hand.project(theta)
        return held["at"] if t >= 15 else (theta + lam * by_hand.project(theta)) / (1 + lam)

    rule = ProxQuant(rate=0.02, distance="squared", freeze_at=15)
    assert_same(train(any_grid, rule), by_hand(view, update))


def test_parq_is_the_piecewise_affine_map_between_neighbouring_levels(any_grid, train, by_hand):
    def view(y, q, t):
        if t < 3 or t >= 25:
            return y if t < 3 else q
        low, now, high = 1 / (1 + np.exp(-8 * np.array([-0.5, 0.5 - (t - 3) / 22, 0.5])))
        slope = (now - low) / (high - low)
        x = np.clip(y, by_hand.levels[0], by_hand.levels[-1])
        place = np.clip(np.searchsorted(by_hand.levels, x), 1, None)
        left, right = by_hand.levels[place - 1], by_hand.levels[place]
        centre = (left + right) / 2
        return np.clip(centre + (x - centre) / slope, left, right)

    rule = PARQ(start=3, end=25, steepness=8)
    assert_same(train(any_grid, rule), by_hand(view, descent))


RELAXED = [BinaryRelax(switch=50), ProxQuant(freeze_at=50), PARQ(end=50)]
RELAXED_IDS = [spec.write(rule) for rule in RELAXED]


@pytest.mark.parametrize("rule", RELAXED, ids=RELAXED_IDS)
def test_a_relaxation_leaves_levels_in_place_and_keeps_the_order(rule, any_grid):
    x = torch.linspace(-3, 3, 1001, dtype=torch.float64)
    on_levels = any_grid.levels * any_grid.scale
    for step in (0, 1, 25, 49):
        relax = rule.relaxation(any_grid, step)
        assert torch.equal(relax(on_levels, any_grid.quantize(on_levels)), on_levels)
        assert (relax(x, any_grid.quantize(x)).diff() >= -1e-12).all()


@pytest.mark.parametrize("rule", RELAXED, ids=RELAXED_IDS)
def test_a_relaxation_ends(rule, any_grid):
    assert rule.relaxation(any_grid, 51) is None


@pytest.mark.parametrize("steep", [1e-9, 1.0, 10.0, 500.0])
def test_parq_anneals_from_one_to_zero_without_rising(steep):
    slopes = [PARQ(start=10, end=40, steepness=steep).inverse_slope(step) for step in range(50)]
    assert slopes[:11] == [1.0] * 11
    assert slopes[40:] == [0.0] * 10
    assert all(a >= b for a, b in pairwise(slopes))


def test_parq_just_before_its_end_is_the_staircase(any_grid):
    x = torch.linspace(-3, 3, 1000, dtype=torch.float64)
    relax = PARQ(end=1, steepness=500).relaxation
    steep = relax(any_grid, 0).func(x, any_grid.quantize(x), any_grid, 1e-300)
    middles = (any_grid.levels[1:] + any_grid.levels[:-1]) / 2 * any_grid.scale
    away = ((x[:, None] - middles).abs() > 1e-9).all(1)
    torch.testing.assert_close(steep[away], any_grid.quantize(x)[away])


@pytest.mark.parametrize("step", [0, 10**6, 10**12])
def test_schedules_saturate_and_never_overflow(step):
    assert 0 < Blend(rho=1e-5, growth=1.05).weight(step) <= 0.01
    assert 0.5 <= BinaryRelax(switch=1, growth=1.05).weight(step) <= 1


def test_levels_are_counted_on_a_quantizer_or_on_the_one_it_wraps(any_grid):
    assert level_count(any_grid) == len(any_grid.levels)
    assert level_count(SimpleNamespace(quantizer=any_grid)) == len(any_grid.levels)


def test_a_plain_rule_changes_nothing(start, any_grid):
    rule = Rule()
    assert rule.init(start, any_grid) == {}
    assert rule.gradient(start, start, any_grid, 0) is start
    assert rule.before(start, any_grid, 0) is start
    assert rule.after(start, {}, any_grid, 0) == (start, {})
    assert rule.relaxation(any_grid, 0) is None


@pytest.mark.parametrize("name", RULES)
def test_the_written_form_reads_back(name):
    needed = {"switch": 7, "end": 7, "strength": 0.25}
    fields = {field.name for field in dataclasses.fields(RULES[name])}
    rule = RULES[name](**{key: value for key, value in needed.items() if key in fields})
    assert spec.read(spec.write(rule), RULES) == rule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clip(1, -1), "low < high"),
        (lambda: Blend(rho=0.1), "rho <= cap"),
        (lambda: Blend(growth=0.5), r"Blend\(growth"),
        (lambda: Blend(every=0), "steps between two growths"),
        (lambda: BinaryRelax(switch=-1), "counts steps"),
        (lambda: BinaryRelax(switch=1, lambda0=0), "positive"),
        (lambda: ProxQuant(rate=-1), "negative"),
        (lambda: ProxQuant(distance="l1"), '"absolute" or "squared"'),
        (lambda: ProxQuant(freeze_at=-1), "counts steps"),
        (lambda: PARQ(start=3, end=3), "start < end"),
        (lambda: PARQ(end=3, steepness=0), "steepness"),
    ],
)
def test_errors_at_the_door_carry_the_right_call(make, message):
    with pytest.raises(ValueError, match=message):
        make()
