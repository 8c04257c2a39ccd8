"""Float models: published numbers of parameters, an activation module per place, weights from the seed."""

import copy
import re

import pytest
import torch
from torch import nn

from coarsegrad.spec import read, write
from coarsegrad.train.zoo import ACTIVATIONS, DSCNN, MLP, MODELS, VGG11, LeNet5, ResNet20, VGGSmall, build

SHAPE = {
    "mlp": (1, 8, 8),
    "lenet5": (1, 8, 8),
    "vgg11": (3, 32, 32),
    "vggsmall": (1, 8, 8),
    "resnet20": (3, 8, 8),
    "dscnn": (1, 8, 8),
}
EVERY = pytest.mark.parametrize("name", MODELS)
PARAMETERS = [
    (MLP(), (1, 28, 28), 270_346),
    (LeNet5(), (1, 28, 28), 432_220),
    (LeNet5(affine=False), (1, 28, 28), 431_080),
    (LeNet5(widths=(6, 16, 120, 84)), (1, 28, 28), 44_878),
    (VGG11(), (3, 32, 32), 9_228_362),
    (VGGSmall(), (3, 32, 32), 4_660_106),
    (ResNet20(shortcut="A"), (3, 32, 32), 269_722),
    (ResNet20(), (3, 32, 32), 272_474),
    (DSCNN(), (1, 28, 28), 21_066),
]


def activations(model):
    named = model.named_modules()
    return [m for name, m in named if isinstance(m, tuple(ACTIVATIONS.values())) and "act" in name]


@pytest.mark.parametrize(("model", "in_shape", "count"), PARAMETERS, ids=lambda value: str(value))
def test_the_number_of_parameters_is_the_one_the_docstring_states(model, in_shape, count):
    built = model.build(in_shape=in_shape, classes=10)
    assert sum(parameter.numel() for parameter in built.parameters()) == count
    assert f"{count:,}" in re.sub(r"\s+", " ", type(model).__doc__)


@EVERY
def test_images_become_finite_logits_and_every_weight_has_a_gradient(name):
    model = build(name, in_shape=SHAPE[name], classes=7)
    logits = model(torch.randn(4, *SHAPE[name]))
    assert logits.shape == (4, 7)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@EVERY
def test_every_activation_is_a_module_of_its_own_called_once(name):
    model, calls = build(name, in_shape=SHAPE[name], classes=10), []
    for module in activations(model):
        module.register_forward_hook(lambda module, *_: calls.append(module))
    model(torch.randn(2, *SHAPE[name]))
    assert sorted(map(id, calls)) == sorted(map(id, activations(model)))
    assert len(calls) == len({id(module) for module in calls}) > 1


@EVERY
def test_activation_and_affine_hold_in_every_place(name):
    model = MODELS[name](activation="hardtanh", affine=False).build(in_shape=SHAPE[name], classes=10)
    assert {type(module) for module in activations(model)} == {nn.Hardtanh}
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) > 1
    assert all(norm.weight is None and norm.bias is None for norm in norms)


@EVERY
def test_the_seed_gives_the_weights_and_the_global_generator_stays(name):
    state = torch.get_rng_state()
    one, same, other = (build(name, in_shape=SHAPE[name], classes=10, seed=s).state_dict() for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["fc.weight"], other["fc.weight"])


@EVERY
def test_a_model_is_copied_saved_and_loaded_like_any_module(name):
    model = build(name, in_shape=SHAPE[name], classes=10)
    other = build(name, in_shape=SHAPE[name], classes=10, seed=1)
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, *SHAPE[name])
    expected = model.eval()(x)
    assert torch.equal(other.eval()(x), expected)
    assert torch.equal(copy.deepcopy(model)(x), expected)


@pytest.mark.parametrize(
    "model",
    [
        MLP(widths=(64,)),
        LeNet5(affine=False),
        LeNet5(widths=(6, 16, 120, 84)),
        LeNet5(activation="identity", pool_first=True),
        VGGSmall(activation="hardtanh"),
        ResNet20(shortcut="A"),
        DSCNN(width=8),
    ],
    ids=write,
)
def test_the_written_form_reads_back_equal(model):
    assert read(write(model), MODELS) == model


@EVERY
def test_the_name_in_the_catalogue_is_the_written_form(name):
    assert write(MODELS[name]()) == name


def test_the_shortcut_without_parameters_keeps_every_second_pixel():
    block = ResNet20(shortcut="A").build(in_shape=(3, 8, 8), classes=10).block2_1
    x = torch.randn(2, 16, 8, 8)
    kept = block.shortcut(x)
    assert kept.shape == (2, 32, 4, 4)
    assert torch.equal(kept[:, 8:24], x[:, :, ::2, ::2])
    assert kept[:, :8].abs().sum() == kept[:, 24:].abs().sum() == 0


@pytest.mark.parametrize("side", [4, 8, 15, 16, 28, 32])
def test_lenet_takes_images_of_any_size_from_4_pixels(side):
    assert LeNet5().build(in_shape=(1, side, side), classes=3)(torch.randn(2, 1, side, side)).shape == (2, 3)


@pytest.mark.parametrize(("side", "left"), [(1, 1), (8, 8), (15, 15), (16, 8), (28, 14), (32, 16)])
def test_separable_blocks_work_on_half_the_pixels_a_side_where_there_are_enough(side, left):
    model, seen = DSCNN(width=8, blocks=2).build(in_shape=(3, side, side), classes=3), []
    model.point2.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    assert model(torch.randn(2, 3, side, side)).shape == (2, 3)
    assert seen == [(2, 8, left, left)]


def test_a_depthwise_weight_reaches_its_own_channel_alone():
    model = DSCNN(width=4, blocks=1).build(in_shape=(1, 8, 8), classes=3)
    x = torch.randn(2, 4, 8, 8)
    before = model.depth1(x)
    with torch.no_grad():
        model.depth1.weight[2] += 1
    changed = (model.depth1(x) != before).flatten(2).any(2).any(0)
    assert changed.tolist() == [False, False, True, False]


def test_mlp_takes_vectors():
    assert MLP(widths=()).build(in_shape=(5,), classes=2)(torch.randn(3, 5)).shape == (3, 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: build("vgg16", in_shape=(3, 32, 32), classes=10), "unknown name 'vgg16'"),
        (lambda: VGG11().build(in_shape=(1, 28, 28), classes=10), "32 or more pixels a side"),
        (lambda: LeNet5().build(in_shape=(20,), classes=10), "mlp takes any shape"),
        (lambda: MLP().build(in_shape=(20,), classes=1), "two classes or more"),
        (lambda: MLP(widths=(8, 0)), "whole numbers"),
        (lambda: build("mlp(widths=64)", in_shape=(4,), classes=2), r"\(64,\)"),
        (lambda: ResNet20(shortcut="C"), "'A' .* or 'B'"),
        (lambda: LeNet5(activation="gelu"), "relu, hardtanh"),
        (lambda: LeNet5(widths=(6,)), "two for the convolutions"),
        (lambda: DSCNN(width=0), "1 or more, got 0, 4"),
    ],
)
def test_a_wrong_wish_is_refused_with_the_mend(make, says):
    with pytest.raises(ValueError, match=says):
        make()
