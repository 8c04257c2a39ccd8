"""Sites: the places in a user's model where a quantizer can go, found without tracing."""

import copy
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from coarsegrad.nn.macs import MacCounter, plain_attention

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
RELU_LIKE = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.ELU,
    nn.Mish,
)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_OURS = ("FakeQuantize", "QuantizedWeight", "ParametrizationList")


@dataclass
class Site:
    """One weight-bearing module: its weights with their channel axis, and what it was seen doing."""

    name: str
    module: nn.Module
    weights: dict[str, int]
    input_reason: str | None = None
    note: str = ""
    calls: int = 0
    order: int | None = None
    last: int | None = None
    macs: int | None = None
    in_shape: tuple[int, ...] | None = None
    out_shape: tuple[int, ...] | None = None

    @property
    def kind(self) -> str:
        """The type's name, as written in the model (parametrized or not)."""
        return plain_type(self.module).__name__

    @property
    def embedding(self) -> bool:
        """Whether its input is indices."""
        return isinstance(self.module, EMBEDDINGS)


@dataclass
class FloatPart:
    """Parameters that stay in float, and why."""

    name: str
    kind: str
    parameters: int
    reason: str
    macs: int | None = None
    tensors: list[Tensor] = field(default_factory=list)


@dataclass
class Survey:
    """All sites, all float parts, all ReLU-like modules of a model."""

    sites: list[Site] = field(default_factory=list)
    floats: list[FloatPart] = field(default_factory=list)
    relus: dict[str, nn.Module] = field(default_factory=dict)
    relu_calls: dict[str, int] = field(default_factory=dict)
    ran: bool = False


def plain_type(module: nn.Module) -> type:
    """The module's own type, also when it is parametrized."""
    cls = type(module)
    return cls.__bases__[0] if parametrize.is_parametrized(module) else cls


def survey(model: nn.Module, example: Any = None) -> Survey:
    """Look at every module; with an ``example``, also run it: once, on a copy, in eval mode.

    ``example``: a tensor, a tuple of arguments or a dict of keywords.
    """
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(f"{name} has no shape yet: run one batch through the float model first")
    if example is not None:
        model = copied(model)
    found = Survey()
    owner: dict[int, str] = {}
    attention = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    for name, module in model.named_modules():
        site = _site(name, module, attention)
        if site is not None:
            found.sites.append(site)
            for weight in site.weights:
                owner.update({id(p): name for p in stored(module, weight)})
        elif isinstance(module, RELU_LIKE):
            found.relus[name] = module
    places = {id(site.module) for site in found.sites}
    for name, module in model.named_modules():
        if type(module).__name__ in _OURS or type(module).__module__ == parametrize.__name__:
            continue
        own = [
            (n, p)
            for n, p in _parameters(module)
            if not (id(module) in places and n in ("bias", "in_proj_bias"))
        ]
        free = [(n, p) for n, p in own if id(p) not in owner]
        if free:
            size = sum(p.numel() for _, p in free)
            part = FloatPart(
                name, plain_type(module).__name__, size, _reason(module, free), tensors=[p for _, p in free]
            )
            found.floats.append(part)
        elif own and id(module) not in places:
            reason = f"shares the weight of {owner[id(own[0][1])]}, but uses it directly, and so in float"
            found.floats.append(FloatPart(name, plain_type(module).__name__, 0, reason))
    if example is not None:
        _run(model, found, example)
    return found


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; raises ``ValueError`` with the usual cause where torch cannot make one."""
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        raise ValueError(
            f"this model cannot be copied ({str(error).splitlines()[0]}). The usual cause is the old "
            "torch.nn.utils.weight_norm or spectral_norm: use the one in torch.nn.utils.parametrizations"
        ) from error


def chains(module: nn.Module) -> dict[str, parametrize.ParametrizationList]:
    """The parametrizations of each of a module's tensors, by name."""
    return dict(module.parametrizations.items())  # pyright: ignore


def stored(module: nn.Module, name: str) -> list[Tensor]:
    """The stored parameters behind a weight: several where a parametrization splits it (weight norm)."""
    if parametrize.is_parametrized(module, name):
        kept = chains(module)[name].named_parameters(recurse=False)
        return [p for n, p in kept if n.startswith("original")]
    return [getattr(module, name)]


def has_weight(module: nn.Module, name: str) -> bool:
    """Whether the module stores (or parametrizes) a weight of this name."""
    return parametrize.is_parametrized(module, name) or module._parameters.get(name) is not None


def _parameters(module):
    found = list(module.named_parameters(recurse=False))
    if parametrize.is_parametrized(module):
        found += [(n, p) for n in chains(module) for p in stored(module, n)]
    return found


def _site(name: str, module: nn.Module, attention: set[int]) -> Site | None:
    if isinstance(module, nn.MultiheadAttention):
        packed = has_weight(module, "in_proj_weight")
        names = ("in_proj_weight",) if packed else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        return Site(
            name, module, dict.fromkeys(names, 0), note="the products of queries, keys and values stay float"
        )
    if not has_weight(module, "weight"):
        return None
    own = plain_type(module)
    if isinstance(module, EMBEDDINGS):
        if module.max_norm is not None or module.sparse:
            return None
        return Site(name, module, {"weight": 0}, "its input is indices")
    if own.__name__ == "Conv1D" and hasattr(module, "nf"):
        return Site(name, module, {"weight": 1})  # transformers' Conv1D keeps [in, out]
    base = next((c for c in own.__mro__ if c in (*PLAIN, *TRANSPOSED)), None)
    if base is None:
        return None
    notes = []
    if own.forward is not base.forward:
        notes.append(f"{own.__name__} has a forward of its own, which receives the quantized weight")
    if parametrize.is_parametrized(module, "weight"):
        before = [type(p).__name__.strip("_") for p in chains(module)["weight"]]
        notes += (
            [f"quantized after {', '.join(b for b in before)}"] if "FakeQuantize" not in before[0] else []
        )
    reason = (
        "called functionally by MultiheadAttention: no hook reaches its input"
        if id(module) in attention
        else None
    )
    axis = 1 if isinstance(module, TRANSPOSED) and module.groups == 1 else 0
    return Site(name, module, {"weight": axis}, reason, "; ".join(notes))


def _reason(module: nn.Module, own: list[tuple[str, Tensor]]) -> str:
    kind, names = plain_type(module).__name__, ", ".join(n for n, _ in own)
    if "norm" in kind.lower() or isinstance(module, nn.modules.batchnorm._NormBase):
        return "normalization: a scale and a shift per channel"
    if isinstance(module, RECURRENT):
        return "recurrent layers are not supported: their weights are used inside one fused call"
    if isinstance(module, nn.PReLU):
        return "the slope of an activation function"
    if isinstance(module, EMBEDDINGS):
        option = "max_norm, which rewrites the weight" if module.max_norm is not None else "sparse gradients"
        return f"this embedding uses {option}, which a quantized weight cannot have"
    if isinstance(module, (*PLAIN, *TRANSPOSED)):
        return (
            f"its weight is made from {names} by a hook (old weight_norm, spectral_norm or pruning): "
            "use torch.nn.utils.parametrizations, or make the pruning permanent"
        )
    if all(p.dim() <= 1 or p.numel() == max(p.shape) for _, p in own):
        return f"a vector ({names}), not the weight of a matrix product"
    return f"{kind} uses {names} directly in its forward; it is none of the supported layer types"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode, restored module by module."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def call(model: nn.Module, batch: Any) -> Any:
    """Call a model: dict -> keywords, tuple -> as many arguments as it takes (labels fall off)."""
    if hasattr(batch, "keys"):
        return model(**batch)
    if isinstance(batch, tuple | list):
        return model(*batch[: _arity(model)])
    return model(batch)


def each(batches: Iterable[Any], verb: str) -> Iterable[Any]:
    """The batches; raises ``ValueError`` where one batch was given instead of several."""
    if isinstance(batches, Tensor) or hasattr(batches, "keys"):
        raise ValueError(f"{verb}(model, batches) takes several batches, and got one: write [batch]")
    return batches


def _arity(model):
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _run(model: nn.Module, found: Survey, example: Any) -> None:
    by_module = {id(site.module): site for site in found.sites}
    counter = MacCounter(model)
    weights = {
        site.name: [id(p) for w in site.weights for p in stored(site.module, w)] for site in found.sites
    }
    credited: dict[int, int] = {}
    before: dict[str, list[int]] = {}
    clock = 0

    def number(site):
        return [counter.macs.get(i, 0) for i in weights[site.name]]

    def start(module, args):
        before[by_module[id(module)].name] = number(by_module[id(module)])

    def note(module, args, kwargs, output):
        nonlocal clock
        site, first = by_module[id(module)], output[0] if isinstance(output, tuple) else output
        if site.order is None:
            given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
            site.order = clock
            site.in_shape = tuple(given[0].shape) if given else None
            site.out_shape = tuple(first.shape) if isinstance(first, Tensor) else None
        site.calls, site.last, clock = site.calls + 1, clock, clock + 1
        for i, a, b in zip(weights[site.name], before[site.name], number(site), strict=True):
            site.macs = (site.macs or 0) + b - a
            credited[i] = credited.get(i, 0) + b - a

    def counts(name):
        def count(module, args, output):
            found.relu_calls[name] = found.relu_calls.get(name, 0) + 1

        return count

    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    handles = []
    try:
        for name, relu in found.relus.items():
            handles.append(relu.register_forward_hook(counts(name)))
        for site in found.sites:
            handles.append(site.module.register_forward_pre_hook(start))
            handles.append(site.module.register_forward_hook(note, with_kwargs=True))
        with torch.random.fork_rng(devices), torch.no_grad(), evaluating(model), plain_attention(), counter:
            call(model, example)
    finally:
        for handle in handles:
            handle.remove()
    found.ran = True
    for site in found.sites:  # what a weight did outside its module's call: used functionally
        for i in weights[site.name]:
            extra = counter.macs.get(i, 0) - credited.get(i, 0)
            credited[i] = credited.get(i, 0) + extra
            site.macs = (site.macs or 0) + extra
        parent = next(
            (s for s in found.sites if f"{s.name}.out_proj" == site.name and s.kind == "MultiheadAttention"),
            None,
        )
        if parent is not None and not site.calls:
            site.order, site.last = parent.order, parent.last
        elif not site.calls and site.input_reason is None:
            used = "used directly, not by a call" if site.macs else "never called"
            site.input_reason = f"{used} on the example: no hook sees an input"
    for part in found.floats:
        part.macs = sum(counter.macs.get(id(p), 0) for p in part.tensors)
