"""Prepare puts the pair into a copy; what was given stays as it was."""

import copy
import io

import pytest
import torch
from torch import nn

from coarsegrad.core import fused
from coarsegrad.core.learned import LSQ
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogates import EDE, Identity
from coarsegrad.nn import (
    Recipe,
    Rule,
    calibrate,
    convert,
    pairs,
    plan,
    prepare,
    quantize,
)  # fmt: skip


def fingerprint(model):
    """All that a caller could notice: values, classes, hooks, flags, submodules, attributes."""
    state = {k: v.clone() for k, v in model.state_dict().items()}
    shape = [
        (
            name,
            type(m),
            m.training,
            list(m._forward_hooks),
            list(m._forward_pre_hooks),
            sorted(vars(m)),
            list(m._modules),
        )
        for name, m in model.named_modules()
    ]
    return state, shape, [p.requires_grad for p in model.parameters()], torch.get_rng_state()


def same(a, b):
    states_equal = a[0].keys() == b[0].keys() and all(torch.equal(a[0][k], b[0][k]) for k in a[0])
    return states_equal and a[1] == b[1] and a[2] == b[2] and torch.equal(a[3], b[3])


VERBS = {
    "prepare": lambda net, x: prepare(net, "w2a2", x),
    "prepare without an example": lambda net, x: prepare(net, "w2a2"),
    "plan": lambda net, x: plan(net, "w2a2", x),
    "quantize": lambda net, x: quantize(net, "w2a2", [x]),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("training", [True, False])
def test_the_argument_is_untouched(everything, verb, training):
    net, x = everything
    net.train(training)
    net.conv1.eval()
    net.embedding.requires_grad_(False)
    before = fingerprint(net)
    verb(net, x)
    assert same(fingerprint(net), before)


def test_the_argument_of_convert_is_untouched_and_its_class_stays(everything):
    net, x = everything
    prepared = quantize(net, "w2a2", [x])
    before, classes = fingerprint(prepared), [type(m) for m in prepared.modules()]
    convert(prepared)
    assert same(fingerprint(prepared), before) and [type(m) for m in prepared.modules()] == classes


def test_a_model_that_changes_itself_in_its_forward_is_not_changed_by_a_plan():
    class Counts(nn.Linear):
        calls = 0

        def forward(self, input):
            self.calls += 1
            self.bias.data.add_(torch.rand(()))
            return super().forward(input)

    net, x = Counts(3, 3), torch.randn(2, 3)
    before = fingerprint(net)
    plan(net, "w2a2", x)
    prepare(net, "w2a2", x)
    assert same(fingerprint(net), before) and net.calls == 0


def test_a_copy_of_a_prepared_model_works_beside_it(everything, train):
    net, x = everything
    first = quantize(net, "w2a2", [x])
    second = copy.deepcopy(first)
    before = first.eval()(x)
    train(second.train(), x)
    assert torch.equal(first(x), before) and not torch.equal(second.eval()(x), before)


def test_two_prepared_models_stand_side_by_side(everything, train):
    net, x = everything
    coarse, fine = quantize(net, "w2a2", [x]), quantize(net, "w8a8", [x])
    before = fine.eval()(x)
    train(coarse.train(), x)
    assert torch.equal(fine(x), before)
    assert (net.eval()(x) - before).abs().max() < 0.1 * net(x).abs().max()


def test_converting_a_copy_leaves_the_prepared_one_working(everything, train):
    net, x = everything
    prepared = quantize(net, "w2a2", [x])
    converted = convert(copy.deepcopy(prepared))
    train(prepared, x)
    again = convert(prepared)
    assert torch.equal(again.eval()(x), prepared.eval()(x))
    assert not torch.equal(converted.eval()(x), again(x))


def test_the_training_flag_of_a_model_in_eval_mode_goes_to_its_quantizers(mlp):
    net, x = mlp
    prepared = prepare(net.eval(), "w2a2")
    assert not any(m.training for m in prepared.modules())
    with pytest.raises(RuntimeError, match="no scale yet: run calibrate"):
        prepared(x)


def test_evaluating_before_calibration_names_the_place_and_the_mend(mlp):
    net, x = mlp
    prepared = prepare(net, "w2a2").eval()
    with pytest.raises(
        RuntimeError, match=r"0\.input_quantizer has no scale yet: run calibrate\(model, batches\) or one"
    ):
        prepared(x)


def test_scales_start_on_the_first_training_batch_and_live_in_the_state(mlp, train):
    net, x = mlp
    prepared = prepare(net, "w2a2")
    assert not any(v for k, v in prepared.state_dict().items() if k.endswith("input_quantizer.ready"))
    prepared(x)
    expected = LSQ(bits=8, signed=True, scale=Scale("mse", learned=True)).fit(x)["scale"]
    assert torch.equal(prepared.state_dict()["0.input_quantizer.raw_scale"], expected)
    assert all(v for k, v in prepared.state_dict().items() if k.endswith("ready"))


def test_a_tied_weight_stays_tied_gets_one_quantizer_and_one_plain_weight(train):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(9, 6)
            self.middle = nn.Linear(6, 6)
            self.head = nn.Linear(6, 9, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, ids):
            return self.head(torch.relu(self.middle(self.embedding(ids))))

    ids = torch.randint(0, 9, (5, 4))
    prepared = quantize(Tied(), "w2a2", [ids])
    kept = [m.parametrizations.weight for m in (prepared.embedding, prepared.head)]
    assert kept[0].original is kept[1].original and kept[0][0] is kept[1][0]
    assert kept[0][0].quantizer.bits == 8  # the last layer's, not the embedding's default
    assert len(list(pairs(prepared))) == 2
    train(prepared, ids)
    converted = convert(prepared)
    assert converted.embedding.weight is converted.head.weight
    assert torch.equal(converted.eval()(ids), prepared.eval()(ids))
    assert sum(p.requires_grad for p in converted.parameters()) == 3


def test_a_float_checkpoint_loads_before_prepare(everything):
    net, x = everything
    other = copy.deepcopy(net)
    for p in other.parameters():
        p.data.normal_()
    other.load_state_dict(net.state_dict())
    assert torch.equal(quantize(other, "w4a4", [x]).eval()(x), quantize(net, "w4a4", [x]).eval()(x))


@pytest.mark.parametrize("recipe", ["w1a1", "w2a2", Recipe("w3a3", activations="relus")], ids=str)
def test_a_saved_state_loads_strictly_with_flags_and_signs(everything, train, recipe):
    net, x = everything
    trained = train(quantize(net, recipe, [x]), x)
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    fresh = prepare(net, recipe, x)
    fresh.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True), strict=True)
    assert torch.equal(fresh.eval()(x), trained.eval()(x))
    done, blank = convert(trained), convert(quantize(net, recipe, [x]))
    blank.load_state_dict(done.state_dict(), strict=True)
    assert torch.equal(blank.eval()(x), done.eval()(x))


@pytest.mark.parametrize(("theirs", "mine"), [("w2a2", "w4a2"), ("w2a2", "w2a4"), ("w1a2", "w2a2")])
def test_a_state_of_another_recipe_is_refused_with_both_named(mlp, theirs, mine):
    net, x = mlp
    state, other = quantize(net, theirs, [x]).state_dict(), quantize(net, mine, [x])
    with pytest.raises(
        RuntimeError, match=r"this state is of .*, the model has .*: prepare it with the same recipe"
    ):
        other.load_state_dict(state)


def test_an_uncalibrated_state_brings_its_flag_along(mlp):
    net, x = mlp
    state = prepare(net, "w2a2").state_dict()
    calibrated = quantize(net, "w2a2", [x])
    calibrated.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match="no scale yet"):
        calibrated.eval()(x)


def test_weights_that_were_frozen_stay_frozen(mlp):
    net, x = mlp
    net[0].requires_grad_(False)
    prepared = quantize(net, "w2a2", [x])
    assert not prepared[0].parametrizations.weight.original.requires_grad
    assert not convert(prepared)[0].weight.requires_grad and convert(prepared)[2].weight.requires_grad


def test_pairs_yields_each_latent_once_with_its_quantizer(everything):
    net, x = everything
    prepared = prepare(net, Recipe("w2a2", rules=(Rule("head"),)), x)
    found = list(pairs(prepared))
    assert len(found) == len({id(p) for p, _ in found}) == 10
    for parameter, quantizer in found:
        assert parameter.requires_grad and quantizer.role == "weight"
        assert torch.equal(quantizer.dequantize(quantizer.codes(parameter)), quantizer.quantize(parameter))


def test_quantize_alone_prepares_and_with_batches_also_calibrates(mlp):
    net, x = mlp
    with pytest.raises(RuntimeError, match="no scale yet"):
        quantize(net).eval()(x)
    labelled = [(x, torch.zeros(32)), (x, torch.zeros(32))]
    assert torch.equal(
        quantize(net, "w4a4", iter(labelled)).eval()(x), quantize(net, "w4a4", [x, x]).eval()(x)
    )
    assert torch.equal(quantize(net, batches=[x]).eval()(x), quantize(net, "w4a4", [x]).eval()(x))


REFUSED = {
    "prepared twice": (
        lambda net, x: prepare(prepare(net, "w2a2"), "w2a2"),
        "quantized already; prepare the float model",
    ),
    "converted, then prepared": (
        lambda net, x: prepare(convert(quantize(net, "w2a2", [x])), "w2a2"),
        "quantized already",
    ),
    "no layer": (lambda net, x: prepare(nn.ReLU(), "w2a2"), "no supported layer: Linear, Conv"),
    "float converted": (lambda net, x: convert(net), r"prepare\(model, recipe\) and train first"),
    "one batch for several": (lambda net, x: quantize(net, "w2a2", x), r"got one: write \[batch\]"),
    "lazy": (lambda net, x: prepare(nn.LazyLinear(3), "w2a2"), "weight has no shape yet: run one batch"),
    "nine bits": (lambda net, x: prepare(net, "w9a2"), "1 to 8, got 9"),
    "misread bits": (lambda net, x: prepare(net, Recipe("4 bits")), "cannot read bits '4 bits'; write w2a2"),
}


@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_with_the_mend(mlp, act, message):
    with pytest.raises(ValueError, match=message):
        act(*mlp)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_model_with_old_weight_norm_is_refused_with_the_new_one_named():
    net = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 3))
    with pytest.raises(
        ValueError, match=r"cannot be copied .* use the one in torch.nn.utils.parametrizations"
    ):
        prepare(net, "w2a2")


def test_users_own_hooks_stay_and_see_the_input_before_it_is_quantized(mlp):
    net, x = mlp
    seen = []
    net[2].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    prepared = quantize(net, "w2a2", [x])
    seen.clear()
    prepared.eval()(x)
    assert (
        seen[0].unique().numel() > 4
        and net[2]._forward_pre_hooks.keys() < prepared[2]._forward_pre_hooks.keys()
    )


@pytest.mark.parametrize(
    ("network", "recipe"),
    [("cnn", "w2a2"), ("cnn", Recipe("w2a2", activations="relus")), ("mlp", Recipe("w1a2", EDE(), EDE()))],
    ids=["cnn, inputs", "cnn, relus", "mlp, scheduled"],
)
def test_compiled_whole_it_trains_alike(network, recipe, request):
    net, x = request.getfixturevalue(network)
    eager = quantize(net, recipe, [x])
    whole = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    with fused.off():  # the fast path keeps the gradient of a trained scale to 1/504 only
        for model in (eager, whole):
            model(x).square().mean().backward()
    torch.testing.assert_close(
        [p.grad for p in whole.parameters()], [p.grad for p in eager.parameters()], rtol=1e-4, atol=1e-6
    )


def test_compiling_before_calibration_says_to_calibrate(mlp):
    net, x = mlp
    with pytest.raises(Exception, match=r"calibrate before torch.compile"):
        torch.compile(prepare(net, "w2a2"), fullgraph=True, backend="eager")(x)


def test_calibrate_is_what_quantize_calls(mlp):
    net, x = mlp
    by_hand = prepare(net, "w4a4", x)
    calibrate(by_hand, [x])
    assert torch.equal(by_hand.eval()(x), quantize(net, "w4a4", [x]).eval()(x))


def test_a_quantizer_instead_of_a_relu_passes_gradients_that_a_relu_would_stop():
    recipe = {
        place: Recipe("w32a2", activation_surrogate=Identity(), first=None, last=None, activations=place)
        for place in ("relus", "instead_of_relus")
    }
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3))
    batch = torch.randn(32, 6)
    outputs, gradients = {}, {}
    for place, chosen in recipe.items():
        quantized = quantize(net, chosen, [batch])
        hidden = []
        quantized[0].register_forward_hook(lambda module, args, output, kept=hidden: kept.append(output))
        outputs[place] = quantized(batch)
        hidden[0].retain_grad()
        outputs[place].sum().backward()
        gradients[place] = hidden[0].grad[hidden[0] < 0]
    assert torch.equal(outputs["relus"], outputs["instead_of_relus"])
    assert (gradients["relus"] == 0).all()
    assert (gradients["instead_of_relus"] != 0).all()
