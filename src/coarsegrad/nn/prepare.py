"""Put the pair into a user's model, and take the trained levels out again. The argument is never touched."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.nn.choices import layer_choices, relu_choices
from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.recipe import Recipe, on_axis
from coarsegrad.nn.sites import chains, copied, each, plain_type, stored, survey


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
    if not isinstance(model, nn.Module):
        raise TypeError(f"prepare takes a torch.nn.Module, got {type(model).__name__}")
    recipe = Recipe.read(recipe)
    if any(isinstance(m, FakeQuantize | QuantizedWeight) for m in model.modules()):
        raise ValueError("this model is quantized already; prepare the float model")
    found = survey(model, example)
    if not found.sites:
        raise ValueError(
            "this model has no supported layer: Linear, Conv, ConvTranspose, Embedding, MultiheadAttention"
        )
    choices, outputs = layer_choices(found, recipe), relu_choices(found, recipe)
    new = copied(model)
    made: dict[int, FakeQuantize] = {}
    for site in found.sites:
        bits, module = choices[site.name], new.get_submodule(site.name)
        if bits.weight is not None:
            for weight, axis in site.weights.items():
                _parametrize(
                    module, weight, on_axis(bits.weight, axis), recipe.weight_surrogate, made, site.name
                )
        if bits.activation is not None and site.input_reason is None and recipe.activations == "inputs":
            _add(module, "input_quantizer", bits.activation, recipe.activation_surrogate, site.name)
            module.register_forward_pre_hook(_quantize_input, with_kwargs=True)
    for name, quantizer in outputs.items():
        _quantize_relu(new.get_submodule(name), quantizer, recipe, name)
    for module in new.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = (
                0  # torch's fused layer would call no submodule, and so no quantizer
            )
    return new


def quantize(
    model: nn.Module, recipe: str | Recipe = "w4a4", batches: Iterable[Any] | None = None
) -> nn.Module:
    """Prepare, and calibrate where batches are given: ready to train, or post-training quantized.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> quantize(net, "w2a2", [torch.randn(16, 4)]).eval()(torch.randn(3, 4)).shape
    torch.Size([3, 2])
    """
    from coarsegrad.nn.calibrate import calibrate

    kept = None if batches is None else list(each(batches, "quantize"))
    new = prepare(model, recipe, kept[0] if kept else None)
    if kept is not None:
        calibrate(new, kept)
    return new


def pairs(model: nn.Module) -> Iterator[tuple[nn.Parameter, FakeQuantize]]:
    """Every quantized weight's latent parameter with its quantizer, each once (tied weights too).

    A weight that weight norm makes of two parameters has no latent of its own, and is left out.
    """
    seen: set[int] = set()
    for module in model.modules():
        if parametrize.is_parametrized(module):
            for chain in chains(module).values():
                first, latent = chain[0], getattr(chain, "original", None)
                if (
                    isinstance(first, FakeQuantize)
                    and isinstance(latent, nn.Parameter)
                    and id(latent) not in seen
                ):
                    seen.add(id(latent))
                    yield latent, first


def set_progress(model: nn.Module, progress: float) -> None:
    """Tell every scheduled surrogate (EDE, ReSTE) how far training is, in [0, 1]."""
    for module in model.modules():
        if isinstance(module, FakeQuantize):
            module.set_progress(progress)


class ReLUThenQuantize(nn.ReLU):
    """A ReLU whose output is quantized, in one step where that is exact: the ReLU itself costs nothing."""

    def forward(self, input: Tensor) -> Tensor:
        """The quantized ReLU of the input."""
        return self.output_quantizer.behind_relu(input)  # pyright: ignore


class QuantizeInsteadOfReLU(nn.ReLU):
    """A quantizer in place of a ReLU: the ReLU is there only while the quantizer has no scale yet."""

    def forward(self, input: Tensor) -> Tensor:
        """The quantized input."""
        quantizer: FakeQuantize = self.output_quantizer  # pyright: ignore
        return quantizer(input if quantizer.started else super().forward(input))


class QuantizedWeight(nn.Module):
    """A converted weight as codes: ``dequantize()`` is the layer's weight, bit for bit."""

    def __init__(self, fake: FakeQuantize, latent: Tensor):
        super().__init__()
        self.quantizer: Quantizer = fake.quantizer.settled()
        self.dtype = latent.dtype
        values = fake.values(latent)
        self.register_buffer("codes", fake.codes(latent).to(torch.uint8))
        for name, value in values.items():
            self.register_buffer(name, value.clone())
        self._names = tuple(values)

    def dequantize(self) -> Tensor:
        """The weight, computed in its own dtype."""
        values = {name: getattr(self, name) for name in self._names}
        scale = self.quantizer.spacing(values).to(self.dtype)
        levels = torch.tensor(self.quantizer.levels, dtype=self.dtype, device=scale.device)
        y = self.quantizer.scale.view(levels[self.codes.long()]) * scale  # pyright: ignore
        if "offset" in values:
            y = y + values["offset"].to(self.dtype)
        return y.reshape(self.codes.shape)  # pyright: ignore


@torch.no_grad()
def convert(model: nn.Module) -> nn.Module:
    """A copy of a trained prepared model in which each weight is a plain parameter that lies on its levels.

    Each such layer keeps the codes in ``<weight>_quantized``. Activation quantizers stay, fixed. In eval mode
    outputs are those of the prepared model, bit for bit (of one without ``relax``). Raises
    ``RuntimeError`` where an activation was never calibrated, ``ValueError`` where nothing is quantized.

    >>> net = quantize(nn.Linear(4, 2), "w2a2", [torch.randn(16, 4)])
    >>> done = convert(net)
    >>> torch.equal(done.weight, done.weight_quantized.dequantize())
    True
    """
    if not any(isinstance(m, FakeQuantize) for m in model.modules()):
        raise ValueError("nothing to convert: prepare(model, recipe) and train first")
    for name, module in model.named_modules():
        if isinstance(module, FakeQuantize) and module.role == "activation" and not module._ready:
            raise RuntimeError(
                f"{name} has no scale yet: calibrate or train before convert. "
                "If the model never calls this module, "
                "prepare(model, recipe, example) sees that and leaves its input alone"
            )
    new = copied(model)
    made: dict[int, tuple[QuantizedWeight, nn.Parameter]] = {}
    for module in list(new.modules()):
        if not parametrize.is_parametrized(module):
            continue
        held = chains(module)
        ours = {n: c for n, c in held.items() if isinstance(c[-1], FakeQuantize)}
        if not ours:
            continue
        if len(ours) < len(held):
            other = ", ".join(sorted(set(held) - set(ours)))
            raise ValueError(
                f"a {plain_type(module).__name__} has another parametrization on {other}: remove it first"
            )
        done = {name: _settled(module, name, chain, made) for name, chain in ours.items()}
        # The class is this module's alone to leave: parametrized copies share it with their originals.
        module.__class__ = plain_type(module)
        del module._modules["parametrizations"]
        for name, (quantized, value) in done.items():
            module.register_parameter(name, value)
            module.add_module(f"{name}_quantized", quantized)
    for module in new.modules():
        if isinstance(module, FakeQuantize):
            module.requires_grad_(False)
    return new


def _settled(module, name, chain, made):
    parts = stored(module, name)
    if id(parts[0]) not in made:
        latent = parts[0]
        for i, part in enumerate(list(chain)[:-1]):  # what the user's own parametrizations make of it
            latent = part(*parts) if i == 0 else part(latent)
        quantized = QuantizedWeight(chain[-1], latent)
        trains = any(p.requires_grad for p in parts)
        made[id(parts[0])] = quantized, nn.Parameter(quantized.dequantize(), requires_grad=trains)
    return made[id(parts[0])]


def _add(module, role, quantizer, surrogate, name):
    q = FakeQuantize(quantizer, surrogate)
    q.place = f"{name or 'model'}.{role}"
    weight = next(module.parameters(), None)
    q.to(None if weight is None else weight.device).train(module.training)
    module.add_module(role, q)


def _parametrize(module, weight, quantizer, surrogate, made, name):
    key = id(stored(module, weight)[0])
    if key not in made:
        latent = getattr(module, weight).detach()
        made[key] = FakeQuantize(quantizer, surrogate, weight=latent).to(latent.device)
        made[key].place = f"{name or 'model'}.{weight}"
    parametrize.register_parametrization(module, weight, made[key], unsafe=True)
    module.parametrizations.train(module.training)


def _quantize_input(module, args, kwargs):
    q = module.input_quantizer
    if isinstance(module, nn.MultiheadAttention):
        names = ("query", "key", "value")
        given = {**dict(zip(names, args, strict=False)), **{n: kwargs[n] for n in names if n in kwargs}}
        tensors = {id(t): t for t in given.values()}
        if len(tensors) > 1 and not q._ready and q.training and q._seen is None:
            q.start_from(torch.cat([t.detach().flatten() for t in tensors.values()]))
        done = {key: q(t) for key, t in tensors.items()}
        args = tuple(done.get(id(a), a) if i < 3 else a for i, a in enumerate(args))
        return args, {k: done.get(id(v), v) if k in names else v for k, v in kwargs.items()}
    if args:
        return (q(args[0]), *args[1:]), kwargs
    for key, value in kwargs.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            return args, {**kwargs, key: q(value)}
    return args, kwargs


def _quantize_relu(module, quantizer, recipe, name):
    _add(module, "output_quantizer", quantizer, recipe.activation_surrogate, name)
    if type(module) is nn.ReLU:
        module.__class__ = ReLUThenQuantize if recipe.activations == "relus" else QuantizeInsteadOfReLU
    else:
        module.register_forward_hook(_quantize_output)


def _quantize_output(module, args, output):
    return module.output_quantizer(output)
