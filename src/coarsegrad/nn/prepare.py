"""Put the pair into a user's model, and take the trained levels out again. The argument is never touched."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.plan import draft
from coarsegrad.nn.recipe import Recipe, on_axis
from coarsegrad.nn.sites import getattr_raw, plain_type, survey


def prepare(model: nn.Module, recipe: str | Recipe, example: Any = None) -> nn.Module:
    """A copy of the model that trains quantized: weights through parametrizations, activations through hooks.

    ``recipe``: ``"w2a2"``, its written form, or a ``Recipe``. ``example`` (one batch) lets first and last be
    found by call order and functional use be seen. Load a float checkpoint before. The copy's ``state_dict``
    loads with ``strict=True`` into another copy prepared alike. Raises ``ValueError`` for a model that is
    prepared already, for rules that match nothing or conflict, and for a model without a supported layer.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> quantized = prepare(net, "w2a2")
    >>> quantized(torch.randn(16, 4)).shape
    torch.Size([16, 2])
    """
    recipe = Recipe.read(recipe)
    if any(isinstance(m, FakeQuantize | QuantizedWeight) for m in model.modules()):
        raise ValueError("this model is quantized already; prepare the float model")
    found = survey(model, example)
    if not found.sites:
        raise ValueError("this model has no supported layer: Linear, Conv, ConvTranspose, Embedding, MultiheadAttention")
    drafted = draft(found, recipe)
    new = copy.deepcopy(model)
    sites = {site.name: site for site in found.sites}
    made: dict[int, FakeQuantize] = {}
    for name, site in sites.items():
        bits, module = drafted.choices[name], new.get_submodule(name)
        if bits.weight is not None:
            for weight, axis in site.weights.items():
                _parametrize(module, weight, on_axis(bits.weight, axis), recipe.weight_surrogate, made, name)
        if bits.activation is not None and site.input_reason is None and recipe.activations == "inputs":
            q = FakeQuantize(bits.activation, recipe.activation_surrogate)
            q.place = f"{name or 'model'}.input_quantizer"
            module.add_module("input_quantizer", q)
            module.register_forward_pre_hook(_quantize_input, with_kwargs=True)
    if recipe.activations == "relus":
        _quantize_relus(new, found, recipe)
    return new


def quantize(model: nn.Module, recipe: str | Recipe = "w4a4", batches: Iterable[Any] | None = None) -> nn.Module:
    """Prepare, and calibrate where batches are given: ready to train, or to evaluate as post-training quantization.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> quantize(net, "w2a2", [torch.randn(16, 4)]).eval()(torch.randn(3, 4)).shape
    torch.Size([3, 2])
    """
    from coarsegrad.nn.calibrate import calibrate

    kept = None if batches is None else list(batches)
    new = prepare(model, recipe, kept[0] if kept else None)
    if kept is not None:
        calibrate(new, kept)
    return new


def pairs(model: nn.Module) -> Iterator[tuple[nn.Parameter, FakeQuantize]]:
    """Every quantized weight's latent parameter with its quantizer, each once (tied weights too)."""
    seen: set[int] = set()
    for module in model.modules():
        if parametrize.is_parametrized(module):
            for kept in module.parametrizations.values():  # pyright: ignore
                if isinstance(kept[0], FakeQuantize) and id(kept.original) not in seen:
                    seen.add(id(kept.original))
                    yield kept.original, kept[0]


def set_progress(model: nn.Module, progress: float) -> None:
    """Tell every scheduled surrogate (EDE, ReSTE) how far training is, in [0, 1]."""
    for module in model.modules():
        if isinstance(module, FakeQuantize):
            module.set_progress(progress)


class ReLUThenQuantize(nn.ReLU):
    """A ReLU whose output is quantized, in one step where that is exact: neither time nor memory goes to the ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        """The quantized ReLU of the input."""
        return self.output_quantizer.behind_relu(input)  # pyright: ignore


class QuantizedWeight(nn.Module):
    """A converted weight as codes: ``quantizer.dequantize(codes, **values)`` is the layer's weight, bit for bit."""

    def __init__(self, fake: FakeQuantize, latent: Tensor):
        super().__init__()
        self.quantizer: Quantizer = fake.quantizer
        self.register_buffer("codes", fake.codes(latent).to(torch.uint8))
        for name, value in fake.values(latent).items():
            self.register_buffer(name, value.clone())
        self._names = tuple(fake.values(latent))

    def dequantize(self) -> Tensor:
        """The weight."""
        values = {name: getattr(self, name) for name in self._names}
        return self.quantizer.dequantize(self.codes.long(), **values)  # pyright: ignore


@torch.no_grad()
def convert(model: nn.Module) -> nn.Module:
    """A copy of a trained prepared model in which each weight is a plain parameter that lies on its levels.

    Each such layer keeps the codes in ``<weight>_quantized``. Activation quantizers stay, fixed. In eval mode
    the outputs are those of the prepared model, bit for bit. Raises ``RuntimeError`` where an activation was
    never calibrated, ``ValueError`` where nothing is quantized.
    """
    if not any(isinstance(m, FakeQuantize) for m in model.modules()):
        raise ValueError("nothing to convert: prepare(model, recipe) and train first")
    for name, module in model.named_modules():
        if isinstance(module, FakeQuantize) and module.role == "activation" and not module._ready:
            raise RuntimeError(f"{name} has no scale yet: calibrate or train before convert (or it is never called)")
    new = copy.deepcopy(model)
    plain: dict[int, nn.Parameter] = {}
    for module in list(new.modules()):
        if not parametrize.is_parametrized(module):
            continue
        kept = {n: p for n, p in module.parametrizations.items() if isinstance(p[0], FakeQuantize)}  # pyright: ignore
        if len(kept) != len(module.parametrizations):  # pyright: ignore
            raise ValueError(f"{type(module).__name__} carries another parametrization too; remove that first")
        for name, parts in kept.items():
            latent, fake = parts.original, parts[0]
            value = module.__getattr__(name) if name in module._parameters else getattr(module, name)
            if id(latent) not in plain:
                plain[id(latent)] = nn.Parameter(value.detach().clone(), requires_grad=latent.requires_grad)
            kept[name] = (QuantizedWeight(fake, latent), plain[id(latent)])
        # The class is this module's alone to leave: parametrized copies share it with their originals.
        module.__class__ = plain_type(module)
        del module._modules["parametrizations"]
        for name, (quantized, value) in kept.items():
            module.register_parameter(name, value)
            module.add_module(f"{name}_quantized", quantized)
    for module in new.modules():
        if isinstance(module, FakeQuantize):
            module.requires_grad_(False)
    return new


def _parametrize(module, weight, quantizer, surrogate, made, name):
    latent = getattr_raw(module, weight)
    if id(latent) not in made:
        made[id(latent)] = FakeQuantize(quantizer, surrogate, weight=latent)
        made[id(latent)].place = f"{name}.{weight}"
    parametrize.register_parametrization(module, weight, made[id(latent)], unsafe=True)


def _quantize_input(module, args, kwargs):
    q = module.input_quantizer
    if isinstance(module, nn.MultiheadAttention):
        names = ("query", "key", "value")
        given = {**dict(zip(names, args, strict=False)), **{n: kwargs[n] for n in names if n in kwargs}}
        done = {id(t): q(t) for t in {id(t): t for t in given.values()}.values()}
        args = tuple(done.get(id(a), a) if i < 3 else a for i, a in enumerate(args))
        return args, {k: done.get(id(v), v) if k in names else v for k, v in kwargs.items()}
    if args:
        return (q(args[0]), *args[1:]), kwargs
    for key, value in kwargs.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            return args, {**kwargs, key: q(value)}
    return args, kwargs


def _quantize_relus(new, found, recipe):
    from coarsegrad.nn.recipe import Bits

    for name in found.relus:
        bits = Bits.read(recipe.bits)
        for rule in recipe.rules:
            if rule.applies(name, type(found.relus[name]).__name__):
                bits = Bits.read(rule.bits)
        if bits.activation is None:
            continue
        module = new.get_submodule(name)
        q = FakeQuantize(bits.activation, recipe.activation_surrogate)
        q.place = f"{name}.output_quantizer"
        module.add_module("output_quantizer", q)
        if type(module) is nn.ReLU:
            module.__class__ = ReLUThenQuantize
        else:
            module.register_forward_hook(_quantize_output)


def _quantize_output(module, args, output):
    return module.output_quantizer(output)
