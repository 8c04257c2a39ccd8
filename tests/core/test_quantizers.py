"""Each quantizer with fixed or fitted levels against its paper, written out, or against PyTorch's own."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coarsegrad.core.learned import QUANTIZERS
from coarsegrad.core.quantizers import (
    ROUNDINGS,
    TWN,
    Binary,
    DoReFaActivation,
    DoReFaWeight,
    Nonuniform,
    QuantizedReLU,
    Ternary,
    Uniform,
)
from coarsegrad.core.scales import Scale
from coarsegrad.spec import write
from core.grid import data, made

ONE = torch.tensor(1.0)


@pytest.mark.parametrize("quantizer", [Binary(), Uniform(bits=1), DoReFaWeight(bits=1)], ids=write)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_the_sign_of_zero_is_plus_one(quantizer, zero):
    for x in (torch.tensor([zero]), torch.full((1024,), zero)):
        assert (quantizer(x, scale=ONE) == 1).all()
        assert (quantizer(x.clone().requires_grad_(), scale=ONE) == 1).all()
        assert (quantizer.codes(x, scale=ONE) == 1).all()


def test_binary_is_xnor_net():
    w = data(5, 3, 2, 2)
    alpha = np.abs(w.numpy()).reshape(5, -1).mean(1).reshape(5, 1, 1, 1)  # Rastegari et al. 2016, equation 6
    assert np.allclose(Binary(Scale("mean_abs", axis=0, live=True))(w), alpha * np.sign(w.numpy()))


def test_ternary_is_bitnet():
    # Ma et al. 2024, equations 1-3: RoundClip(W / (mean|W| + eps), -1, 1) times mean|W|
    w = data(40, 30).numpy()
    gamma = np.abs(w).mean()
    expected = np.clip(np.round(w / gamma), -1, 1) * gamma
    assert np.allclose(Ternary()(torch.tensor(w)), expected, rtol=1e-6)


def test_a_live_scale_is_a_constant_for_the_gradient():
    w = data(50).requires_grad_()
    Ternary()(w).sum().backward()
    assert torch.equal(w.grad, (w.abs() < w.abs().mean()).float())


@pytest.mark.parametrize("axis", [None, 0])
def test_twn_is_the_formula_of_its_paper(axis):
    w = data(6, 50)
    rows = [w.numpy()] if axis is None else list(w.numpy())
    expected = []
    for row in rows:  # Li et al. 2016, equations 5 and 6
        delta = 0.7 * np.abs(row).mean()
        kept = np.abs(row) > delta
        expected.append(np.sign(row) * kept * np.abs(row[kept]).mean())
    assert np.allclose(
        TWN(scale=Scale("mean_abs", axis=axis, live=True))(w), np.stack(expected).reshape(6, 50)
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(2, 9))
def test_uniform_is_torch_fake_quantize(bits, signed):
    x, scale = 3 * data(1000), 0.09375  # a power of two times 3: x times 1/scale is x over scale up to ties
    low, high = Uniform(bits, signed=signed).ends
    expected = torch.fake_quantize_per_tensor_affine(x, scale, 0, low, high)
    assert torch.allclose(Uniform(bits, signed=signed)(x, scale=torch.tensor(scale)), expected, rtol=1e-6)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_uniform_with_a_zero_point_is_torch_fake_quantize(bits):
    q, x = Uniform(bits, signed=False, zero_point=True), data(1000) + 0.7
    values = q.fit(x)
    zero_point = round((-values["offset"] / values["scale"]).item())
    expected = torch.fake_quantize_per_tensor_affine(x, values["scale"].item(), zero_point, 0, 2**bits - 1)
    off_ties = ((x / values["scale"]).remainder(1) - 0.5).abs() > 1e-3
    assert torch.allclose(q(x, **values)[off_ties], expected[off_ties], rtol=1e-5, atol=1e-6)
    assert (q(x, **values) - x).abs().max() <= 1.01 * values["scale"]


@pytest.mark.parametrize("scale", [Scale(), Scale(axis=0), Scale(group=5)], ids=write)
def test_a_zero_point_keeps_zero_exact_and_covers_one_sided_data(scale):
    q = Uniform(4, signed=False, zero_point=True, scale=scale)
    for shift in (-9.0, 0.0, 9.0):
        x = data(4, 10) + shift
        x[:, 3] = 0
        assert (q(x)[:, 3] == 0).all()
        assert ((q(x) - x).abs() <= 0.51 * (x.max() - x.min()) / 15).all()


def test_narrow_leaves_the_lowest_level_out():
    assert Uniform(2).levels == (-2, -1, 0, 1) and Uniform(2, narrow=True).levels == (-1, 0, 1)
    assert Uniform(2, signed=False).levels == (0, 1, 2, 3) and Uniform(1).levels == (-1, 1)
    assert Uniform(1, signed=False).levels == (0, 1)


def test_roundings_round_as_they_say():
    u = torch.tensor([-1.5, -0.5, 0.2, 0.5, 1.5, 2.5])
    expected = {"nearest": [-2, 0, 0, 0, 2, 2], "floor": [-2, -1, 0, 0, 1, 2], "ceil": [-1, 0, 1, 1, 2, 3]}
    for rounding, values in expected.items():
        assert Uniform(3, rounding=rounding)(u, scale=ONE).tolist() == values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("fraction", [0.0625, 0.5, 0.8125])
def test_stochastic_rounding_is_right_on_average(fraction, dtype):
    # the mean of n fair draws lies within 4.5 standard errors but for 7 in a million seeds
    n, start = 40_000, -2.0
    q = Uniform(3, rounding="stochastic")
    y = q(torch.full((n,), start + fraction, dtype=dtype), scale=ONE).double()
    assert set(y.tolist()) == {start, start + 1}
    assert abs(y.mean() - (start + fraction)) <= 4.5 * math.sqrt(fraction * (1 - fraction) / n)


def test_stochastic_rounding_keeps_whole_numbers_and_its_codes_are_the_nearest():
    q = Uniform(8, rounding="stochastic")
    whole = torch.arange(-128.0, 128.0).repeat(50)
    assert torch.equal(q(whole, scale=ONE), whole)
    x = 30 * data(500)
    assert torch.equal(q.codes(x, scale=ONE), Uniform(8).codes(x, scale=ONE))
    torch.manual_seed(4)
    first = q(x, scale=ONE)
    torch.manual_seed(4)
    assert torch.equal(q(x, scale=ONE), first) and not torch.equal(q(x, scale=ONE), first)


def test_the_quantized_relu_with_ceil_is_the_formula_of_yin_et_al():
    # arXiv:1903.05662, section 4: 0 for x <= 0, k alpha for (k-1) alpha < x <= k alpha, (2^b - 1) alpha above
    alpha, x = 0.65, np.linspace(-2, 4, 997, dtype=np.float32)
    expected = np.clip(np.ceil(x / np.float32(alpha)), 0, 3) * np.float32(alpha)
    y = QuantizedReLU(2, rounding="ceil")(torch.tensor(x), scale=torch.tensor(alpha))
    assert np.allclose(y, expected, rtol=1e-6)


def test_the_quantized_relu_starts_at_the_half_gaussian_step_whatever_the_data():
    for x in (data(10), 100 * data(10)):
        assert QuantizedReLU(2).fit(x)["scale"].item() == pytest.approx(0.6508, abs=1e-4)


@pytest.mark.parametrize("bits", range(2, 9))
def test_dorefa_is_the_formula_of_its_paper(bits):
    # Zhou et al. 2016, equations 5, 9 and 11
    n, w = 2**bits - 1, data(2000, dtype=torch.float64).numpy()
    t = np.tanh(w)
    weights = 2 * np.round(n * (t / (2 * np.abs(t).max()) + 0.5)) / n - 1
    assert np.allclose(DoReFaWeight(bits)(torch.tensor(w)), weights, atol=1e-12)
    activations = np.round(n * np.clip(w, 0, 1)) / n
    assert np.allclose(DoReFaActivation(bits)(torch.tensor(w)), activations, atol=1e-12)


def test_one_bit_of_dorefa_is_the_mean_size_times_the_sign():
    w = data(100)
    assert torch.allclose(DoReFaWeight(1)(w), w.abs().mean() * w.sign())


def test_the_gradient_of_dorefa_is_that_of_its_tanh_also_at_the_largest_weight():
    w = data(50, dtype=torch.float64).requires_grad_()
    DoReFaWeight(3)(w).sum().backward()
    t = torch.tanh(w.detach())
    assert torch.allclose(w.grad, (1 - t.square()) / t.abs().max(), rtol=1e-12)


def test_nonuniform_takes_the_nearest_level_or_the_given_thresholds():
    x = torch.linspace(-3, 3, 601)
    levels = torch.tensor([-1.0, -0.25, 0.5, 2.0])
    nearest = levels[(x[:, None] - levels).abs().argmin(1)]
    off_ties = torch.stack([(x - m).abs() > 1e-4 for m in (-0.625, 0.125, 1.25)]).all(0)
    q = Nonuniform(tuple(levels.tolist()))
    assert torch.equal(q(x, scale=ONE)[off_ties], nearest[off_ties])
    q = Nonuniform(tuple(levels.tolist()), thresholds=(-0.9, 0.0, 0.1))
    y = q(torch.tensor([-0.95, -0.9, -0.5, 0.0, 0.05, 0.1, 0.2]), scale=ONE)
    assert y.tolist() == [-1, -1, -0.25, -0.25, 0.5, 0.5, 2]  # at a threshold: the level below


@settings(max_examples=50)
@given(
    x=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    bits=st.integers(1, 8),
    signed=st.booleans(),
    scale=st.floats(2.0**-60, 2.0**60, width=32),
)
def test_uniform_is_never_further_than_half_a_step_inside_its_range(x, bits, signed, scale):
    q, x, s = Uniform(bits, signed=signed), torch.tensor(x), torch.tensor(scale)
    y = q(x, scale=s)
    half = 1.0 if len(q.levels) == 2 and signed else 0.5
    inside = (x >= s * q.levels[0]) & (x <= s * q.levels[-1])
    assert ((y - x).abs()[inside] <= half * s * (1 + 1e-5)).all()
    assert torch.equal(q.dequantize(q.codes(x, scale=s), scale=s), y)
    assert torch.equal(q(y, scale=s), y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *[
            (lambda cls=cls, bits=bits: cls(bits=bits), rf"{cls.__name__}\(bits=...\) must be a whole number from \d to \d, got {bits}")  # noqa: E501
            for cls in QUANTIZERS.values() if made(cls, bits=4)
            for bits in (0, 9, -1, 2.0, True)
        ],
        (lambda: Uniform(rounding="up"), f"rounding='up' is unknown; known: {', '.join(ROUNDINGS)}"),
        (lambda: Uniform(zero_point=True), "zero_point=True needs signed=False and a fitted scale"),
        (lambda: Uniform(signed=False, zero_point=True, scale=Scale(learned=True)), "a trained offset is LSQPlus's"),  # noqa: E501
        (lambda: Uniform(signed=None).levels, r"signedness is not decided yet; calibrate, or say signed=True or False"),  # noqa: E501
        (lambda: QuantizedReLU(signed=True), r"QuantizedReLU is unsigned; use Uniform\(signed=True\)"),
        (lambda: Ternary(threshold=-0.1), r"Ternary\(threshold=...\) must not be negative, got -0.1"),
        (lambda: TWN(factor=-1.0), "TWN needs factor >= 0 and a mean_abs scale"),
        (lambda: TWN(scale=Scale("mse")), "TWN needs factor >= 0 and a mean_abs scale"),
        (lambda: Nonuniform((1.0, 1.0)), r"Nonuniform\(levels=...\) needs 2 to 256 ascending values"),
        (lambda: Nonuniform((1.0,)), r"Nonuniform\(levels=...\) needs 2 to 256 ascending values"),
        (lambda: Nonuniform((1.0, math.nan)), r"Nonuniform\(levels=...\) needs 2 to 256 ascending values"),
        (lambda: Nonuniform(thresholds=(0.0,)), r"Nonuniform\(thresholds=...\) needs 3 ascending values, got \(0.0,\)"),  # noqa: E501
        (lambda: Nonuniform(thresholds=(0.0, 1.0, 0.5)), r"Nonuniform\(thresholds=...\) needs 3 ascending values"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_mend(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_quantizer_can_be_a_key():
    assert len({Binary(), Binary(), Nonuniform([-1.0, 1.0]), Nonuniform((-1.0, 1.0))}) == 2  # pyright: ignore
