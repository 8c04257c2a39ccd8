"""From float to levels and out again: every quantizer and surrogate trains, and comes out bit for bit."""

import pytest
import torch
from torch import nn

from coarsegrad.core.learned import LSQ, QUANTIZERS, LSQPlus, StretchedElastic
from coarsegrad.core.quantizers import Binary, Nonuniform, Ternary, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import EDE, SURROGATES, Identity, ReSTE
from coarsegrad.nn import (
    Bits,
    FakeQuantize,
    Recipe,
    Rule,
    convert,
    pairs,
    plan,
    prepare,
    quantize,
    set_progress,
)

WEIGHTS = {name: cls() for name, cls in QUANTIZERS.items() if name != "n2uq"} | {
    "uniform per channel": Uniform(bits=3, scale=Scale("max_abs", axis=0)),
    "uniform per group": Uniform(bits=3, scale=Scale("mse", group=2)),
    "uniform, zero point": Uniform(bits=4, signed=False, zero_point=True, scale=Scale("max_abs")),
    "uniform, stochastic": Uniform(bits=3, rounding="stochastic"),
    "binary, per channel": Binary(scale=Scale("mean_abs", axis=0, live=True)),
    "binary, trained": Binary(scale=Scale("mean_abs", learned=True)),
    "ternary, group": Ternary(scale=Scale("mean_abs", group=2, live=True)),
    "one bit": Uniform(bits=1),
    "ternary, stretched": StretchedElastic(ternary=True),
    "eight bits": LSQ(bits=8, scale=Scale("mse", axis=0, learned=True)),
    "nonuniform, 16 levels": Nonuniform(levels=tuple(i**3 / 8 for i in range(-8, 8))),
}
ACTIVATIONS = {name: cls() for name, cls in QUANTIZERS.items() if name != "stretched_elastic"} | {
    "stretched_elastic": StretchedElastic(scale=Scale("max_abs", learned=True)),
    "uniform, sign by data": Uniform(bits=3, signed=None),
    "uniform, zero point": Uniform(bits=4, signed=False, zero_point=True),
    "uniform, stochastic": Uniform(bits=3, signed=None, rounding="stochastic"),
    "lsq_plus, 2 bits": LSQPlus(bits=2),
    "live": Uniform(bits=4, signed=False, scale=Scale("max_abs", live=True)),
}


def check_the_round(net, x, recipe, train):
    """Prepare, train, convert: gradients everywhere, bit-equal outputs, codes that are the weight."""
    prepared = train(quantize(net, recipe, [x]), x)
    missing = [n for n, p in prepared.named_parameters() if p.grad is None]
    assert missing == []
    converted = convert(prepared)
    assert not any(nn.utils.parametrize.is_parametrized(m) for m in converted.modules())
    assert torch.equal(converted.eval()(x), prepared.eval()(x))
    for name, module in converted.named_modules():
        for weight in ("weight", "in_proj_weight"):
            held = getattr(module, f"{weight}_quantized", None)
            if held is not None:
                value = getattr(prepared.get_submodule(name), weight)
                assert torch.equal(held.dequantize(), getattr(module, weight)) and torch.equal(
                    value, held.dequantize()
                )
                assert held.codes.dtype == torch.uint8 and int(held.codes.max()) < len(held.quantizer.levels)
    return prepared


@pytest.mark.parametrize("quantizer", WEIGHTS.values(), ids=WEIGHTS)
def test_a_weight_quantizer_goes_through_training_and_comes_out_bit_for_bit(everything, train, quantizer):
    net, x = everything
    recipe = Recipe(
        Bits(weight=quantizer, activation=Uniform(bits=8, signed=None)),
        first=None,
        last=None,
        embeddings=None,
    )
    if quantizer.scale.group:
        recipe = Recipe(recipe.bits, first="w8a8", last=None, rules=(Rule("depthwise"), Rule("up*")))
    check_the_round(net, x, recipe, train)


@pytest.mark.parametrize("quantizer", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_an_activation_quantizer_goes_through_training_and_comes_out_bit_for_bit(mlp, train, quantizer):
    net, x = mlp
    surrogate = Identity()
    check_the_round(
        net, x, Recipe(Bits(Uniform(bits=8), quantizer), surrogate, surrogate, first=None, last=None), train
    )


@pytest.mark.parametrize("surrogate", [cls() for cls in SURROGATES.values()], ids=SURROGATES)
def test_a_surrogate_goes_through_training(mlp, train, surrogate):
    net, x = mlp
    check_the_round(net, x, Recipe("w2a2", surrogate, surrogate, first=None, last=None), train)


def test_a_surrogate_of_ones_own_needs_nothing_but_the_object(mlp, train):
    class Half(Surrogate):
        def slope(self, x):
            return torch.full_like(x, 0.5)

    net, x = mlp
    half = prepare(net, Recipe("w2a32", Half(), first=None, last=None))
    whole = prepare(net, Recipe("w2a32", Identity(), first=None, last=None))
    for model in (half, whole):
        model(x).square().mean().backward()
    latent = [dict(m.named_parameters())["0.parametrizations.weight.original"] for m in (half, whole)]
    assert torch.equal(latent[0].grad, latent[1].grad / 2) and latent[0].grad.any()
    check_the_round(net, x, Recipe("w2a2", Half(), Half()), train)


@pytest.mark.parametrize("surrogate", [EDE(), ReSTE()], ids=["ede", "reste"])
def test_progress_reaches_every_scheduled_surrogate_and_is_saved(mlp, surrogate):
    net, x = mlp
    model = quantize(net, Recipe("w2a2", surrogate, surrogate), [x])
    model(x).square().mean().backward()
    early = [p.grad.clone() for p in model.parameters()]
    set_progress(model, 1.0)
    model.zero_grad()
    model(x).square().mean().backward()
    assert any(not torch.equal(a, p.grad) for a, p in zip(early, model.parameters(), strict=True))
    fresh = prepare(net, Recipe("w2a2", surrogate, surrogate))
    fresh.load_state_dict(model.state_dict())
    assert all(float(m.progress) == 1 for m in fresh.modules() if isinstance(m, FakeQuantize))
    with pytest.raises(ValueError, match=r"progress must lie in \[0, 1\]"):
        set_progress(model, 1.5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("when", ["before", "after"])
def test_another_dtype_keeps_convert_exact(mlp, dtype, when):
    net, x = mlp
    x = x.to(dtype)
    model = (
        quantize(net.to(dtype), "w3a3", [x])
        if when == "before"
        else quantize(net, "w3a3", [x.float()]).to(dtype)
    )
    assert model(x).dtype == dtype
    converted = convert(model)
    assert torch.equal(converted.eval()(x), model.eval()(x))
    assert torch.equal(converted[2].weight, converted[2].weight_quantized.dequantize())


def test_convert_refuses_an_activation_without_a_scale_and_says_what_to_do(mlp):
    with pytest.raises(
        RuntimeError, match=r"0\.input_quantizer has no scale yet: calibrate or train before convert"
    ):
        convert(prepare(mlp[0], "w2a2"))


def test_a_weight_under_weight_norm_is_quantized_after_it(train):
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(8, 4)
    prepared = check_the_round(net, x, Recipe("w2a2", first=None), train)
    assert prepared[0].weight.unique().numel() <= 4 * 6
    assert "quantized after WeightNorm" in str(plan(net, "w2a2", x))
    assert len(list(pairs(prepared))) == 1  # no single latent lies behind the normalized weight
