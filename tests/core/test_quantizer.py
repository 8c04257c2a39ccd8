"""What every quantizer promises, over the whole catalogue in many settings."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.func import grad, vmap

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.quantizers import Uniform
from coarsegrad.core.scales import Scale, positive
from coarsegrad.core.surrogates import Gaussian, HardTanh
from coarsegrad.spec import write
from core.grid import WIDE, X, data, quantizers

GRID = quantizers()
every = pytest.mark.parametrize("quantizer", GRID, ids=write)
some = pytest.mark.parametrize(
    "quantizer",
    [q for q in GRID if q == type(q)() or q.bits in (1, 8) or getattr(q, "zero_point", False)],
    ids=write,
)
defaults = pytest.mark.parametrize("quantizer", [q for q in GRID if q == type(q)()], ids=write)
SQUASHES = [q for q in GRID if q.name == "dorefa_weight" and q.bits > 1]
"""Their value, squashed again, is another."""
OWN_ESTIMATOR = [q for q in GRID if q.name == "n2uq"]
both = pytest.mark.parametrize("x", [X, WIDE], ids=["small", "wide"])


@cache
def fitted(quantizer, wide=False):
    return quantizer.fit(WIDE if wide else X)


def values_for(quantizer, x):
    return fitted(quantizer, x is WIDE)


@both
@every
def test_only_levels_come_out_and_a_code_names_its_level(quantizer, x):
    values = values_for(quantizer, x)
    y, codes = quantizer(x, **values), quantizer.codes(x, **values)
    assert y.shape == codes.shape == x.shape and y.dtype == x.dtype and codes.dtype == torch.int64
    assert codes.min() >= 0 and codes.max() < len(quantizer.levels) <= 2**quantizer.bits
    assert torch.equal(quantizer.dequantize(codes, **values), y)
    level = quantizer.scale.view(torch.tensor(quantizer.levels)[codes])
    expected = level * quantizer.spacing(values) + values.get("offset", torch.zeros(()))
    assert torch.equal(y, expected.reshape(x.shape))


@every
def test_gradients_do_not_change_the_value(quantizer):
    values = values_for(quantizer, WIDE)
    with_gradient = quantizer(WIDE.clone().requires_grad_(), **values)
    with torch.no_grad():
        assert torch.equal(with_gradient, quantizer(WIDE, **values))
    assert torch.equal(
        with_gradient, quantizer(WIDE, Gaussian() if quantizer not in OWN_ESTIMATOR else None, **values)
    )


@pytest.mark.parametrize(
    "quantizer",
    # a squash is another the second time; thresholds may lie anywhere; floor and ceil have no slack
    [q for q in GRID if q not in SQUASHES and getattr(q, "rounding", "") not in ("floor", "ceil") and not getattr(q, "thresholds", None)],  # noqa: E501
    ids=write,
)  # fmt: skip
def test_a_value_quantizes_to_itself_at_a_fixed_scale(quantizer):
    values = fitted(quantizer)
    y = quantizer(X, **values)
    assert torch.equal(quantizer(y, **values), y)
    assert torch.equal(quantizer.codes(y, **values), quantizer.codes(X, **values))


@every
def test_a_larger_input_gives_no_smaller_value(quantizer):
    quantizer = per_tensor(quantizer)
    values = fitted(quantizer)
    x = torch.linspace(-5, 5, 2001)
    assert (quantizer(x, **values).diff() >= 0).all()


def per_tensor(quantizer):
    if quantizer.scale.axis is None and quantizer.scale.group is None:
        return quantizer
    return replace(quantizer, scale=replace(quantizer.scale, axis=None, group=None))


@both
@every
def test_nothing_that_goes_in_is_changed(quantizer, x):
    before, values = x.clone(), {k: v.clone() for k, v in values_for(quantizer, x).items()}
    used = {k: v.clone() for k, v in values.items()}
    leaf = x.clone().requires_grad_()
    quantizer(leaf, **used).sum().backward()
    quantizer.codes(x, **used), quantizer.fit(x)
    assert torch.equal(x, before) and torch.equal(leaf, before)
    assert all(torch.equal(used[k], values[k]) for k in values)


def composed(quantizer, x, values, surrogate, upstream):
    """The gradients of x and the fitted values, by autograd alone."""
    x = x.clone().requires_grad_()
    values = {k: v.double().requires_grad_(k in quantizer.learned) for k, v in values.items()}
    v = quantizer.scale.view(quantizer.squash(x)) - values.get("offset", 0.0)
    scale = quantizer.spacing(values)
    u = v / scale
    rest = {k: t for k, t in values.items() if k not in ("scale", "offset")}
    level, curve = quantizer.step(u.detach(), **rest), surrogate.curve(u)
    y = scale * (level + curve - curve.detach()) + values.get("offset", 0.0)
    (y.reshape(x.shape) * upstream).sum().backward()
    return x.grad, {k: v.grad for k, v in values.items() if k in quantizer.learned}


@both
@pytest.mark.parametrize("quantizer", [q for q in GRID if q not in OWN_ESTIMATOR], ids=write)
def test_gradients_are_those_that_autograd_gives_the_curve(quantizer, x):
    upstream = data(*x.shape, seed=5)
    for surrogate in (HardTanh().over(quantizer.window), Gaussian().over(quantizer.window)):
        values = values_for(quantizer, x)
        off = {"scale": lambda v: 0.97 * v, "offset": lambda v: v + 0.001}  # no x on an end of the window
        values = {k: off[k](v) if k in off else v for k, v in values.items()}
        at_x, at_values = composed(quantizer, x.double(), values, surrogate, upstream.double())
        leaf = x.clone().requires_grad_()
        used = {k: v.clone().requires_grad_(k in quantizer.learned) for k, v in values.items()}
        (quantizer(leaf, surrogate, **used) * upstream).sum().backward()
        assert torch.allclose(leaf.grad.double(), at_x, rtol=1e-4, atol=1e-5)
        for name, expected in at_values.items():
            if quantizer.scale_rule is None:
                factor = 1.0
                if name in ("scale", "offset") and name in quantizer.learned:
                    factor = quantizer.gradient_factor(x.numel() / used[name].numel())
                # the fast path keeps each rounding error in a byte: to 1/504 of a step
                off = 1e-4 + (float(upstream.abs().sum()) / 504 if x is WIDE and name == "scale" else 0.0)
                assert torch.allclose(
                    used[name].grad.double(), expected * factor, rtol=1e-3, atol=off * factor
                )


@pytest.mark.parametrize("quantizer", [q for q in GRID if q not in OWN_ESTIMATOR], ids=write)
def test_by_default_gradients_pass_inside_the_window(quantizer):
    x, values = X.clone().requires_grad_(), fitted(quantizer)
    v = quantizer.scale.view(quantizer.squash(x))
    upstream = data(*v.shape, seed=5)
    u = (v.detach() - values.get("offset", 0.0)) / quantizer.spacing(values)
    inside = (u > quantizer.window[0]) & (u < quantizer.window[-1])
    (expected,) = torch.autograd.grad(v, x, upstream * inside)
    quantizer(x, **values).backward(upstream.reshape(x.shape))
    assert torch.equal(x.grad, expected)


HARD = {
    "zeros": torch.zeros(4, 4, 4),
    "constant": torch.full((4, 4, 4), 0.7),
    "negative": torch.full((4, 4, 4), -0.7),
    "huge": 3e38 * data(4, 4, 4).clamp(-1, 1),
    "tiny": 1e-37 * data(4, 4, 4),
    "one zero row": torch.cat([torch.zeros(1, 4, 4), data(3, 4, 4)]),
    "one outlier": torch.cat([torch.full((1, 4, 4), 1e6), data(3, 4, 4)]),
    "float16": data(4, 4, 4).half(),
    "tiny float16": (1e-6 * data(4, 4, 4)).half(),
    "huge float16": (6e4 * data(4, 4, 4).clamp(-1, 1)).half(),
    "bfloat16": data(4, 4, 4).bfloat16(),
    "float64": data(4, 4, 4).double(),
}


@pytest.mark.parametrize("kind", HARD)
@some
def test_fit_finds_a_finite_positive_scale_for_any_finite_tensor(quantizer, kind):
    x = HARD[kind]
    if quantizer.live and kind == "huge":
        x = x / x.numel()  # a live mean is one sum in float32, without a second look
    if (quantizer.name == "lsq_plus" or getattr(quantizer, "zero_point", False)) and "huge" in kind:
        x = x / 8  # the distance from end to end must itself be a number of the dtype
    values = quantizer.fit(x)
    assert all(torch.isfinite(v).all() and not v.requires_grad for v in values.values())
    assert all(v.dtype == (torch.float64 if kind == "float64" else torch.float32) for v in values.values())
    assert (quantizer.spacing(values) > 0).all()
    y, codes = quantizer(x, **values), quantizer.codes(x, **values)
    assert y.dtype == x.dtype and torch.isfinite(y).all()
    assert codes.min() >= 0 and codes.max() < len(quantizer.levels)
    if not x.any() and 0.0 in quantizer.levels:
        assert not y.any()


FOLLOWING = [
    q
    for q in GRID
    if type(q).__name__ in ("Binary", "Ternary", "TWN", "Uniform", "LSQPlus", "Nonuniform", "LSQ", "N2UQ")
]


@pytest.mark.parametrize(
    "quantizer", [q for q in FOLLOWING if q.scale.statistic not in ("one", "half_gaussian")], ids=write
)
def test_a_fitted_scale_follows_the_size_of_the_data(quantizer):
    one = quantizer.fit(X)
    for size in (2.0**-90, 2.0**-30, 2.0**30, 2.0**90):  # powers of two: nothing is rounded
        assert torch.equal(quantizer.fit(X * size)["scale"], one["scale"] * size)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@every
def test_a_fit_to_what_is_not_finite_or_empty_raises(quantizer, bad):
    x = data(4, 4, 4)
    x[1, 2, 3] = bad
    if not quantizer.live and "dorefa" not in quantizer.name:
        with pytest.raises(ValueError, match="not finite"):
            quantizer.fit(x)
    if "dorefa" not in quantizer.name:
        with pytest.raises(ValueError, match="empty"):
            quantizer.fit(torch.zeros(4, 0, 4))


@pytest.mark.parametrize("quantizer", [q for q in GRID if q not in SQUASHES and q.name != "pact"], ids=write)
def test_infinity_gets_the_outer_levels(quantizer):
    quantizer = per_tensor(quantizer)
    values = fitted(quantizer)
    codes = quantizer.codes(torch.tensor([-math.inf, math.inf]), **values)
    assert codes.tolist() == [0, len(quantizer.levels) - 1]
    y = quantizer(torch.tensor([-math.inf, math.inf], requires_grad=True), **values)
    assert torch.isfinite(y).all()


@defaults
def test_vmap_of_grad_is_the_loop(quantizer):
    quantizer = per_tensor(quantizer)
    values = fitted(quantizer)
    x, weight = data(5, 12), data(5, 12, seed=1)

    def loss(x, weight, values):
        return (weight * quantizer(x, **values)).sum()

    together = vmap(grad(loss), (0, 0, None))(x, weight, values)
    loop = torch.stack([grad(loss)(*row, values) for row in zip(x, weight, strict=True)])
    assert torch.allclose(together, loop, rtol=1e-5, atol=1e-7)


@defaults
def test_the_compiled_whole_is_the_eager_one(quantizer):
    values = {} if quantizer.live else fitted(quantizer)  # a live one is fitted inside

    def run(x, values):
        return (quantizer(x, **values) * x).sum()

    torch.compiler.reset()
    results = []
    for function in (run, torch.compile(run, fullgraph=True, backend="aot_eager")):
        x = X.clone().requires_grad_()
        used = {k: v.clone().requires_grad_(k in quantizer.learned) for k, v in values.items()}
        function(x, used).backward()
        results.append((x.grad, *(v.grad for k, v in used.items() if k in quantizer.learned)))
    for eager, compiled in zip(*results, strict=True):
        assert torch.allclose(eager, compiled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@some
def test_value_and_gradient_keep_the_dtype(quantizer, dtype):
    x = X.to(dtype).requires_grad_()
    values = {k: v.to(dtype) for k, v in quantizer.fit(x).items()}
    y = quantizer(x, **values)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    codes = quantizer.codes(x, **values)
    assert codes.min() >= 0 and codes.max() < len(quantizer.levels)
    if dtype == torch.float64 or quantizer.bits <= 4:
        assert torch.equal(quantizer.dequantize(codes, **values), y)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4, 5)], ids=str)
@defaults
def test_any_shape_works(quantizer, shape):
    quantizer = per_tensor(quantizer)
    x = data(*shape).requires_grad_()
    y = quantizer(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == quantizer.codes(x).shape == shape


@pytest.mark.parametrize("quantizer", [q for q in GRID if not q.learned and q not in SQUASHES], ids=write)
def test_at_most_one_tensor_of_the_size_of_x_is_kept_for_the_backward_pass(quantizer):
    x, kept = X.clone().requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        quantizer(x, **fitted(quantizer))
    assert sum(t.numel() >= X.numel() for t in kept) <= 1


@every
def test_a_catalogue_entry_says_its_formula_and_source(quantizer):
    assert quantizer.formula and quantizer.source and type(quantizer).__doc__


@every
def test_levels_ascend_and_fit_into_the_bits(quantizer):
    levels = quantizer.levels
    assert list(levels) == sorted(set(levels)) and 2 <= len(levels) <= 2**quantizer.bits
    window = quantizer.window
    assert window[0] <= levels[0] and levels[-1] <= window[-1] and list(window) == sorted(set(window))


def test_a_quantizer_of_ones_own_needs_levels_and_a_step():
    class Halves(Quantizer):
        levels = (0.0, 0.5)

        def step(self, u, **values):
            return 0.5 * (u > 0.25)

    halves, x = Halves(), torch.tensor([0.1, 0.4], requires_grad=True)
    y = halves(x, scale=torch.tensor(2.0))
    y.sum().backward()
    assert y.tolist() == [0, 0] and halves.codes(x).tolist() == [0, 1] and x.grad.tolist() == [1, 1]
    assert halves.bits == 1
    with pytest.raises(NotImplementedError, match="Quantizer must define levels"):
        _ = Quantizer().levels
    with pytest.raises(NotImplementedError, match=r"Quantizer must define step\(u\)"):
        Quantizer().step(x)


def test_count_is_the_number_of_elements_that_share_a_trained_scale():
    scale, x = torch.tensor(0.3, requires_grad=True), X.clone()
    q = Uniform(bits=3, scale=Scale(learned=True))
    gradients = []
    for count in (None, X.numel(), 10.0):
        q(x, count=count, scale=scale).sum().backward()
        gradients.append(scale.grad.item())
        scale.grad = None
    assert gradients[0] == gradients[1]
    assert gradients[2] == pytest.approx(gradients[0] * math.sqrt(X.numel() / 10), rel=1e-5)


def test_a_fixed_scale_gets_no_gradient():
    scale = torch.tensor(0.3, requires_grad=True)
    x = X.clone().requires_grad_()
    Uniform(bits=3)(x, scale=scale).sum().backward()
    assert scale.grad is None


@pytest.mark.parametrize("size", [0.0, -0.0, -0.4, 1e-30, 0.4])
def test_the_scale_in_use_of_a_trained_one_is_positive(size):
    assert positive(torch.tensor(size)) == pytest.approx(max(abs(size), 1e-8))


@pytest.mark.parametrize("quantizer", [q for q in GRID if getattr(q, "signed", 0) is not None], ids=write)
def test_breaks_are_where_the_level_changes(quantizer):
    values = {name: value.double() for name, value in fitted(quantizer).items()}
    rest = {name: value for name, value in values.items() if name not in ("scale", "offset")}
    if any(value.numel() > 1 for name, value in rest.items() if name != "widths"):
        rest = {name: value.flatten()[0] for name, value in rest.items()}
    breaks = quantizer.breaks(**rest)
    assert len(breaks) == len(quantizer.levels) - 1 and list(breaks) == sorted(breaks)
    points = torch.tensor(breaks, dtype=torch.float64)
    assert quantizer.step(points - 1e-9, **rest).tolist() == list(quantizer.levels[:-1])
    assert quantizer.step(points + 1e-9, **rest).tolist() == list(quantizer.levels[1:])


def test_no_breaks_are_declared_where_chance_decides():
    assert Uniform(rounding="stochastic").breaks() is None
