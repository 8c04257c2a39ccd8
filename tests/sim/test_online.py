import math

import pytest
import torch

from coarsegrad.core.surrogates import HardTanh, LeakyHardTanh
from coarsegrad.problem.online import Even, Online
from coarsegrad.sim.online import online
from coarsegrad.theory.online import error, unquantized
from coarsegrad.theory.online_law import limit

BOTH = Online(Even(2, 2.0), Even(2, 2.0), (1.0, -0.5), 0.7, 0.4)


def by_hand(problem, d, steps, runs, seed, surrogate=None):
    """The same draws, one run and one weight at a time, in plain numbers; the last latents and residuals."""
    random = torch.Generator().manual_seed(seed)
    w = (problem.start * torch.randn(runs, d, generator=random, dtype=torch.float64)).tolist()
    x = torch.randn(steps, runs, d, generator=random, dtype=torch.float64).tolist()
    noise = torch.randn(steps, runs, generator=random, dtype=torch.float64).tolist()
    teacher = [problem.teacher[j % len(problem.teacher)] for j in range(d)]

    def level(grid, value):
        return min(grid.levels, key=lambda one: abs(one - value)) if grid else value

    off = [[0.0] * runs for _ in range(steps)]
    for t in range(steps):
        for k in range(runs):
            seen = [level(problem.inputs, value) for value in x[t][k]]
            said = sum(s * level(problem.weights, v) for s, v in zip(seen, w[k], strict=True)) / math.sqrt(d)
            label = sum(a * b for a, b in zip(x[t][k], teacher, strict=True)) / math.sqrt(d)
            label += problem.noise * noise[t][k] if problem.noise else 0.0
            off[t][k] = said - label
            for j in range(d):
                slope = 1.0
                if surrogate:
                    slope = float(surrogate.slope(torch.tensor(w[k][j] / problem.weights.reach)))
                w[k][j] -= problem.step_size / math.sqrt(d) * slope * seen[j] * off[t][k]
    return torch.tensor(w), torch.tensor(off).square().mean(0)


@pytest.mark.parametrize("surrogate", [None, HardTanh(), LeakyHardTanh()], ids=["one", "hardtanh", "leaky"])
@pytest.mark.parametrize("inputs", [None, Even(2, 2.0), Even(3, 1.0, True)], ids=["float", "2bits", "zero"])
def test_every_step_is_the_formula(surrogate, inputs):
    problem = Online(Even(2, 1.0), inputs, (1.0, -0.5), 0.7, 0.4)
    w, residual = by_hand(problem, 6, 18, 2, 3, surrogate)
    *_, last = online(problem, 6, [3.0], runs=2, seed=3, surrogate=surrogate, dtype=torch.float64)
    torch.testing.assert_close(last.w, w.double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(last.residual, residual.double(), rtol=0, atol=1e-6)


def test_orders_are_means_over_the_weights_and_times_are_steps():
    teacher = torch.tensor([1.0, -0.5]).repeat(20)
    for state, time in zip(online(BOTH, 40, [0.0, 0.51, 2.0], runs=3, seed=0), (0.0, 0.5, 2.0), strict=True):
        q = BOTH.weights(state.w).double()
        assert state.time == time and state.w.shape == (3, 40)
        torch.testing.assert_close(state.square, q.square().mean(-1))
        torch.testing.assert_close(state.overlap, (q * teacher).mean(-1))
        assert bool(state.residual.isnan().all()) == (time == 0)


def test_the_same_seed_gives_the_same_runs_and_another_others():
    ends = [next(online(BOTH, 20, [1.0], runs=2, seed=seed)).w for seed in (0, 0, 1)]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_dtype_follows_what_is_asked_and_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    for dtype in (torch.float32, torch.float64):
        (state,) = online(BOTH, 10, [1.0], runs=1, seed=0, dtype=dtype)
        assert state.w.dtype == dtype and state.residual.dtype == state.square.dtype == torch.float64
    assert torch.equal(before, torch.random.get_rng_state())


def test_float_weights_come_to_their_closed_form():
    """24 runs of 300 weights: the mean's standard error is about 0.008, and is met within six of them."""
    problem, times = Online(None, Even(2, 2.0), step_size=0.6, noise=0.5), [0.0, 1.0, 4.0, 8.0]
    found = torch.stack(
        [error(problem, s.square, s.overlap).mean() for s in online(problem, 300, times, runs=24, seed=0)]
    )
    assert found.tolist() == pytest.approx(unquantized(problem, torch.tensor(times)).tolist(), abs=0.05)


def test_quantized_weights_and_inputs_come_to_the_limit():
    """24 runs of 300 weights, as above; what they hear is the error plus the noise's variance."""
    times = [0.0, 2.0, 6.0, 10.0, 14.0]
    states = list(online(BOTH, 300, times, runs=24, seed=1))
    found = torch.stack([error(BOTH, s.square, s.overlap).mean() for s in states])
    foretold = limit(BOTH, times, spacing=0.1, tolerance=1e-3).error
    assert found.tolist() == pytest.approx(foretold.tolist(), abs=0.05)
    assert float(states[-1].residual.mean()) == pytest.approx(float(foretold[-1]) + 0.16, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"d": 5}, "multiple"), ({"d": 0}, "multiple"), ({"runs": 0}, "runs"), ({"times": []}, "ascending"),
     ({"times": [1.0, 0.5]}, "ascending"),
     ({"problem": Online(None), "surrogate": HardTanh()}, "no slope")],
    ids=["odd", "none", "runs", "no-times", "falling", "float"],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(change, message):
    asked = {"problem": BOTH, "d": 4, "times": [1.0], "runs": 1, "seed": 0, **change}
    with pytest.raises(ValueError, match=message):
        next(online(**asked))
