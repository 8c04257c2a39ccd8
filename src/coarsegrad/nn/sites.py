"""Sites: the places in a user's model where a quantizer can go, found without tracing."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
RELU_LIKE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardtanh, nn.ELU, nn.Mish)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_NORMS = ("norm", "Norm")


@dataclass
class Site:
    """One weight-bearing module: its weights by parameter name, the axis of its output channels, what it was seen doing."""

    name: str
    module: nn.Module
    weights: dict[str, int]
    input_reason: str | None = None
    note: str = ""
    calls: int = 0
    order: int | None = None
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
        return isinstance(self.module, nn.Embedding | nn.EmbeddingBag)


@dataclass
class FloatPart:
    """Parameters that stay in float, and why."""

    name: str
    kind: str
    parameters: int
    reason: str
    macs: int | None = None


@dataclass
class Survey:
    """All sites, all float parts, all ReLU-like modules of a model."""

    sites: list[Site] = field(default_factory=list)
    floats: list[FloatPart] = field(default_factory=list)
    relus: dict[str, nn.Module] = field(default_factory=dict)
    ran: bool = False


def plain_type(module: nn.Module) -> type:
    """The module's own type, also when it is parametrized."""
    cls = type(module)
    return cls.__bases__[0] if nn.utils.parametrize.is_parametrized(module) else cls


def survey(model: nn.Module, example: Any = None) -> Survey:
    """Look at every module; with an ``example`` (a tensor, tuple of arguments or dict of keywords), run it once in eval mode."""
    found = Survey()
    covered: set[int] = set()
    attention: dict[int, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            attention[id(module.out_proj)] = name
    for name, module in model.named_modules():
        site = _site(name, module, attention)
        if site is not None:
            found.sites.append(site)
            covered.update(id(getattr_raw(module, w)) for w in site.weights)
        elif isinstance(module, RELU_LIKE):
            found.relus[name] = module
    for name, module in model.named_modules():
        if type(module).__module__ == "torch.nn.utils.parametrize" or type(module).__name__ == "FakeQuantize":
            continue
        own = [(n, p) for n, p in module.named_parameters(recurse=False) if id(p) not in covered]
        own = [(n, p) for n, p in own if not (n in ("bias", "in_proj_bias") and any(s.module is module for s in found.sites))]
        if own:
            size = sum(p.numel() for _, p in own)
            found.floats.append(FloatPart(name, plain_type(module).__name__, size, _reason(module, own)))
    if example is not None:
        _run(model, found, example)
    return found


def getattr_raw(module: nn.Module, name: str) -> Tensor:
    """The stored parameter behind a weight, also when it is parametrized."""
    if nn.utils.parametrize.is_parametrized(module, name):
        return module.parametrizations[name].original  # pyright: ignore
    return getattr(module, name)


def _site(name: str, module: nn.Module, attention: dict[int, str]) -> Site | None:
    note = ""
    if isinstance(module, nn.MultiheadAttention):
        packed = getattr_raw_exists(module, "in_proj_weight")
        names = ("in_proj_weight",) if packed else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        return Site(name, module, dict.fromkeys(names, 0), note="the products of queries, keys and values stay float")
    if isinstance(module, PLAIN):
        if id(module) in attention:
            return Site(name, module, {"weight": 0}, "called functionally by MultiheadAttention: no hook reaches its input")
        axis = 0
    elif isinstance(module, TRANSPOSED):
        axis = 1 if module.groups == 1 else 0
    elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return Site(name, module, {"weight": 0}, "its input is indices")
    elif plain_type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return Site(name, module, {"weight": 1})  # transformers' Conv1D keeps [in, out]
    else:
        return None
    if getattr(module, "weight", None) is None or isinstance(module.weight, nn.parameter.UninitializedParameter):
        return None
    base = next(c for c in type(module).__mro__ if c in (*PLAIN, *TRANSPOSED))
    if plain_type(module).forward is not base.forward:
        note = f"{plain_type(module).__name__} has a forward of its own, which receives the quantized weight"
    return Site(name, module, {"weight": axis}, note=note)


def getattr_raw_exists(module: nn.Module, name: str) -> bool:
    """Whether the module stores (or parametrizes) a weight of this name."""
    return nn.utils.parametrize.is_parametrized(module, name) or getattr(module, name, None) is not None


def _reason(module: nn.Module, own: list[tuple[str, nn.Parameter]]) -> str:
    kind = plain_type(module).__name__
    if any(word in kind for word in _NORMS) or isinstance(module, nn.modules.batchnorm._NormBase):
        return "normalization: a scale and a shift per channel"
    if isinstance(module, RECURRENT):
        return "recurrent layers are not supported: their weights are used inside one fused call"
    if isinstance(module, nn.PReLU):
        return "the slope of an activation function"
    names = ", ".join(n for n, _ in own)
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
    """Call a model with a batch: dict -> keywords, tuple -> arguments, else one argument."""
    if hasattr(batch, "keys"):
        return model(**batch)
    if isinstance(batch, tuple | list):
        return model(*batch)
    return model(batch)


def _run(model: nn.Module, found: Survey, example: Any) -> None:
    by_module = {id(site.module): site for site in found.sites}
    handles, clock = [], [0]

    def note(module, args, kwargs, output):
        site = by_module[id(module)]
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        first = output[0] if isinstance(output, tuple) else output
        site.calls += 1
        if site.order is None:
            site.order = clock[0]
            clock[0] += 1
            site.in_shape = tuple(given[0].shape) if given else None
            site.out_shape = tuple(first.shape) if isinstance(first, Tensor) else None
        site.macs = (site.macs or 0) + _macs(module, given, first)

    try:
        for site in found.sites:
            handles.append(site.module.register_forward_hook(note, with_kwargs=True))
        with torch.no_grad(), evaluating(model):
            call(model, example)
    finally:
        for handle in handles:
            handle.remove()
    found.ran = True
    for site in found.sites:
        parent = next((s for s in found.sites if site.name == f"{s.name}.out_proj" and s.kind == "MultiheadAttention"), None)
        if parent is not None and parent.out_shape and not site.calls:
            site.macs = math.prod(parent.out_shape) * parent.out_shape[-1]
            site.order = parent.order
        elif not site.calls and site.input_reason is None:
            site.input_reason = "never called as a module on the example: a hook on it sees no input"


def _macs(module: nn.Module, given: list[Tensor], output: Tensor) -> int:
    """Multiply-accumulates of one call, for all examples in it."""
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) or not given:
        return 0
    if isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight",) if getattr_raw_exists(module, "in_proj_weight") else ("q_proj_weight",)
        width = module.embed_dim
        tokens = [math.prod(t.shape[:-1]) * t.shape[-1] for t in given[:3]]
        return sum(tokens) * width if names else 0
    weight = getattr_raw(module, "weight")
    if isinstance(module, TRANSPOSED):
        return given[0].numel() * math.prod(weight.shape[1:])
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return output.numel() * math.prod(weight.shape[1:])
    return output.numel() * (weight.numel() // output.shape[-1])
