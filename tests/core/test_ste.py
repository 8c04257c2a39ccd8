"""An exact value forward, a surrogate's pullback backward: over surrogates, dtypes, shapes, transforms."""

from dataclasses import dataclass

import pytest
import torch
from torch.func import grad, vmap

from coarsegrad.core.ste import through
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import ClippedReLU, Gaussian, HardTanh, Identity
from coarsegrad.spec import write
from core.grid import data, surrogates

every = pytest.mark.parametrize("surrogate", list(surrogates(slope=False)), ids=write)
defaults = pytest.mark.parametrize(
    "surrogate", [s for s in surrogates(slope=False) if s == type(s)()], ids=write
)


def sign(x):
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def gradient(x, upstream, surrogate, **options):
    x = x.detach().clone().requires_grad_()
    (through(x, sign(x), surrogate, **options) * upstream).sum().backward()
    return x.grad


@every
def test_the_value_is_y_bit_for_bit(surrogate):
    y = torch.tensor([0.1, -0.0, float("nan"), float("inf"), -float("inf"), 1e-45, 3.4e38])
    x = torch.tensor([0.0, 1.0, float("nan"), float("inf"), -3.0, 1e38, -1e-45], requires_grad=True)
    for value in (through(x, y, surrogate), through(x.detach(), y, surrogate)):
        assert torch.equal(value.view(torch.int32), y.view(torch.int32))


@every
def test_the_gradient_at_x_is_the_pullback_exactly(surrogate):
    x, upstream = 2 * data(200), data(200, seed=1)
    assert torch.equal(gradient(x, upstream, surrogate), surrogate.pullback(upstream, x))


@pytest.mark.parametrize("surrogate", list(surrogates()), ids=write)
def test_the_gradient_at_x_is_upstream_times_slope_exactly(surrogate):
    x, upstream = 2 * data(200), data(200, seed=1)
    assert torch.equal(gradient(x, upstream, surrogate), upstream * surrogate.slope(x))


def test_the_gradient_is_taken_at_the_point_that_is_given():
    x, upstream = data(50), data(50, seed=1)
    at = x / 0.3
    assert torch.equal(gradient(x, upstream, Gaussian(), at=at), upstream * Gaussian().slope(at))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@defaults
def test_value_and_gradient_keep_the_dtype(surrogate, dtype):
    x = data(50, dtype=torch.float64).to(dtype)
    result = gradient(x, torch.ones_like(x), surrogate)
    assert result.dtype == dtype
    assert torch.equal(result, surrogate.pullback(torch.ones_like(x), x))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (2, 0, 3), (2, 3, 4, 5)], ids=str)
def test_any_shape_works(shape):
    x = data(*shape)
    assert gradient(x, torch.ones(shape), HardTanh()).shape == shape


def test_a_tensor_that_is_not_contiguous_works():
    x = data(6, 5).t()
    assert torch.equal(gradient(x, torch.ones(5, 6), HardTanh()), (x.abs() < 1).float())


@every
def test_vmap_of_grad_is_the_loop(surrogate):
    x, weight = data(5, 12), data(5, 12, seed=1)

    def loss(x, weight):
        return (weight * through(x, sign(x), surrogate)).sum()

    together = vmap(grad(loss))(x, weight)
    loop = torch.stack([grad(loss)(*row) for row in zip(x, weight, strict=True)])
    assert torch.allclose(together, loop, rtol=1e-6, atol=1e-7)


@defaults
def test_the_compiled_whole_is_the_eager_one(surrogate):
    torch.compiler.reset()

    def loss(x):
        return (through(2 * x, sign(x), surrogate) ** 3).sum()

    eager, compiled = data(40).requires_grad_(), data(40).requires_grad_()
    loss(eager).backward()
    torch.compile(loss, fullgraph=True, backend="aot_eager")(compiled).backward()
    assert torch.allclose(compiled.grad, eager.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
def test_inductor_compiles_value_and_gradient(cxx):
    torch.compiler.reset()

    def loss(x):
        bump, window = through(x, sign(x), Gaussian()), through(x, sign(x), HardTanh())
        return (bump * x + window * window).sum()

    eager, compiled = data(300).requires_grad_(), data(300).requires_grad_()
    loss(eager).backward()
    torch.compile(loss, fullgraph=True)(compiled).backward()
    assert torch.allclose(compiled.grad, eager.grad, rtol=1e-5, atol=1e-6)


def test_autocast_changes_the_matrix_product_and_not_the_estimator():
    x, weight = data(8, 16).requires_grad_(), data(16, 16, seed=1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = torch.nn.functional.linear(x, weight)
        value = through(hidden, sign(hidden), ClippedReLU())
    assert hidden.dtype == value.dtype == torch.bfloat16
    upstream = torch.ones_like(value)
    (at_hidden,) = torch.autograd.grad(value, hidden, upstream, retain_graph=True)
    assert torch.equal(at_hidden, ClippedReLU().slope(hidden))
    value.backward(upstream)
    assert x.grad.dtype == weight.grad.dtype == torch.float32


@defaults
def test_the_gradient_has_no_gradient(surrogate):
    x = data(5).requires_grad_()
    loss = (through(x, sign(x), surrogate) * x).sum()
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    assert torch.equal(first, sign(x) + surrogate.pullback(x.detach(), x.detach()))
    with pytest.raises(RuntimeError, match="a straight-through gradient cannot be differentiated again"):
        first.sum().backward()


def saved(make):
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        make()
    return kept


@defaults
def test_one_tensor_is_kept_for_the_backward_pass(surrogate):
    x = data(100).requires_grad_()
    y = sign(x)
    (kept,) = saved(lambda: through(x, y, surrogate))
    assert kept.numel() == 100


def test_a_trained_scale_keeps_three():
    x, scale = data(100).requires_grad_(), torch.tensor(0.5, requires_grad=True)
    y = sign(x)
    assert len(saved(lambda: through(x, y, HardTanh(), scale=scale))) == 3
    assert len(saved(lambda: through(x, y, HardTanh(), scale=scale.detach()))) == 1


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (1, 6), (4, 6)], ids=str)
def test_the_scale_gets_what_autograd_gives_it_outside_the_estimator(shape):
    x, upstream = data(4, 6, dtype=torch.float64), data(4, 6, seed=1, dtype=torch.float64)
    surrogate = Gaussian()
    scale = (0.3 + data(*shape, seed=2, dtype=torch.float64).abs()).requires_grad_()
    u = x / scale
    level = torch.round(u.detach())
    (upstream * scale * (level + surrogate.curve(u) - surrogate.curve(u).detach())).sum().backward()
    expected, scale.grad = scale.grad, None
    u = (x / scale).detach()
    y = through(x, (level * scale).detach(), surrogate, at=u, scale=scale, scale_factor=0.25)
    (upstream * y).sum().backward()
    assert scale.grad.shape == shape
    assert torch.allclose(scale.grad, 0.25 * expected, rtol=1e-10)


def test_a_scale_rule_replaces_the_gradient_of_the_scale():
    x, scale = data(20), torch.tensor(0.5, requires_grad=True)

    def rule(upstream, u, level, gradient):
        return upstream * (u > 1) + 0 * level + 0 * gradient

    u = x / 0.5
    through(
        x, torch.round(u) * 0.5, HardTanh(), at=u, scale=scale, scale_rule=rule, scale_factor=2.0
    ).sum().backward()
    assert scale.grad == 2 * (u > 1).sum()


def test_the_scale_is_trained_under_vmap_and_compile():
    x = data(3, 20)

    def loss(scale, x):
        u = (x / scale).detach()
        return (through(x, torch.round(u) * scale.detach(), HardTanh(), at=u, scale=scale) * x).sum()

    scales = torch.tensor([0.2, 0.5, 1.0])
    together = vmap(grad(loss))(scales, x)
    loop = []
    for scale, row in zip(scales, x, strict=True):
        leaf = scale.clone().requires_grad_()
        loss(leaf, row).backward()
        loop.append(leaf.grad)
    assert torch.allclose(together, torch.stack(loop))
    torch.compiler.reset()
    leaf = scales[1].clone().requires_grad_()
    torch.compile(loss, fullgraph=True, backend="aot_eager")(leaf, x[1]).backward()
    assert torch.allclose(leaf.grad, loop[1])


def test_a_surrogate_of_ones_own_needs_no_registration():
    class Square(Surrogate):
        def slope(self, x):
            return x * x

    @dataclass
    class Bare:
        def pullback(self, upstream, x):
            return upstream + x

    x, upstream = data(10), data(10, seed=1)
    assert torch.equal(gradient(x, upstream, Square()), upstream * (x * x))
    assert torch.equal(gradient(x, upstream, Bare()), upstream + x)


def test_neither_x_nor_y_is_changed_and_y_gets_no_gradient():
    x, y = data(10).requires_grad_(), data(10, seed=1).requires_grad_()
    before = x.detach().clone(), y.detach().clone()
    value = through(x, y, Identity())
    value.sum().backward()
    assert torch.equal(x, before[0]) and torch.equal(y, before[1]) and y.grad is None


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"needs x and y of one shape, got \(3,\) and \(3, 1\)"):
        through(torch.zeros(3), torch.zeros(3, 1), Identity())
