import itertools
import math

import numpy as np
import pytest
import torch

from coarsegrad.core.surrogates import ClippedReLU, Identity, ReLU, Sigmoid
from coarsegrad.problem import Problem, stream
from coarsegrad.sim.hidden import step
from coarsegrad.theory import recurrence
from coarsegrad.theory.recurrence import at_optimum, occupancy, optimum, shares, under_noise, unquantized


def directions(n, weights):
    """All of Q but 0, of length 1."""
    every = itertools.product((-1.0, 1.0) if weights == "binary" else (-1.0, 0.0, 1.0), repeat=n)
    return np.array([np.array(q) / np.linalg.norm(q) for q in every if any(q)])


@pytest.mark.parametrize("weights", recurrence.WEIGHTS)
def test_the_optimum_has_the_largest_cosine_of_all(weights):
    w_star = stream(3, "teacher", 0).standard_normal((40, 5))
    all_of_them = directions(5, weights)
    best = all_of_them[(w_star @ all_of_them.T).argmax(1)]
    assert np.array_equal(optimum(torch.from_numpy(w_star), weights).numpy(), np.sign(best))


@pytest.mark.parametrize("weights", recurrence.WEIGHTS)
def test_hits_are_those_of_a_slow_loop_over_all_directions(weights):
    w_star = torch.from_numpy(stream(4, "teacher", 0).standard_normal((2, 4)))
    w_star /= w_star.norm(dim=1, keepdim=True)
    start = torch.from_numpy(stream(4, "start", 0).standard_normal((2, 4)))
    kept = start.clone()
    hits = at_optimum(w_star, start, steps=400, step_size=0.07, weights=weights)
    all_of_them = directions(4, weights)
    for run in range(2):
        y, teacher = start[run].numpy().copy(), w_star[run].numpy()
        best = all_of_them[(all_of_them @ teacher).argmax()]
        for at in range(400):
            w = all_of_them[(all_of_them @ y).argmax()]
            assert bool(hits[at, run]) == np.array_equal(w, best)
            y = y - 0.07 * (w - teacher)
    assert hits.any() and not hits.all() and torch.equal(start, kept)


@pytest.mark.parametrize(("n", "spread"), [(8, 0.3), (20, 0.2)])
def test_the_occupancy_of_binary_weights_is_the_product_to_three_digits(n, spread):
    draw = stream(5, "teacher", n)
    w_star = torch.from_numpy(1 + spread * draw.standard_normal((4, n)))
    w_star /= w_star.norm(dim=1, keepdim=True)
    start = torch.from_numpy(draw.standard_normal((4, n))) / math.sqrt(n)
    hits = at_optimum(w_star, start, steps=100_000, step_size=0.05)[5000:]
    expected = occupancy(unquantized(w_star))
    assert torch.allclose(hits.double().mean(0), expected.product, atol=1e-3)
    assert (hits.double().mean(0) >= expected.least - 1e-3).all()


def test_a_scale_of_the_teacher_does_not_matter():
    w_star, start = torch.tensor([0.6, 0.8]).double(), torch.tensor([[-1.0, 1.0]]).double()
    one, two = (at_optimum(w_star * by, start, steps=200, step_size=0.1) for by in (1, 4))
    assert torch.equal(one, two)


def test_pushes_and_pulls_are_balanced():
    """Against every choice of the weights that flip, solved as linear equations."""
    draw = stream(6, "data", 0)
    for _ in range(20):
        push = draw.uniform(-0.3, 0.3, 3)
        pull = np.eye(3) + draw.uniform(-0.3, 0.3, (3, 3)) * (1 - np.eye(3))
        found = []
        for chosen in itertools.product((False, True), repeat=3):
            some, p = np.array(chosen), np.zeros(3)
            p[some] = np.linalg.solve(pull[np.ix_(some, some)].T, push[some])
            if (p >= 0).all() and (push - p @ pull <= 1e-12).all():
                found.append(p)
        assert len(found) == 1 and (found[0] <= 1).all()
        assert shares(torch.from_numpy(push), torch.from_numpy(pull)).numpy() == pytest.approx(
            found[0], abs=1e-7
        )


def test_one_pull_is_a_diagonal_of_pulls():
    push = torch.tensor([[0.3, -0.1, 0.9], [0.0, 0.2, -0.4]]).double()
    alone = shares(push, 0.5)
    assert torch.allclose(alone, shares(push, 0.5 * torch.eye(3).double().expand(2, 3, 3)), atol=1e-8)
    assert alone[0].tolist() == pytest.approx([0.6, 0, 1])


def test_balances_that_are_not_found_are_not_numbers():
    push = torch.tensor([0.1, 0.11, 0.12]).double()
    around = torch.eye(3).roll(1, 0).double()
    assert shares(push, -torch.eye(3).double()).isnan().all()
    assert shares(push, torch.eye(3).double() + 6 * around).isnan().any()


def test_the_pull_is_two_c_over_root_n():
    for n in (2, 9, 50):
        assert recurrence.pull(Identity(), n) == pytest.approx(2 / math.sqrt(2 * math.pi * n))
        assert recurrence.pull(ReLU(), n) == pytest.approx(1 / math.sqrt(2 * math.pi * n))
    cos = 1 - 2 / 9  # clipped ReLU, one flip away: the formula of Yin et al.
    cot, csc = cos / math.sqrt(1 - cos**2), 1 / math.sqrt(1 - cos**2)
    own = 0.5 - math.exp(-0.5) * math.erfc(cot / math.sqrt(2)) / 2
    teacher = math.erf(csc / math.sqrt(2)) / 2
    assert recurrence.pull(ClippedReLU(), 9) * 3 * math.sqrt(2 * math.pi) == pytest.approx(own + teacher)


@pytest.mark.parametrize("surrogate", [Identity(), ReLU(), ClippedReLU(), Sigmoid()])
def test_the_deviation_is_that_of_sampled_noise(surrogate):
    """4 coordinates of 5000 gradients: their mean square is known to 1.0 %; five of these are allowed."""
    n, number, samples, noise = 4, 5000, 20, 0.3
    v, w = torch.tensor([0.5, -0.2, 0.9]).double(), torch.full((n,), 0.5).double()
    draw = stream(7, "data", 0)
    z = torch.from_numpy(draw.standard_normal((number, samples, 3, n)))
    labels = ((z @ w > 0).double() @ v) + noise * torch.from_numpy(draw.standard_normal((number, samples)))
    e = step(v, w, labels, z, surrogate)[2]
    found = under_noise(surrogate, n, samples, noise, v)
    assert float(e.square().mean()) == pytest.approx(found.deviation**2, rel=0.05)


def test_the_mean_occupancy_is_that_of_normal_pushes():
    v = torch.tensor([2.0]).double()
    found = under_noise(ReLU(), 6, 30, 2.0, v)
    push = found.deviation * torch.from_numpy(stream(8, "noise", 0).standard_normal((400_000, 6)))
    p = shares(push, recurrence.pull(ReLU(), 6) * 4)
    product = (1 - p).prod(-1)
    assert float(product.mean()) == pytest.approx(
        found.occupancy, abs=5 * float(product.std()) / 400_000**0.5
    )
    assert float(push.clamp(min=0).sum(-1).mean()) / (recurrence.pull(ReLU(), 6) * 4) == pytest.approx(
        found.wrong, rel=0.01
    )


def test_without_noise_nothing_is_wrong():
    assert under_noise(ReLU(), 6, 30, 0.0, torch.ones(2)) == (0.0, 0.0, 1.0)


def test_a_random_teacher_is_near_no_corner():
    w_star = Problem.drawn(m=1, n=8, seed=1).w_star
    p = unquantized(w_star)
    assert ((p > 0) == (w_star.abs() < 8**-0.5)).all() and (p <= 0.5).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: occupancy(torch.tensor([0.5, 1.5])), "lie in"),
        (lambda: optimum(torch.ones(3), "quaternary"), "known: binary, ternary"),
        (lambda: at_optimum(torch.ones(2), torch.ones(1, 2), steps=3, step_size=0.0), "positive"),
        (lambda: under_noise(ReLU(), 1, 5, 0.1, torch.ones(1)), "n >= 2"),
    ],
)
def test_what_has_no_meaning_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
