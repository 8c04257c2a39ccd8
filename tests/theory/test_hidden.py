"""Loss, gradient and coarse gradient: against Monte Carlo, against each other, and at every edge."""

import math
from statistics import NormalDist

import pytest
import torch
from scipy import integrate
from torch.func import grad, vmap

from coarsegrad.core.quantizers import Binary, QuantizedReLU, Uniform
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import (
    EWGS,
    SURROGATES,
    ApproxSign,
    ClippedReLU,
    HardTanh,
    Identity,
    MagnitudeAwareSign,
    ReLU,
    ReSTE,
    Tanh,
)
from coarsegrad.spec import write
from coarsegrad.theory.gauss import THRESHOLD, Staircase
from coarsegrad.theory.hidden import (
    coarse_gradient,
    correlation,
    descent_constant,
    descent_ratio,
    gradient,
    loss,
)
from coarsegrad.theory.plane import plane
from theory.problems import STAIRCASES, Hat, normal, problem

PAPER = (Identity(), ReLU(), ClippedReLU())
SLOPES = [cls() for name, cls in SURROGATES.items() if name != "ewgs"]
FALSE_ALARM = 5e-5
everywhere = pytest.mark.parametrize("activation", STAIRCASES.values(), ids=STAIRCASES.keys())
papers = pytest.mark.parametrize("surrogate", PAPER, ids=write)
sloped = pytest.mark.parametrize("surrogate", SLOPES, ids=write)


def judged(scores, what):
    """No score leaves the threshold that follows from their number: false alarms below FALSE_ALARM."""
    scores = torch.cat([s.flatten() for s in scores]).abs()
    threshold = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * len(scores)))
    print(
        f"{what}: {len(scores)} comparisons, threshold {threshold:.2f} standard errors (false alarms below "
        f"{FALSE_ALARM:g}), largest {scores.max():.2f}"
    )
    assert scores.max() < threshold


def score(samples, exact):
    """How many standard errors the mean of samples ``[..., N]`` is from the exact value."""
    samples = samples.double()
    spread = samples.std(-1) / math.sqrt(samples.shape[-1])
    off = (samples.mean(-1) - exact).abs()
    return torch.where(off <= 1e-12, 0.0, off / spread)


def levels(x, activation):
    if activation == THRESHOLD:
        return (x > 0).to(x.dtype)
    value = torch.tensor(activation.levels, dtype=x.dtype)
    return value[torch.bucketize(x, torch.tensor(activation.thresholds, dtype=x.dtype))]


def seen(v, w, v_star, w_star, surrogates, activation, z):
    """Scores of everything that can be sampled, from coordinates z of the rows, n of ``[m, N]``."""
    point = v, w, v_star, w_star
    v, v_star = v.to(z[0].dtype), v_star.to(z[0].dtype)
    r, r_star = (sum(z_k * float(x) for z_k, x in zip(z, t, strict=True)) for t in (w, w_star))
    h = levels(r, activation)
    missed = v @ h - v_star @ levels(r_star, activation)
    dv, _ = gradient(*point, activation=activation)
    yield score(missed.square() / 2, loss(*point, activation=activation))
    yield score(h * missed, dv)
    for surrogate in surrogates:
        slope = surrogate.slope(((r - activation.offset) / activation.scale).reshape(1, -1)).reshape(r.shape)
        g = torch.stack([(v @ (z_k * slope)) * missed for z_k in z])
        yield score(g, coarse_gradient(*point, surrogate, activation=activation))


def rows(number, m, n, seed):
    """The coordinates of Gaussian rows; sampled and multiplied in single precision, judged in double."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(m, number, generator=draw) for _ in range(n)]


def in_the_plane(v, w, v_star, w_star):
    """The same problem with n = 2: Z is rotation invariant, and nothing is expected outside the plane."""
    here = plane(w, w_star)
    w2 = torch.stack([here.size, torch.zeros_like(here.size)])
    return v, w2, v_star, torch.stack([here.cos, here.sin]) * here.size_star


def test_closed_forms_agree_with_monte_carlo():
    """At least 50 problems, m 1-8, n 2-12, |w| 0.3-5, 1e6 samples; those of the plane of w and w_star."""
    z = rows(1_000_000, 8, 2, seed=0)
    scores = []
    for seed in range(50):
        v, w, v_star, w_star = in_the_plane(*problem(seed))
        few = [z_k[: len(v)] for z_k in z]
        scores += seen(v, w, v_star, w_star, PAPER, THRESHOLD, few)
    judged(scores, "50 problems in their planes, 1e6 samples")


@pytest.mark.slow
def test_closed_forms_agree_with_monte_carlo_in_all_dimensions():
    scores = []
    for seed in range(50):
        v, w, v_star, w_star = problem(seed)
        z = rows(1_000_000, len(v), len(w), seed=1000 + seed)
        scores += seen(v, w, v_star, w_star, PAPER, THRESHOLD, z)
    judged(scores, "50 problems, 1e6 samples")


def test_one_problem_agrees_with_monte_carlo_in_all_dimensions():
    scores = seen(*problem(7, m=3, n=6), PAPER, THRESHOLD, rows(1_000_000, 3, 6, seed=1))
    judged(list(scores), "one problem of m = 3, n = 6, 1e6 samples")


def test_every_slope_and_staircase_agrees_with_monte_carlo():
    z = rows(100_000, 2, 2, seed=2)
    scores = []
    for seed, activation in enumerate(STAIRCASES.values()):
        point = in_the_plane(*problem(seed, m=2))
        scores += seen(*point, [*SLOPES, Hat(), ReSTE(progress=0.7)], activation, z)
    judged(scores, f"{len(SLOPES) + 2} slopes x {len(STAIRCASES)} staircases, 1e5 samples")


@pytest.mark.parametrize(
    ("quantizer", "values"),
    [
        (QuantizedReLU(bits=2), {"scale": 0.65}),
        (Binary(), {"scale": 0.8}),
        (Uniform(bits=3, signed=False, zero_point=True), {"scale": 0.4, "offset": -0.8}),
    ],
    ids=lambda x: write(x) if not isinstance(x, dict) else "",
)
def test_a_quantizer_with_a_surrogate_trains_as_is_predicted(quantizer, values):
    v, w, v_star, w_star = problem(3, m=3, n=4)
    values = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    activation, scores = Staircase.of(quantizer, **values), []
    z = normal(300_000, 3, 4, seed=4)
    for surrogate in (ReLU(), ClippedReLU(), HardTanh(), Tanh(), ApproxSign(), LogTail()):
        surrogate = surrogate.over(quantizer.window)
        student = w.expand(len(z), -1).clone().requires_grad_()
        y = quantizer(torch.einsum("ijk,ik->ij", z, student), surrogate, **values) @ v
        label = quantizer(z @ w_star, **values) @ v_star
        (y - label).square().sum().div(2).backward()
        exact = coarse_gradient(v, w, v_star, w_star, surrogate, activation=activation)
        scores.append(score(student.grad.T, exact))
    judged(scores, f"autograd through {write(quantizer)}, 3e5 samples")


class LogTail(Surrogate):
    """A surrogate of a user's own, twelve lines, with nothing declared: it goes everywhere."""

    def curve(self, x):
        return torch.sign(x) * torch.log1p(x.abs())

    def slope(self, x):
        return 1 / (1 + x.abs())


@everywhere
def test_a_surrogate_of_ones_own_is_told_whether_it_points_downhill(activation):
    points = [problem(seed, m=4, n=5) for seed in range(30)]
    v, w, v_star, w_star = (torch.stack(p) for p in zip(*points, strict=True))
    found = correlation(v, w, v_star, w_star, LogTail(), activation=activation)
    g = coarse_gradient(v, w, v_star, w_star, LogTail(), activation=activation)
    _, dw = gradient(v, w, v_star, w_star, activation=activation)
    assert torch.allclose(found, (g * dw).sum(-1), rtol=1e-10, atol=1e-12)


def quotient(f, x, h=4e-4):
    """Central differences of fourth order."""
    steps = h * torch.eye(len(x), dtype=x.dtype)
    near, far = (f(x + k * steps) - f(x - k * steps) for k in (1, 2))
    return (8 * near - far) / (12 * h)


@everywhere
@pytest.mark.parametrize("seed", range(10))
def test_the_gradient_is_the_quotient_of_differences_of_the_loss(seed, activation):
    v, w, v_star, w_star = problem(seed)
    dv, dw = gradient(v, w, v_star, w_star, activation=activation)
    by_v = quotient(lambda x: loss(x, w, v_star, w_star, activation=activation), v)
    by_w = quotient(lambda x: loss(v, x, v_star, w_star, activation=activation), w)
    assert torch.allclose(dv, by_v, rtol=0, atol=1e-8) and torch.allclose(dw, by_w, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["threshold", "binary"])
@pytest.mark.parametrize("seed", range(10))
def test_the_gradient_is_autograds(seed, name):
    v, w, v_star, w_star = problem(seed)
    v.requires_grad_(), w.requires_grad_()
    activation = STAIRCASES[name]
    loss(v, w, v_star, w_star, activation=activation).backward()
    dv, dw = gradient(v.detach(), w.detach(), v_star, w_star, activation=activation)
    assert torch.allclose(v.grad, dv, rtol=1e-13, atol=1e-14)
    assert torch.allclose(w.grad, dw, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("seed", range(12))
def test_the_fields_are_those_printed_in_the_paper(seed):
    v, w, v_star, w_star = problem(seed)
    unit, root = w / w.norm(), math.sqrt(2 * math.pi)
    theta = float(torch.arccos(unit @ w_star))
    between = (unit + w_star) / (unit + w_star).norm()
    inner, h = v @ v_star, v @ v + v.sum() ** 2 - v.sum() * v_star.sum() + v @ v_star
    identity = ((v @ v) * unit - inner * w_star) / root
    relu = h / (2 * root) * unit - math.cos(theta / 2) * inner / root * between
    assert torch.allclose(coarse_gradient(v, w, v_star, w_star, Identity()), identity, atol=1e-13)
    assert torch.allclose(coarse_gradient(v, w, v_star, w_star, ReLU()), relu, atol=1e-13)

    def xi(x):
        return (
            math.sqrt(math.pi / 2) * math.erf(x / math.sqrt(2)) - x * math.exp(-x * x / 2)
            if x < 40
            else root / 2
        )

    def polar(trigonometric, start):
        return integrate.quad(
            lambda a: trigonometric(a) * xi(1 / (math.cos(a) * float(w.norm()))),
            start - math.pi / 2, math.pi / 2, epsabs=1e-13, epsrel=1e-12, limit=400,
        )[0] / (2 * math.pi)  # fmt: skip

    p0, p, q = polar(math.cos, 0.0), polar(math.cos, theta), polar(math.sin, theta)
    clipped = p0 * h / 2 * unit - inner / math.sin(theta / 2) * q * between
    clipped = clipped - inner * (p - q / math.tan(theta / 2)) * unit
    assert torch.allclose(
        coarse_gradient(v, w, v_star, w_star, ClippedReLU()), clipped, rtol=1e-10, atol=1e-10
    )

    there = inner**2 * math.sin(theta) / (root**3 * w.norm())
    assert float(correlation(v, w, v_star, w_star, Identity())) == pytest.approx(float(there), rel=1e-12)
    assert float(correlation(v, w, v_star, w_star, ReLU())) == pytest.approx(float(there) / 2, rel=1e-12)
    there = q * inner**2 / (2 * math.pi * w.norm())
    assert float(correlation(v, w, v_star, w_star, ClippedReLU())) == pytest.approx(float(there), rel=1e-9)


@everywhere
@sloped
def test_the_teacher_is_a_zero_of_loss_gradient_and_every_field(surrogate, activation):
    v, _, _, w = problem(1, m=3, n=5)
    w = 1.3 * w
    assert abs(float(loss(v, w, v, w, activation=activation))) < 1e-11
    dv, dw = gradient(v, w, v, w, activation=activation)
    assert dv.abs().max() < 1e-11 and dw.abs().max() < 1e-14
    assert coarse_gradient(v, w, v, w, surrogate, activation=activation).abs().max() < 1e-11
    assert abs(float(correlation(v, w, v, w, surrogate, activation=activation))) < 1e-14


@everywhere
@pytest.mark.parametrize("surrogate", [*PAPER, HardTanh(), Tanh()], ids=write)
def test_nothing_breaks_on_or_near_the_line_of_the_teacher_at_any_size(surrogate, activation):
    v, w, v_star, w_star = problem(2, m=3, n=4)
    size = torch.tensor([1e-300, 1e-8, 1.0, 1e8, 1e300], dtype=torch.float64)[:, None, None, None]
    turn = torch.tensor([0.0, 1e-300, 1e-14, 1e-12, 1e-7], dtype=torch.float64)[:, None, None]
    side = torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None]
    near, on = size * (side * w_star + turn * w), size * side * w_star * torch.ones_like(turn)
    for f in (loss, gradient):
        values = f(v, near, v_star, w_star, activation=activation)
        assert all(not t.isnan().any() for t in values)
    a, b = (loss(v, x, v_star, w_star, activation=activation) for x in (near, on))
    assert torch.allclose(a, b, rtol=0, atol=1e-6)
    a, b = (coarse_gradient(v, x, v_star, w_star, surrogate, activation=activation) for x in (near, on))
    assert torch.allclose(a, b, rtol=0, atol=3e-6)
    assert torch.isfinite(correlation(v, near, v_star, w_star, surrogate, activation=activation)).all()
    _, dw = gradient(v, on, v_star, w_star, activation=activation)
    along = (dw @ w_star).unsqueeze(-1) * w_star
    assert ((dw - along).abs() <= 1e-12 * dw.abs().amax(-1, keepdim=True)).all()  # none across


def test_at_a_weight_of_zero_everything_is_as_documented():
    v, _, v_star, w_star = problem(5, m=3, n=4)
    w, mass = torch.zeros_like(w_star), 1 / math.sqrt(2 * math.pi)
    exact = ((v_star @ v_star) + v_star.sum() ** 2) / 8
    assert float(loss(v, w, v_star, w_star)) == pytest.approx(float(exact), rel=1e-14)
    dv, dw = gradient(v, w, v_star, w_star)
    assert dv.tolist() == [0.0] * 3 and dw.tolist() == [0.0] * 4
    found = coarse_gradient(v, w, v_star, w_star, Identity())
    assert torch.allclose(found, -(v @ v_star) * mass * w_star, rtol=1e-14)
    for surrogate in (ReLU(), ClippedReLU()):
        assert coarse_gradient(v, w, v_star, w_star, surrogate).tolist() == [0.0] * 4
    assert float(correlation(v, w, v_star, w_star, Identity())) == 0


@everywhere
@pytest.mark.parametrize("surrogate", [Identity(), HardTanh(), Tanh(), MagnitudeAwareSign()], ids=write)
def test_at_a_weight_of_zero_the_formula_is_what_is_sampled(surrogate, activation):
    v, w, v_star, w_star = in_the_plane(*problem(6, m=3))
    z = normal(100_000, 3, 2, seed=6)
    still = torch.full((len(z), 3), activation.zero, dtype=torch.float64)
    missed = still @ v - levels(z @ w_star, activation) @ v_star
    size = abs(activation.offset / activation.scale)
    slope = float(
        surrogate.slope(torch.tensor([[-size, size]]).double())[0, 0 if activation.offset > 0 else 1]
    )
    g = torch.einsum("ijk,ij->ik", z, slope * v * missed.unsqueeze(-1))
    at_zero = torch.zeros_like(w)
    dv, _ = gradient(v, at_zero, v_star, w_star, activation=activation)
    judged(
        [
            score(g.T, coarse_gradient(v, at_zero, v_star, w_star, surrogate, activation=activation)),
            score((still * missed.unsqueeze(-1)).T, dv),
            score(missed.square() / 2, loss(v, at_zero, v_star, w_star, activation=activation)),
        ],
        "w = 0",
    )


def test_a_teacher_of_zero_is_not_a_number():
    v, w, v_star, w_star = problem(5)
    for t in (loss(v, w, v_star, 0 * w_star), coarse_gradient(v, w, v_star, 0 * w_star, ReLU())):
        assert t.isnan().all()


@everywhere
@pytest.mark.parametrize("surrogate", [*PAPER, Tanh(), Hat()], ids=lambda s: type(s).__name__)
def test_a_rotation_turns_the_fields_along(surrogate, activation):
    v, w, v_star, w_star = problem(8, n=6)
    turn = torch.linalg.qr(normal(6, 6, seed=9)).Q
    here, there = (v, w, v_star, w_star), (v, turn @ w, v_star, turn @ w_star)
    for a, b in zip(
        gradient(*here, activation=activation), gradient(*there, activation=activation), strict=True
    ):
        assert torch.allclose(turn @ a if len(a) == 6 and a is not b else a, b, atol=1e-11) or len(v) == 6
    a = coarse_gradient(*here, surrogate, activation=activation)
    assert torch.allclose(turn @ a, coarse_gradient(*there, surrogate, activation=activation), atol=1e-11)
    order = torch.randperm(len(v), generator=torch.Generator().manual_seed(0))
    swapped = coarse_gradient(v[order], w, v_star[order], w_star, surrogate, activation=activation)
    assert torch.allclose(swapped, a, atol=1e-11)


def test_what_does_not_see_the_size_of_w():
    v, w, v_star, w_star = problem(10)
    for factor in (1e-3, 7.0, 1e9):
        for surrogate in (Identity(), ReLU()):
            a, b = (coarse_gradient(v, x, v_star, w_star, surrogate) for x in (w, factor * w))
            assert torch.allclose(a, b, rtol=1e-13, atol=1e-14)
        assert torch.allclose(loss(v, w, v_star, w_star), loss(v, factor * w, v_star, w_star), rtol=1e-13)
        a, b = (coarse_gradient(v, w, v_star, x, ClippedReLU()) for x in (w_star, factor * w_star))
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-14)
    tiny = coarse_gradient(v, 1e-9 * w, v_star, w_star, ClippedReLU())
    assert torch.allclose(tiny, coarse_gradient(v, w, v_star, w_star, ReLU()), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("surrogate", [*PAPER, HardTanh(), MagnitudeAwareSign()], ids=write)
@pytest.mark.parametrize("name", ["threshold", "ceil"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_large_batch_is_its_rows(dtype, name, surrogate):
    number, activation = 3000, STAIRCASES[name]
    shapes = ((number, 3), (number, 40), (number, 3), (number, 40))
    v, w, v_star, w_star = (normal(*s, seed=20 + i).to(dtype) for i, s in enumerate(shapes))
    w[5], w[6], w[7] = 2 * w_star[5], -w_star[6], w_star[7] + 1e-6 * w[7]
    few = slice(0, 40)
    for size in (1.0, 0.0):
        w[8] = size * w[8]  # squares of what is 0 are looked at one by one
        for a, b, c, d in (
            (v, w, v_star, w_star),
            (v, w, v_star[:1], w_star[0]),
            (v[0], w, v_star[0], w_star),
        ):
            g = coarse_gradient(a, w, c, d, surrogate, activation=activation)
            rows = (t[few] if t.dim() == 2 and len(t) > 1 else t for t in (a, b, c, d))
            again = coarse_gradient(*rows, surrogate, activation=activation)
            assert g.shape == (number, 40) and g.dtype == dtype
            assert torch.allclose(g[few], again, rtol=1e-5, atol=1e-12 if dtype == torch.float64 else 1e-6)
    out = torch.empty(number, 40, dtype=dtype)
    assert coarse_gradient(v, w, v_star, w_star, surrogate, activation=activation, out=out) is out
    assert torch.equal(out, coarse_gradient(v, w, v_star, w_star, surrogate, activation=activation))
    strided = torch.empty(40, number, dtype=dtype).T
    coarse_gradient(v, w, v_star, w_star, surrogate, activation=activation, out=strided)
    assert torch.equal(strided, out)


def test_leading_axes_broadcast():
    v, w = normal(4, 1, 3, seed=11), normal(5, 7, seed=12)
    v_star, w_star = normal(3, seed=13), normal(7, seed=14)
    for surrogate in (ReLU(), ClippedReLU(), Tanh()):
        g = coarse_gradient(v, w, v_star, w_star, surrogate)
        assert g.shape == (4, 5, 7)
        assert torch.allclose(g[1, 2], coarse_gradient(v[1, 0], w[2], v_star, w_star, surrogate), atol=1e-13)
        for measure in (correlation, descent_ratio):
            many = measure(v, w, v_star, w_star, surrogate)
            one = measure(v[1, 0], w[2], v_star, w_star, surrogate)
            assert many.shape == (4, 5) and torch.allclose(many[1, 2], one, rtol=1e-9)
    dv, dw = gradient(v, w, v_star, w_star)
    assert dv.shape == (4, 5, 3) and dw.shape == (4, 5, 7) and loss(v, w, v_star, w_star).shape == (4, 5)


def test_single_precision_is_double_precision_rounded():
    wide = problem(15)
    narrow = tuple(t.float() for t in wide)
    again = tuple(t.double() for t in narrow)
    for surrogate in (ClippedReLU(), Tanh()):
        g = coarse_gradient(*narrow, surrogate)
        assert g.dtype == torch.float32 and torch.equal(g, coarse_gradient(*again, surrogate).float())
    assert loss(*narrow).dtype == torch.float32 and torch.equal(loss(*narrow), loss(*again).float())


@papers
def test_closed_fields_are_differentiable_and_run_under_vmap(surrogate):
    v, w, v_star, w_star = (t.requires_grad_() for t in problem(16, m=2, n=3))
    assert torch.autograd.gradcheck(
        lambda v, w: coarse_gradient(v, w, v_star.detach(), w_star.detach(), surrogate), (v, w)
    )
    points = [problem(seed, m=2, n=3) for seed in range(4)]
    many = tuple(torch.stack(p) for p in zip(*points, strict=True))
    _, dw = gradient(*many)
    assert torch.allclose(vmap(grad(loss, argnums=1))(*many), dw, atol=1e-12)


@papers
def test_the_descent_inequality_holds_with_its_constant(surrogate):
    points = []
    for seed in range(400):
        v, w, v_star, w_star = problem(seed, m=4, n=5)
        angle = math.pi * (seed % 20 + 0.5) / 20 if seed % 3 else 10.0 ** -(seed % 7)
        here = plane(w, w_star)
        w = here.size * (
            math.cos(angle) * w_star - math.sin(angle) * (here.unit - here.cos * w_star) / here.sin
        )
        if seed % 2:  # where the gradient in v vanishes
            v = (1 - 2 * angle / math.pi) * v_star + v_star.sum()
            v = v - v.sum() / 5
        points.append((v, w, v_star, w_star))
    v, w, v_star, w_star = (torch.stack(p) for p in zip(*points, strict=True))
    ratio = descent_ratio(v, w, v_star, w_star, surrogate)
    constant = descent_constant(surrogate, v.norm(dim=-1), w.norm(dim=-1))
    assert (ratio <= constant * (1 + 1e-9)).all()
    if surrogate != Identity():
        assert (ratio / constant).max() > 0.4  # no far-fetched bound


def test_the_constant_of_the_descent_inequality_comes_from_the_right_angle():
    theta = torch.linspace(1e-6, math.pi - 1e-6, 20001, dtype=torch.float64)
    for c in (1e-3, 0.1, 0.5, 1.0, 2.0, 5.0, 50.0):
        fall, chance = math.exp(-c * c / 2), torch.special.ndtr
        a = (1 - theta / math.pi) * (1 - fall) - 0.5 + fall * chance(c / theta.tan())
        b = chance(c / theta.sin()) - 0.5
        ratio = (a.square() + b.square() - 2 * a * b * theta.cos()) / (theta.sin() * b)
        assert float(ratio.max()) == pytest.approx(float(chance(torch.tensor(c).double())) - 0.5, rel=1e-5)


def test_the_descent_inequality_has_no_constant_for_the_identity():
    m = 3
    v_star, w_star = torch.tensor([1.0, 0.5, -0.3]).double(), torch.tensor([1.0, 0.0]).double()
    v = -v_star + 2 * v_star.sum() / (m + 1)  # the spurious minimizer
    for turn in (1e-1, 1e-3, 1e-5):
        w = torch.tensor([-math.cos(turn), math.sin(turn)]).double()
        assert descent_ratio(v, w, v_star, w_star, Identity()) > 0.01 / turn
        assert descent_ratio(v, w, v_star, w_star, ReLU()) < descent_constant(ReLU(), v.norm(), 1.0)
    assert descent_constant(Identity(), 1.0, 1.0) == math.inf
    with pytest.raises(ValueError, match="no constant is known for Tanh"):
        descent_constant(Tanh(), 1.0, 1.0)


def test_what_cannot_be_is_refused_with_the_mend():
    v, w, v_star, w_star = problem(0, m=2, n=3)
    with pytest.raises(ValueError, match=r"w and w_star need the same last axis.*\(3,\) and \(2,\)"):
        loss(v, w, v_star, v_star)
    with pytest.raises(ValueError, match="v and v_star need the same last axis"):
        coarse_gradient(torch.tensor(1.0), w, v_star, w_star, ReLU())
    for point in ((v, w, v_star, w_star), (v, w.expand(40000, -1), v_star, w_star)):
        with pytest.raises(ValueError, match=r"EWGS looks at the upstream gradient.*sample it with sim"):
            coarse_gradient(*point, EWGS())
    with pytest.raises(ValueError, match=r"out must be torch.float64 of shape \(3,\)"):
        coarse_gradient(v, w, v_star, w_star, ReLU(), out=torch.empty(4))
    with pytest.raises(ValueError, match="by quadrature, so not differentiable"):
        coarse_gradient(v, w.requires_grad_(), v_star, w_star, Tanh())


def test_a_slope_that_no_quadrature_settles_is_refused():
    class Noise(Surrogate):
        def slope(self, x):
            return torch.frac(x.abs() * 1e15)

    with pytest.raises(ValueError, match="Noise: quadrature reached only"):
        coarse_gradient(*problem(0), Noise())
