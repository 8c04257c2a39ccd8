import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coarsegrad.nn import prepare, quantize
from coarsegrad.train.health import NonFinite, Origin, finite, locate


def net():
    layers = nn.Sequential()
    for name, layer in {
        "a": nn.Linear(4, 8),
        "relu": nn.ReLU(),
        "b": nn.Linear(8, 8),
        "c": nn.Linear(8, 3),
    }.items():
        layers.add_module(name, layer)
    return layers


X, Y = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3


def loss(model):
    return F.cross_entropy(model(X), Y)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_finite_sees_one_bad_number_anywhere(bad):
    good = [torch.ones(3), None, torch.ones(2, 2)]
    assert finite(torch.tensor(1.0), good)
    assert not finite(torch.tensor(bad), good)
    assert not finite(torch.tensor(1.0), [*good, torch.tensor([1.0, bad])])


def test_large_numbers_whose_norm_overflows_are_finite():
    assert finite(torch.tensor(1.0), [torch.full((10,), 1e38)])


def test_a_bad_input_is_blamed_on_the_batch():
    x = X.clone()
    x[3, 1] = math.nan
    assert str(locate(net(), lambda m: m(x).sum(), [x, Y])) == "the input batch"


@pytest.mark.parametrize("layer", ["a", "b", "c"])
def test_a_bad_weight_is_blamed_on_its_layer_and_quantizer(layer):
    model = quantize(net(), "w2a2", [X])
    with torch.no_grad():
        model.get_submodule(layer).parametrizations["weight"].original[0, 0] = math.nan
    origin = locate(model, loss, [X])
    assert origin.layer == layer
    assert origin.quantizer.startswith("weight lsq(bits=") and "earlier update" in origin.what


def test_the_first_layer_whose_output_overflows_is_found():
    model = net()
    with torch.no_grad():
        model.a.weight.fill_(1e30)
        model.b.weight.fill_(1e30)
    assert locate(model, loss, [X]) == Origin("the output", "b")


def test_an_activation_quantizer_that_fails_is_named():
    model = quantize(net(), "w2a2", [X])
    with torch.no_grad():
        model.b.input_quantizer.raw_scale.fill_(2e38)
        model.a.bias.fill_(3.4e38)  # rounds to twice the scale
    origin = locate(model, loss, [X])
    assert origin.layer == "b"
    assert origin.quantizer.startswith("activation lsq(bits=2")


class Spoil(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, upstream):
        return upstream * math.inf


class Spoiling(nn.Module):
    def forward(self, x):
        return Spoil.apply(x)


@pytest.mark.parametrize("quantized", [False, True])
def test_a_gradient_that_overflows_is_blamed_on_the_layer_whose_backward_made_it(quantized):
    model = net()
    model.relu = Spoiling()
    model = quantize(model, "w2a2", [X]) if quantized else model
    origin = locate(model, loss, [X])
    assert (origin.what, origin.layer) == ("the gradient at the input", "relu")


def test_a_loss_with_a_bad_gradient_is_blamed_itself():
    origin = locate(net(), lambda m: Spoil.apply(loss(m)), [X])
    assert origin.what == "the gradient of the loss at the model's output"


def test_a_loss_that_is_bad_for_good_outputs_is_blamed_itself():
    assert "the loss itself" in str(locate(net(), lambda m: loss(m) * math.nan, [X]))


def test_a_healthy_model_is_left_as_it_was():
    model = quantize(net(), "w1a2", [X])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert "nothing" in str(locate(model, loss, [X]))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None and not p._backward_hooks for p in model.parameters())


def test_the_error_names_step_layer_quantizer_and_mend():
    origin = Origin("the output", "conv2", "weight lsq(bits=2)")
    error = NonFinite("The loss is nan", 3, 17, origin, "The checkpoint is kept.")
    assert str(error) == (
        "The loss is nan in epoch 3, step 17. First not finite: the output of layer 'conv2', "
        "quantizer weight lsq(bits=2). The checkpoint is kept. Try a smaller lr, warmup, or grad_clip=1.0"
    )
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.epoch, again.step, again.origin) == (str(error), 3, 17, origin)


def test_a_prepared_model_that_never_ran_is_no_obstacle():
    model = prepare(net(), "w2a2")
    with torch.no_grad():
        model.a.bias.fill_(math.nan)
    assert locate(model, loss, [X]).layer == "a"
