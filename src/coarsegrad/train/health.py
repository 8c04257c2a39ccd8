"""Numbers that stop being numbers: where the first one appeared.

A NaN in the loss says nothing about its origin. ``locate`` runs the offending batch again with hooks on every
module and names the first place, in the order of computation, where a value or a gradient is not finite.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coarsegrad import spec
from coarsegrad.nn import FakeQuantize


@dataclass(frozen=True)
class Origin:
    """``what`` was not finite first, in ``layer``, with this ``quantizer`` (written form; "" if float)."""

    what: str
    layer: str
    quantizer: str = ""

    def __str__(self) -> str:
        at = f" of layer {self.layer!r}" if self.layer else ""
        return f"{self.what}{at}" + (f", quantizer {self.quantizer}" if self.quantizer else "")


class NonFinite(ArithmeticError):
    """Training stopped: loss or gradient is NaN or infinite. Carries ``epoch``, ``step`` and ``origin``."""

    def __init__(self, what: str, epoch: int, step: int, origin: Origin, kept: str):
        self.epoch, self.step, self.origin = epoch, step, origin
        self._made_of = what, epoch, step, origin, kept
        super().__init__(
            f"{what} in epoch {epoch}, step {step}. First not finite: {origin}. {kept} "
            "Try a smaller lr, warmup, or grad_clip=1.0"
        )

    def __reduce__(self):  # it may be raised in a process other than the one that reads it
        return type(self), self._made_of


def finite(loss: Tensor, tensors: Iterable[Tensor | None]) -> bool:
    """Whether the loss and all tensors are; one wait for the device unless something looks wrong."""
    found = [t.detach() for t in tensors if t is not None]
    quick = loss.detach().float().reshape(()) + nn.utils.get_total_norm(found).float()
    if torch.isfinite(quick):
        return True
    return all(
        bool(torch.isfinite(t).all()) for t in (loss, *found)
    )  # the norm of large numbers overflows first


def locate(
    model: nn.Module, loss: Callable[[nn.Module], Tensor] | None, inputs: Iterable[Tensor] = ()
) -> Origin:
    """The origin of a value that is not finite in ``loss(model)`` and its gradient.

    With ``loss=None`` only parameters are looked at. ``inputs`` are checked first, then parameters, then
    values in forward order, then gradients in backward order. Hooks are removed at the end; gradients of
    parameters are left empty. Where nothing is found a second time (stochastic rounding drew otherwise), the
    origin says so.
    """
    if not all(bool(torch.isfinite(x).all()) for x in inputs if x.is_floating_point()):
        return Origin("the input batch", "")
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            return _origin(model, name, f"the parameter {name}, left so by an earlier update,")
    if loss is None:
        return Origin("nothing among the parameters", "")
    events: list[tuple[str, str]] = []
    handles = []
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_hook(_watch(name, events, handles)))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                handles.append(parameter.register_hook(_note(events, name, f"the gradient of {name}")))
        value = loss(model)
        if not events and not torch.isfinite(value).all():
            return Origin("the loss itself, from finite outputs,", "")
        if not events:
            value.backward()
    except ValueError as error:  # a scale cannot be fitted to what is not finite
        if not events:
            return Origin(str(error), "")
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad(set_to_none=True)
    if not events:
        return Origin("nothing, when the batch was run again", "")
    place, what = events[0]
    return _origin(model, place, what)


def _watch(name: str, events: list, handles: list):
    def hook(module, args, output):
        outputs = [t for t in _tensors(output) if t.is_floating_point()]
        if not all(bool(torch.isfinite(t).all()) for t in outputs):
            events.append((name, "the output"))
        for t in _tensors(args):  # the inner module's hook comes first where a tensor enters two
            if t.requires_grad:
                handles.append(t.register_hook(_note(events, name, "the gradient at the input")))
        if not name:
            for t in outputs:
                if t.requires_grad:
                    note = _note(events, "", "the gradient of the loss at the model's output")
                    handles.append(t.register_hook(note))

    return hook


def _note(events: list, place: str, what: str):
    def hook(gradient):
        if not torch.isfinite(gradient).all():
            events.append((place, what))

    return hook


def _origin(model: nn.Module, place: str, what: str) -> Origin:
    """The layer that ``place`` (a module or parameter name) belongs to, and the quantizer nearest to it."""
    modules = dict(model.named_modules())
    while place and place not in modules:
        place = place.rpartition(".")[0]
    quantizer = modules[place] if isinstance(modules[place], FakeQuantize) else None
    layer = place.split(".parametrizations")[0]
    if isinstance(modules[layer], FakeQuantize):
        layer = layer.rpartition(".")[0]
    if quantizer is None:
        inside = [m for m in modules[layer].modules() if isinstance(m, FakeQuantize)] if layer else []
        quantizer = inside[0] if inside else None
    text = f"{quantizer.role} {spec.write(quantizer.quantizer)}" if quantizer is not None else ""
    return Origin(what, layer, text)


def _tensors(thing: Any) -> list[Tensor]:
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, dict):
        thing = thing.values()
    elif not isinstance(thing, tuple | list):
        return []
    return [t for item in thing for t in _tensors(item)]
