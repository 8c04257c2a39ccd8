import math
from dataclasses import dataclass, replace

import pytest
import torch

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import HardTanh, LeakyHardTanh
from coarsegrad.problem.online import Even, Online
from coarsegrad.theory.online import error, inputs, stationary, unquantized
from coarsegrad.theory.online_law import fitted, implicit, limit, tridiagonal

CAPTION = Online(Even(2, 2.0), Even(2, 2.0), step_size=0.5)
COARSE = {"spacing": 0.1, "tolerance": 1e-3}


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_tridiagonal_systems_are_solved(size):
    random = torch.Generator().manual_seed(size)
    below, above = (-torch.rand(3, size, generator=random, dtype=torch.float64) for _ in range(2))
    below[:, 0], above[:, -1] = 0, 0
    diagonal = 1 - below.roll(-1, -1) - above.roll(1, -1)  # columns sum to 1, as in an implicit step
    right = torch.rand(3, size, generator=random, dtype=torch.float64)
    matrix = torch.diag_embed(diagonal)
    if size > 1:
        matrix = matrix + torch.diag_embed(below[:, 1:], -1) + torch.diag_embed(above[:, :-1], 1)
    found = tridiagonal(below, diagonal, above, right)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("step", [1e-3, 1.0, 1e4])
def test_an_implicit_step_keeps_the_mass_and_its_sign(step):
    random = torch.Generator().manual_seed(0)
    right, left = (10 ** (8 * torch.rand(2, 99, generator=random, dtype=torch.float64) - 4) for _ in range(2))
    mass = torch.rand(2, 100, generator=random, dtype=torch.float64)
    after = implicit(right, left, step, mass)
    assert after.sum(-1).tolist() == pytest.approx(mass.sum(-1).tolist(), rel=1e-9)
    assert float(after.min()) >= 0


def test_fitted_weights_differ_by_the_drift_and_are_smooth_at_0():
    x = torch.linspace(-30, 30, 100, dtype=torch.float64)
    torch.testing.assert_close(fitted(-x) - fitted(x), x)
    near = fitted(torch.tensor([-1.1e-6, -0.9e-6, 0.9e-6, 1.1e-6]).double())
    torch.testing.assert_close(near, 1 - torch.tensor([-1.1e-6, -0.9e-6, 0.9e-6, 1.1e-6]).double() / 2)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_many_bits_are_float_weights(noise):
    problem = Online(Even(7, 6.0), Even(2, 2.0), (1.0, -0.5), 0.8, noise)
    times = [0.0, 0.5, 1.0, 2.0, 5.0]
    found = limit(problem, times, **COARSE)
    assert found.error.tolist() == pytest.approx(unquantized(problem, torch.tensor(times)).tolist(), abs=0.01)


@pytest.mark.parametrize(
    "problem",
    [CAPTION, Online(Even(1, 1.3), None, (1.0, 0.2), 0.5), Online(Even(2, 2.0), None, (1.0,), 0.1),
     Online(Even(2, 2.0, True), Even(3, 2.0), (0.7,), 1.0, 0.3)],
    ids=["caption", "binary", "small-step", "zero"],
)  # fmt: skip
def test_it_ends_at_the_fixed_point(problem):
    found = limit(problem, [60 / problem.step_size], **COARSE)
    end = stationary(problem)
    assert float(found.error[0]) == pytest.approx(end.error, rel=0.02)
    assert abs(float(found.error[0]) - end.error) < float(found.doubt[0]) + 1e-4


def test_at_the_start_the_law_is_the_normal_one():
    found = limit(CAPTION, [0.0])
    law = found.laws[0]
    nu = inputs(CAPTION.inputs).nu
    inner = math.erf(4 / 3 / math.sqrt(2))
    assert float(found.error[0]) == pytest.approx(nu * (inner * 4 / 9 + (1 - inner) * 4) + 1, abs=0.01)
    density = torch.exp(-law.w.square() / 2) / math.sqrt(2 * math.pi)
    torch.testing.assert_close(law.density[0], density, rtol=0, atol=1e-4)


def test_halving_the_spacing_changes_less_and_less():
    doubts = [float(limit(CAPTION, [1.0], spacing=h, tolerance=1e-3).doubt[0]) for h in (0.1, 0.05, 0.025)]
    assert doubts[0] > 2 * doubts[1] > 4 * doubts[2] > 0


def test_steps_of_time_matter_less_than_the_spacing():
    loose, tight = (limit(CAPTION, [0.5, 2.0], spacing=0.1, tolerance=t).error for t in (1e-3, 3e-5))
    assert float((loose - tight).abs().max()) < 2e-3


def test_masses_stay_1_also_when_weights_run_away():
    found = limit(Online(Even(2, 0.5), teacher=(1.0, -1.0)), [0.0, 30.0], **COARSE)
    for law in found.laws:
        assert law.mass.sum(-1).tolist() == pytest.approx([1, 1], abs=1e-9)
    law = found.laws[1]
    assert float(law.mass[0] @ law.w) > 5 and float(found.error[1]) == pytest.approx(0.25, abs=1e-3)


def test_opposite_teachers_have_opposite_laws():
    found = limit(Online(Even(2, 2.0), teacher=(1.0, -1.0)), [3.0], **COARSE)
    torch.testing.assert_close(found.laws[0].mass[0], found.laws[0].mass[1].flip(0), rtol=0, atol=1e-10)
    alone = limit(Online(Even(2, 2.0)), [3.0], **COARSE)
    assert float(found.error[0]) == pytest.approx(float(alone.error[0]), abs=1e-9)


def test_only_ratios_of_teacher_range_start_and_noise_count():
    one = limit(Online(Even(2, 2.0), None, (1.0,), 0.5, 0.3, 1.0), [2.0], spacing=0.1, tolerance=1e-3)
    ten = limit(Online(Even(2, 20.0), None, (10.0,), 0.5, 3.0, 10.0), [2.0], spacing=1.0, tolerance=1e-3)
    assert float(ten.error[0]) == pytest.approx(100 * float(one.error[0]), rel=1e-6)


@dataclass(frozen=True)
class Half(Surrogate):
    def slope(self, x):
        return torch.full_like(x, 0.5)


def test_half_the_slope_is_half_the_step():
    half = limit(CAPTION, [4.0], Half(), **COARSE)
    small = limit(replace(CAPTION, step_size=0.25), [4.0], **COARSE)
    assert float(half.error[0]) == pytest.approx(float(small.error[0]), abs=1e-6)


def test_a_window_keeps_what_is_outside_and_what_comes_to_its_end():
    found = limit(Online(Even(2, 1.2), step_size=0.5), [0.0, 2.0, 20.0], HardTanh(), **COARSE)
    shares = []
    for law in found.laws:
        apart = law.w.abs() > 1.2 + float(law.w[1] - law.w[0])  # not what lies on the end itself
        shares.append((float(law.mass[0, apart].sum()), float(law.mass[0, law.w > 1.2].sum())))
    assert shares[1][0] == pytest.approx(shares[0][0]) and shares[2][0] == pytest.approx(shares[0][0])
    assert shares[2][1] > shares[1][1] > shares[0][1] + 0.1
    assert float(found.error[2]) > 2 * float(limit(Online(Even(2, 1.2)), [20.0], **COARSE).error[0])


@pytest.mark.parametrize(
    ("problem", "surrogate"),
    [(CAPTION, LeakyHardTanh()), (CAPTION, HardTanh()), (replace(CAPTION, inputs=None, noise=0.5), None)],
    ids=["leaky", "hardtanh", "noise"],
)
def test_particles_that_share_their_error_are_its_law(problem, surrogate):
    """40,000 particles, Euler's steps of 0.01: right to 0.01, at an absorbing end to about sqrt(0.01) / 3.

    At a fourth of the step the particles of ``hardtanh`` are two thirds nearer.
    """
    random = torch.Generator().manual_seed(0)
    kappa, nu = inputs(problem.inputs)
    w, h, seen = torch.randn(40_000, generator=random, dtype=torch.float64), 0.01, []
    for step in range(1, 401):
        q = problem.weights(w)
        now = float(error(problem, q.square().mean(), q.mean()))
        slope = surrogate.slope(w / problem.weights.reach) if surrogate else 1.0
        kick = problem.step_size * math.sqrt(nu * (now + problem.noise**2) * h)
        noise = torch.randn(len(w), generator=random, dtype=torch.float64)
        w = w + slope * (-h * problem.step_size * (nu * q - kappa) + kick * noise)
        if step in (100, 400):
            q = problem.weights(w)
            seen.append(float(error(problem, q.square().mean(), q.mean())))
    found = limit(problem, [1.0, 4.0], surrogate, spacing=0.025, tolerance=5e-4)
    assert found.error.tolist() == pytest.approx(seen, abs=0.04 if isinstance(surrogate, HardTanh) else 0.02)
    law = found.laws[-1]
    for at in (-1.0, 0.1, 1.0, 1.5, 1.9, 2.1):
        foretold = float(law.mass[0, law.w < at].sum())
        assert float((w < at).double().mean()) == pytest.approx(foretold, abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"times": []}, "ascending"), ({"times": [2.0, 1.0]}, "ascending"), ({"times": [-1.0]}, "ascending"),
     ({"spacing": 0.0}, "positive"), ({"problem": Online(None)}, "see unquantized")],
    ids=["none", "falling", "negative", "spacing", "float"],
)  # fmt: skip
def test_what_cannot_be_solved_is_refused(change, message):
    asked = {"problem": CAPTION, "times": [1.0], **change}
    with pytest.raises(ValueError, match=message):
        limit(**asked)
