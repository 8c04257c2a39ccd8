"""Parameters in groups for a torch optimizer: weights and all else, and each quantizer's own."""

from typing import Any

from torch import nn

from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.prepare import pairs


def parameter_groups(
    model: nn.Module, lr: float, *, weight_decay: float = 0.0, adaptive: bool = True
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer over a prepared model: trained steps and clips at a rate of their own.

    Args:
        model: a prepared model. Calibrate it first, or run a batch: the rates rest on where steps start.
        lr: the learning rate.
        weight_decay: of all but the quantizers' own parameters, which have none.
        adaptive: whether the optimizer is one whose step does not depend on the gradient's size, as Adam,
            AdamW, RMSprop, Lion; not SGD.

    Such an optimizer moves a number by about the learning rate, however small the number and its gradient
    are: a step between levels of 3e-4 by many times itself. LSQ's factor, which makes steps and weights
    change alike in units of themselves (Esser et al. 2020, arXiv:1902.08153, section 2.2), has no effect
    there. So the rate of a weight quantizer's parameters is multiplied by their mean size over that of the
    weights, that of an activation quantizer's by their mean size. With SGD they have the rate itself.

    >>> import torch
    >>> from coarsegrad.nn import prepare
    >>> quantized = prepare(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "w4a4")
    >>> optimizer = torch.optim.Adam(parameter_groups(quantized, lr=1e-3))
    """
    own = {m: list(m.parameters(recurse=False)) for m in model.modules() if isinstance(m, FakeQuantize)}
    taken = {id(p) for values in own.values() for p in values}
    rest = [p for p in model.parameters() if id(p) not in taken and p.requires_grad]
    groups = [{"params": rest, "lr": lr, "weight_decay": weight_decay}]
    weights = {quantizer: _size([latent]) for latent, quantizer in pairs(model)}
    if adaptive:
        groups += [
            {"params": values, "lr": lr * _size(values) / weights.get(quantizer, 1.0), "weight_decay": 0.0}
            for quantizer, values in own.items()
        ]
    else:
        every = [p for values in own.values() for p in values]
        groups.append({"params": every, "lr": lr, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _size(values: list[nn.Parameter]) -> float:
    """The mean size of the first, of a quantizer its step or clip; 1 where there is none or it is 0."""
    return (float(values[0].detach().abs().mean()) if values else 0.0) or 1.0
