"""Fold batch norms into the layers before them: exact in eval mode, or refused."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.sites import PLAIN, TRANSPOSED, call, evaluating


@torch.no_grad()
def fold_bn(model: nn.Module, example: Any) -> tuple[nn.Module, list[str]]:
    """A float copy in eval mode with each batch norm folded into the layer whose output it normalizes.

    Which layer that is, is seen on the ``example``, not traced: a pair is folded when the batch norm's input
    is the layer's output, both are called once, and folding leaves the model's output as it was (checked
    in float64). Returns the copy and the names of the folded batch norms (now ``Identity``).
    Raises ``ValueError`` on a prepared model: fold before ``prepare``.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    >>> fold_bn(net, torch.randn(2, 3, 8, 8))[1]
    ['1']
    """
    if any(isinstance(m, FakeQuantize) for m in model.modules()):
        raise ValueError("fold_bn works on the float model: fold before prepare")
    new = copy.deepcopy(model).eval()
    folded = []
    reference = _outputs(copy.deepcopy(new).double(), example)
    for layer_name, norm_name in _neighbours(new, example):
        trial = copy.deepcopy(new)
        _fold(trial, layer_name, norm_name)
        got = _outputs(copy.deepcopy(trial).double(), example)
        if len(got) == len(reference) and all(
            torch.allclose(a, b, rtol=1e-6, atol=1e-6 * (1 + float(b.abs().max()))) for a, b in zip(got, reference, strict=True)
        ):
            new = trial
            folded.append(norm_name)
    return new, folded


def _neighbours(model, example):
    layers = {id(m): n for n, m in model.named_modules() if isinstance(m, (*PLAIN, *TRANSPOSED))}
    norms = {id(m): n for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats}
    made: dict[int, tuple[str, Tensor]] = {}
    calls: dict[str, int] = {}
    found, handles = [], []

    def after_layer(module, args, output):
        calls[layers[id(module)]] = calls.get(layers[id(module)], 0) + 1
        made[id(output)] = (layers[id(module)], output)

    def before_norm(module, args):
        calls[norms[id(module)]] = calls.get(norms[id(module)], 0) + 1
        if args and id(args[0]) in made:
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


def _fold(model, layer_name, norm_name):
    layer, norm = model.get_submodule(layer_name), model.get_submodule(norm_name)
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    old = layer.bias.double() if layer.bias is not None else torch.zeros_like(factor)
    bias = (old - norm.running_mean.double()) * factor + (norm.bias.double() if norm.bias is not None else 0.0)
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
    def cast(value):
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    if isinstance(example, Tensor):
        example = cast(example)
    elif hasattr(example, "keys"):
        example = {k: cast(v) for k, v in example.items()}
    else:
        example = tuple(cast(v) for v in example)
    return [t for t in _tensors(call(model, example)) if t.is_floating_point()]


def _tensors(value):
    if isinstance(value, Tensor):
        return [value]
    if hasattr(value, "values"):
        return [t for v in value.values() for t in _tensors(v)]
    if isinstance(value, tuple | list):
        return [t for v in value for t in _tensors(v)]
    return []
