"""Parameters in groups for a torch optimizer: weights and all else, and each quantizer's own."""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.prepare import pairs
from coarsegrad.nn.sites import chains


def parameter_groups(
    model: nn.Module, lr: float, *, adaptive: bool, weight_decay: float | None = None
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer over a prepared model: trained steps and clips at a rate of their own.

    Args:
        model: a prepared model, calibrated, or run on a batch: the rates rest on where steps start.
        lr: the learning rate.
        adaptive: whether the optimizer is one whose step does not depend on the gradient's size, as Adam,
            AdamW, RMSprop, Lion; False for SGD.
        weight_decay: of all but the quantizers' own parameters, which have none; None: the optimizer's.

    Raises ``ValueError`` where a trained step has not started yet and ``adaptive`` asks for its size.

    Such an optimizer moves a number by about the learning rate, however small the number and its gradient
    are: a step between levels of 3e-4 by many times itself. LSQ's factor, which makes steps and weights
    change alike in units of themselves (Esser et al. 2020, arXiv:1902.08153, section 2.2), has no effect
    there. So the rate of each of a quantizer's parameters is multiplied by its mean size (of an offset, the
    step's), and of a weight quantizer's divided by that of the weights. With SGD it is the rate itself.

    >>> import torch
    >>> from coarsegrad.nn import quantize
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> quantized = quantize(model, "w4a4", [torch.rand(9, 4)])
    >>> optimizer = torch.optim.AdamW(parameter_groups(quantized, lr=1e-3, adaptive=True), weight_decay=0.1)
    >>> optimizer.param_groups[0]["weight_decay"], optimizer.param_groups[1]["weight_decay"]
    (0.1, 0.0)
    """
    held = {m: list(m.parameters(recurse=False)) for m in model.modules() if isinstance(m, FakeQuantize)}
    own = {quantizer: values for quantizer, values in held.items() if values}
    taken = {id(p) for values in own.values() for p in values}
    rest = [p for p in model.parameters() if id(p) not in taken and p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": lr}]
    if weight_decay is not None:
        groups[0]["weight_decay"] = weight_decay
    if adaptive:
        early = [quantizer.place or "a quantizer" for quantizer in own if not quantizer.started]
        if early:
            raise ValueError(
                f"{early[0]} has no scale yet: calibrate(model, batches), or run one training batch, before "
                "parameter_groups(model, ...). If the model never calls this module, "
                "prepare(model, recipe, example) sees that and leaves its input alone"
            )
        sizes = _weight_sizes(model)
        groups += [
            {"params": [p], "lr": lr * _unit(quantizer, p) / sizes.get(quantizer, 1.0), "weight_decay": 0.0}
            for quantizer, values in own.items()
            for p in values
        ]
    else:
        every = [p for values in own.values() for p in values]
        groups.append({"params": every, "lr": lr, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _weight_sizes(model: nn.Module) -> dict[FakeQuantize, float]:
    """The mean size of each quantizer's weights; of those without a latent (weight norm) the quantized."""
    sizes = {quantizer: _size(latent) for latent, quantizer in pairs(model)}
    for module in model.modules():
        for name, chain in chains(module).items() if parametrize.is_parametrized(module) else ():
            quantizers = [m for m in chain if isinstance(m, FakeQuantize) and m not in sizes]
            sizes |= {quantizer: _size(getattr(module, name)) for quantizer in quantizers}
    return sizes


def _unit(quantizer: FakeQuantize, parameter: nn.Parameter) -> float:
    """A parameter's own size; of an offset, which may be near 0, the step's."""
    offset = getattr(quantizer, "raw_offset", None)
    return _size(quantizer.raw_scale if parameter is offset else parameter)  # pyright: ignore


def _size(values: Tensor) -> float:
    """Their mean size; 1 where that is 0."""
    return float(values.detach().abs().mean()) or 1.0
