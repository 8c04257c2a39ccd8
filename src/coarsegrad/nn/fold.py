"""Fold batch norms into the layers before them: exact in eval mode, or refused."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.sites import PLAIN, TRANSPOSED, call, copied, evaluating


@torch.no_grad()
def fold_bn(model: nn.Module, example: Any) -> tuple[nn.Module, list[str]]:
    """A float copy in eval mode with each batch norm folded into the layer whose output it normalizes.

    Which layer that is, is seen on the ``example``, not traced: a pair is folded when the batch norm's input
    is the layer's output, both are called once, and folding leaves the model's output as it was, also with
    other statistics drawn at random (tried in float64). So a layer whose output goes elsewhere too is left
    alone. Returns the copy and the names of the folded batch norms (now ``Identity``).
    Raises ``ValueError`` on a prepared model: fold before ``prepare``.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    >>> fold_bn(net, torch.randn(2, 3, 8, 8))[1]
    ['1']
    """
    if any(isinstance(m, FakeQuantize) for m in model.modules()):
        raise ValueError("fold_bn works on the float model: fold before prepare")
    new = copied(model).eval()
    pairs = _neighbours(new, example)
    good = pairs if _same(new, pairs, example) else [pair for pair in pairs if _same(new, [pair], example)]
    for layer, norm in good:
        _fold(new, layer, norm)
    return new, [norm for _, norm in good]


def _same(model, pairs, example):
    """Whether folding these pairs leaves the output as it is, whatever the statistics."""
    if not pairs:
        return True
    trial = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    for _, name in pairs:
        norm = trial.get_submodule(name)
        for tensor, low, high in (
            (norm.running_mean, -0.5, 0.5),
            (norm.running_var, 0.5, 2.0),
            (norm.weight, 0.5, 1.5),
            (norm.bias, -0.5, 0.5),
        ):
            if tensor is not None:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    folded = copy.deepcopy(trial)
    for layer, name in pairs:
        _fold(folded, layer, name)
    a, b = _outputs(trial, example), _outputs(folded, example)
    close = (
        torch.allclose(x, y, rtol=1e-5, atol=1e-5 * (1 + float(y.abs().max())))
        for x, y in zip(a, b, strict=True)
    )
    return bool(a) and all(close)


def _neighbours(model, example):
    def _channels(name):
        layer = model.get_submodule(name)
        return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels

    layers = {id(m): n for n, m in model.named_modules() if _plain(m)}
    norms = {
        id(m): n
        for n, m in model.named_modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    }
    made: dict[int, tuple[str, Tensor]] = {}
    calls: dict[str, int] = {}
    found, handles = [], []

    def after_layer(module, args, output):
        calls[layers[id(module)]] = calls.get(layers[id(module)], 0) + 1
        made[id(output)] = (layers[id(module)], output)

    def before_norm(module, args):
        calls[norms[id(module)]] = calls.get(norms[id(module)], 0) + 1
        if args and id(args[0]) in made and module.num_features == _channels(made[id(args[0])][0]):
            found.append((made[id(args[0])][0], norms[id(module)]))

    try:
        for module in model.modules():
            if id(module) in layers:
                handles.append(module.register_forward_hook(after_layer))
            if id(module) in norms:
                handles.append(module.register_forward_pre_hook(before_norm))
        with evaluating(model):
            call(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return [(layer, norm) for layer, norm in found if calls[layer] == 1 and calls[norm] == 1]


def _plain(module):
    known = isinstance(module, (*PLAIN, *TRANSPOSED)) and not parametrize.is_parametrized(module)
    return known and "weight" in module._parameters


def _fold(model, layer_name, norm_name):
    layer, norm = model.get_submodule(layer_name), model.get_submodule(norm_name)
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    old = layer.bias.double() if layer.bias is not None else torch.zeros_like(factor)
    bias = (old - norm.running_mean.double()) * factor + (
        norm.bias.double() if norm.bias is not None else 0.0
    )
    weight = layer.weight.double()
    if isinstance(layer, TRANSPOSED):
        groups = weight.reshape(layer.groups, -1, *weight.shape[1:])
        per = factor.reshape(layer.groups, 1, -1, *[1] * (weight.dim() - 2))
        weight = (groups * per).reshape(weight.shape)
    else:
        weight = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype))
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype))
    parent, _, child = norm_name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())


def _outputs(model, example):
    """The model's floating outputs, computed in float64 where its forward lets it."""
    try:
        return [t for t in _tensors(call(model.double(), _cast(example))) if t.is_floating_point()]
    except RuntimeError:  # a forward that makes float32 tensors of its own
        return [t for t in _tensors(call(model.float(), example)) if t.is_floating_point()]


def _cast(value):
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if hasattr(value, "keys"):
        return {k: _cast(value[k]) for k in value.keys()}  # noqa: SIM118 (a BatchEncoding iterates otherwise)
    return tuple(map(_cast, value)) if isinstance(value, tuple | list) else value


def _tensors(value):
    if isinstance(value, Tensor):
        return [value]
    if hasattr(value, "values"):
        return [t for v in value.values() for t in _tensors(v)]
    if isinstance(value, tuple | list):
        return [t for v in value for t in _tensors(v)]
    return []
