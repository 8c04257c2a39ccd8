import math
from itertools import pairwise

import pytest
import torch

from coarsegrad.core.surrogates import SURROGATES, ClippedReLU, Identity, ReLU
from coarsegrad.theory import critical, hidden
from coarsegrad.theory.critical import GLOBAL, KINDS, NOT_CRITICAL, SADDLE, SPURIOUS, UNDEFINED

D = torch.double


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=D)


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def teachers(number, m, n, seed=0):
    """Teachers for which saddles and spurious minimizers exist, and w_star, and another direction."""
    v = normal(20 * number, m, seed=seed)
    return (
        v[critical.exists(v)][:number],
        unit(normal(number, n, seed=seed + 1)),
        normal(number, n, seed=seed + 2),
    )


def leaning(m, condition):
    """A v_star with (1^T v)^2 = condition * (m+1)/2 |v|^2, the condition of existence being condition < 1."""
    ones, rest = torch.ones(m, dtype=D) / math.sqrt(m), torch.zeros(m, dtype=D)
    rest[0], rest[1] = math.sqrt(0.5), -math.sqrt(0.5)
    cos = math.sqrt(condition * (m + 1) / (2 * m))
    return cos * ones + math.sqrt(1 - cos * cos) * rest


@pytest.mark.parametrize("m", [2, 3, 6])
def test_the_true_gradient_and_the_attracted_coarse_gradients_vanish_at_saddles(m):
    v_star, w_star, side = teachers(40, m, 5)
    found = critical.saddle(v_star)
    w = critical.place(found.theta, w_star, side, 1.7)
    for g in hidden.gradient(found.v, w, v_star, w_star):
        assert g.abs().max() < 1e-14
    for surrogate in (ReLU(), ClippedReLU()):
        assert hidden.coarse_gradient(found.v, w, v_star, w_star, surrogate).norm(dim=-1).max() < 1e-14
    assert (critical.classify(found.v, w, v_star, w_star).kind == SADDLE).all()


@pytest.mark.parametrize(("m", "n"), [(1, 2), (3, 2), (2, 5)])
def test_hessian_is_the_second_derivative_of_the_loss(m, n):
    v_star, w_star, v, w = normal(m), unit(normal(n, seed=1)), normal(m, seed=2), normal(n, seed=3)

    def loss(x):
        return hidden.loss(x[:m], x[m:], v_star, w_star)

    expected = torch.autograd.functional.hessian(loss, torch.cat((v, w)))
    torch.testing.assert_close(critical.hessian(v, w, v_star, w_star), expected, rtol=1e-10, atol=1e-12)


def test_classify_gives_the_gradient_and_the_hessians_eigenvalues():
    v_star, w_star, v, w = (
        normal(7, 3),
        unit(normal(7, 5, seed=1)),
        normal(7, 3, seed=2),
        normal(7, 5, seed=3),
    )
    found = critical.classify(v, w, v_star, w_star)
    torch.testing.assert_close(found.dv, hidden.gradient(v, w, v_star, w_star)[0])
    whole = torch.linalg.eigvalsh(critical.hessian(v, w, v_star, w_star))
    parts = torch.cat((found.curvature, found.across[:, None].expand(-1, 3)), -1).sort(-1).values
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)


def test_a_saddle_has_one_direction_down_m_up_and_the_rest_flat():
    v_star, w_star, side = teachers(30, 4, 6)
    found = critical.saddle(v_star)
    w = critical.place(found.theta, w_star, side)
    values = torch.linalg.eigvalsh(critical.hessian(found.v, w, v_star, w_star))
    assert (values[:, 0] < -1e-3).all() and (values[:, -4:] > 1e-3).all()
    assert values[:, 1:-4].abs().max() < 1e-14


@pytest.mark.parametrize("m", [2, 3, 6])
def test_no_small_move_leads_down_from_the_spurious_minimizer(m):
    v_star, w_star, _ = teachers(40, m, 5)
    found = critical.spurious_minimizer(v_star)
    w = -1.3 * w_star
    base = hidden.loss(found.v, w, v_star, w_star)
    for size in (1e-6, 1e-4, 1e-3):
        dv, dw = size * normal(500, 1, m, seed=5), size * normal(500, 1, 5, seed=6)
        # near equality in the condition of existence the basin is smaller than the move: first order decides
        slope = critical.classify(found.v, w, v_star, w_star).slope
        clear = slope > 10 * size * v_star.norm(dim=-1)
        assert clear.sum() > 20
        assert (hidden.loss(found.v + dv, w + dw, v_star, w_star) > base)[:, clear].all()


@pytest.mark.parametrize(("theta", "which"), [(0.0, "global_minimizer"), (math.pi, "spurious_minimizer")])
def test_the_slope_at_a_kink_is_the_one_sided_derivative(theta, which):
    v_star, w_star, side = normal(30, 4), unit(normal(30, 5, seed=1)), normal(30, 5, seed=2)
    v, h = getattr(critical, which)(v_star).v, 1e-6
    at, off = (critical.place(torch.full((30,), t, dtype=D), w_star, side) for t in (theta, abs(theta - h)))
    slope = (hidden.loss(v, off, v_star, w_star) - hidden.loss(v, at, v_star, w_star)) / h
    torch.testing.assert_close(critical.classify(v, at, v_star, w_star).slope, slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("m", [2, 5])
@pytest.mark.parametrize(("condition", "exists"), [(0.5, True), (0.99, True), (1.01, False), (1.3, False)])
def test_saddles_and_spurious_minimizers_exist_on_one_side_of_the_condition(m, condition, exists):
    v_star, w_star = leaning(m, condition), unit(normal(4))
    spurious, saddle = critical.spurious_minimizer(v_star), critical.saddle(v_star)
    assert critical.exists(v_star) == spurious.exists == saddle.exists == exists
    assert saddle.theta.isfinite() == saddle.v.isfinite().all() == exists
    found = critical.classify(spurious.v, -w_star, v_star, w_star)
    assert found.kind == (SPURIOUS if exists else NOT_CRITICAL)
    # the best v at each theta: on the far side of the condition the loss only falls on the way from pi to 0
    theta = torch.linspace(1e-3, math.pi - 1e-3, 2001, dtype=D)
    kappa = (1 - 2 * theta / math.pi)[:, None]
    wanted = kappa * v_star + v_star.sum()
    best = wanted - wanted.sum(-1, keepdim=True) / (m + 1)
    loss = hidden.loss(best, critical.place(theta, w_star, normal(4, seed=3)), v_star, w_star)
    assert (loss.diff() > 0).all() == (not exists)


def test_with_one_row_there_is_neither():
    v_star, w_star = torch.tensor([[2.0], [-0.5]], dtype=D), unit(normal(3))
    assert not critical.exists(v_star).any()
    spurious = critical.spurious_minimizer(v_star)
    assert (spurious.v == 0).all()
    found = critical.classify(spurious.v, -w_star, v_star, w_star)
    assert (found.kind == SADDLE).all() and (found.slope == 0).all()  # equality: flat to first order
    lower = hidden.loss(
        1e-4 * v_star, critical.place(torch.tensor(math.pi - 1e-2), w_star, normal(3, seed=1)), v_star, w_star
    )
    assert (lower < hidden.loss(spurious.v, -w_star, v_star, w_star)).all()


def test_a_teacher_that_sums_to_zero_has_its_saddles_at_a_right_angle_and_no_push():
    v_star, w_star = torch.tensor([1.0, -3.0, 2.0], dtype=D), unit(normal(3))
    saddle, spurious = critical.saddle(v_star), critical.spurious_minimizer(v_star)
    assert saddle.theta == math.pi / 2 and (saddle.v == 0).all()
    assert torch.equal(spurious.v, -v_star)
    assert critical.push(v_star, w_star, Identity()) < 1e-15


@pytest.mark.parametrize("m", [1, 2, 3, 6])
def test_the_identity_pushes_at_the_spurious_minimizer_by_the_papers_formula(m):
    v_star, w_star = normal(60, m), unit(normal(60, 4, seed=1))
    there = critical.exists(v_star)
    assert critical.push(v_star, w_star, Identity())[~there].isnan().all()
    v_star, w_star = v_star[there], w_star[there]
    assert len(v_star) >= 10 or m == 1
    expected = 2 * (m - 1) * v_star.sum(-1).square() / (math.sqrt(2 * math.pi) * (m + 1) ** 2)
    torch.testing.assert_close(critical.push(v_star, w_star, Identity()), expected, rtol=1e-12, atol=1e-14)
    for surrogate in (ReLU(), ClippedReLU()):
        assert (critical.push(v_star, w_star, surrogate, norm=0.7) < 1e-14).all()


def test_lengths_are_those_of_w_whatever_the_teachers_length():
    v_star, w_star = torch.tensor([1.0, 1.0, -0.5]).double(), torch.tensor([1.0, 0.0]).double()
    one, two = (critical.push(v_star, k * w_star, ClippedReLU(), norm=0.8) for k in (1, 2))
    assert torch.equal(one, two)
    w = critical.place(torch.tensor(1.0).double(), 2 * w_star, torch.tensor([1.0, 3.0]).double(), 0.7)
    assert abs(float(w.norm()) - 0.7) < 1e-12
    assert float(critical.spurious_minimizer(torch.tensor([1, -1])).theta) == math.pi


@pytest.mark.parametrize(
    "surrogate",
    [c() for name, c in SURROGATES.items() if name not in ("ewgs", "magnitude_aware_sign")],
    ids=lambda s: s.name,
)
def test_what_pushes_is_the_slope_below_zero(surrogate):
    v_star, w_star, norm = normal(3, 4), unit(normal(3, 4, seed=1)), 0.8
    edges = [-b / norm for b in surrogate.breaks or () if b < 0] + [0.0, 40.0]
    total = 0.0
    for a, b in pairwise(sorted(edges)):
        x, h = torch.linspace(a, b, 400_002, dtype=D)[:-1], (b - a) / 400_001
        x = x + h / 2
        total += (x * torch.exp(-x * x / 2) * surrogate.slope(-norm * x)).sum() * h / math.sqrt(2 * math.pi)
    expected = 2 * 3 / 25 * v_star.sum(-1).square() * total
    torch.testing.assert_close(
        critical.push(v_star, w_star, surrogate, norm=norm), expected, rtol=1e-6, atol=1e-12
    )
    if surrogate.one_sided and surrogate.name not in ("identity", "leaky_relu"):
        assert total == 0


def test_an_estimator_without_a_slope_is_sent_to_sim():
    with pytest.raises(ValueError, match="sim"):
        critical.push(normal(3), unit(normal(2)), SURROGATES["ewgs"]())


def test_every_kind_in_one_batch():
    v_star, w_star = torch.tensor([1.0, -2.0, 0.5], dtype=D), torch.tensor([0.0, 1.0, 0.0], dtype=D)
    saddle, spurious = critical.saddle(v_star), critical.spurious_minimizer(v_star)
    side = torch.tensor([1.0, 0.0, 0.0], dtype=D)
    on_cone = critical.place(saddle.theta, w_star, side, 4.0)
    v = torch.stack((v_star, spurious.v, saddle.v, saddle.v, v_star, v_star, v_star * math.nan))
    w = torch.stack((3 * w_star, -2 * w_star, on_cone, w_star, side, 0 * w_star, w_star))
    found = critical.classify(v, w, v_star, w_star)
    assert found.kind.tolist() == [GLOBAL, SPURIOUS, SADDLE, NOT_CRITICAL, NOT_CRITICAL, UNDEFINED, UNDEFINED]
    assert found.curvature[:2].isnan().all() and found.curvature[2].isfinite().all()
    assert len(KINDS) == 5


@pytest.mark.parametrize(("off", "near"), [(0.5e-3, True), (2e-3, False)])
@pytest.mark.parametrize("family", ["global_minimizer", "spurious_minimizer"])
def test_the_tolerance_is_a_distance(family, off, near):
    v_star, w_star, side = (t[0] for t in teachers(1, 3, 4))
    v, theta, _ = getattr(critical, family)(v_star)
    moved_v = v + off * v_star.norm() * unit(side[:3]), critical.place(theta, w_star, side)
    moved_w = v, critical.place((theta - off).abs(), w_star, side, 5.0)
    for point in (moved_v, moved_w):
        kind = critical.classify(*point, v_star, w_star, tolerance=1e-3).kind
        assert (kind != NOT_CRITICAL) == near
