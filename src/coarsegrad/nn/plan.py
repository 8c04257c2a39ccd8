"""The plan: each layer with bits, shapes, MACs and memory, and each that stays float, with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.quantizers import Uniform
from coarsegrad.nn.choices import layer_choices, relu_choices
from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.recipe import Bits, Recipe, on_axis
from coarsegrad.nn.sites import Survey, chains, plain_type, stored, survey


@dataclass(frozen=True)
class Row:
    """One layer of a supported type."""

    name: str
    kind: str
    shape: tuple[int, ...]
    weight: Quantizer | None
    activation: Quantizer | None
    activation_reason: str
    ranges: str
    out_shape: tuple[int, ...] | None
    macs: int | None
    bytes_before: int
    bytes_after: int
    note: str


@dataclass(frozen=True)
class OutputRow:
    """A ReLU-like module whose output is quantized (``Recipe(activations="relus")``)."""

    name: str
    kind: str
    activation: Quantizer
    ranges: str
    note: str = ""


@dataclass(frozen=True)
class FloatRow:
    """Parameters that stay float."""

    name: str
    kind: str
    parameters: int
    reason: str
    macs: int | None


@dataclass(frozen=True)
class Plan:
    """What ``prepare`` would do, or did. Print it: ``print(plan(model, "w2a2", example))``."""

    rows: tuple[Row, ...]
    floats: tuple[FloatRow, ...]
    outputs: tuple[OutputRow, ...] = ()
    choices: dict[str, Bits] = field(repr=False, default_factory=dict)

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates with a weight in them, of the whole example; None without one."""
        known = [r.macs for r in (*self.rows, *self.floats)]
        return None if None in known else sum(m for m in known if m is not None)

    @property
    def coverage(self) -> float | None:
        """The share of weight-bearing MACs whose weight is quantized, in [0, 1]; None without an example."""
        return sum(r.macs or 0 for r in self.rows if r.weight is not None) / self.macs if self.macs else None

    @property
    def bytes_before(self) -> int:
        """Weight memory in float32."""
        return sum(r.bytes_before for r in self.rows) + 4 * sum(r.parameters for r in self.floats)

    @property
    def bytes_after(self) -> int:
        """Weight memory with codes packed to their bits, scales and float parts in float32."""
        return sum(r.bytes_after for r in self.rows) + 4 * sum(r.parameters for r in self.floats)

    def __str__(self) -> str:
        if not (self.rows or self.floats or self.outputs):
            return "nothing to quantize: this model has no layer and no parameter"
        head = (
            "layer",
            "type",
            "weight shape",
            "output",
            "weight",
            "input",
            "range",
            "MACs",
            "KiB",
            "-> KiB",
        )
        body = []
        for r in self.rows:
            body.append(
                (
                    r.name or "(model)",
                    r.kind,
                    _shape(r.shape),
                    _shape(r.out_shape),
                    _short(r.weight),
                    _short(r.activation),
                    r.ranges,
                    _count(r.macs),
                    _kib(r.bytes_before),
                    _kib(r.bytes_after),
                )
            )
        lines = _table(head, body, right=(7, 8, 9))
        if self.outputs:
            cells = [(r.name or "(model)", r.kind, _short(r.activation), r.ranges) for r in self.outputs]
            lines += ["", "quantized outputs:", *_table(("module", "type", "output", "range"), cells)]
        stays = [
            (r.name or "(model)", r.kind, f"{r.parameters:,}", _count(r.macs), r.reason)
            for r in (*self.floats, *(_float_row(r) for r in self.rows if r.weight is None))
        ]
        if stays:
            head = ("layer", "type", "parameters", "MACs", "reason")
            lines += ["", "stays in float:", *_table(head, stays, right=(2, 3))]
        notes: dict[str, list[str]] = {}
        for r in self.outputs:
            if r.note:
                notes.setdefault(r.note, []).append(r.name or "(model)")
        for r in self.rows:
            for text in (r.note, r.activation_reason and f"input stays float: {r.activation_reason}"):
                if text:
                    notes.setdefault(text, []).append(r.name or "(model)")
        if notes:
            lines += ["", "notes:", *(f"  {', '.join(names)}: {text}" for text, names in notes.items())]
        coverage = "unknown without an example" if self.coverage is None else f"{100 * self.coverage:.1f} %"
        before, after = self.bytes_before, max(self.bytes_after, 1)
        lines += [
            "",
            f"weight MACs quantized: {coverage}; "
            f"weights {_kib(before)} -> {_kib(after)} KiB ({before / after:.1f}x smaller)",
        ]
        return "\n".join(lines)


def plan(model: nn.Module, recipe: str | Recipe | None = None, example: Any = None) -> Plan:
    """What ``prepare(model, recipe)`` would do, without doing it; of a prepared one, what was done.

    ``example``: one batch (tensor, tuple of arguments, dict of keywords); with it the plan knows call order,
    shapes, MACs (for that batch) and which modules are never called. A prepared or converted model needs no
    recipe. Raises ``ValueError`` where a rule matches no module, or where rules conflict on a tied weight.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> [row.weight.bits for row in plan(net, "w2a2", torch.randn(1, 4)).rows]
    [8, 2, 8]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"plan takes a torch.nn.Module, got {type(model).__name__}")
    found = survey(model, example)
    if any(type(m).__name__ in ("FakeQuantize", "QuantizedWeight") for m in model.modules()):
        return _done(found)
    if recipe is None:
        raise ValueError(
            "this model is not prepared: plan(model, recipe) needs the recipe, as in plan(model, 'w2a2')"
        )
    return draft(found, Recipe.read(recipe))


def draft(found: Survey, recipe: Recipe) -> Plan:
    """The plan for a survey."""
    choices = layer_choices(found, recipe)
    outputs = relu_choices(found, recipe)
    kept: dict[str, tuple[Bits, str]] = {}
    for site in found.sites:
        bits = choices[site.name]
        reason = "" if bits.activation is None else site.input_reason or ""
        if recipe.activations != "inputs" and bits.activation is not None and not reason:
            reason = "the recipe quantizes at the outputs of ReLU-like modules"
        kept[site.name] = (bits, reason)
    shown = [
        OutputRow(n, plain_type(found.relus[n]).__name__, q, "", _shared(found.relu_calls.get(n, 0)))
        for n, q in outputs.items()
    ]
    return Plan(_rows(found, kept), _floats(found), tuple(shown), choices)


def _done(found: Survey) -> Plan:
    """The plan of a prepared or converted model: what its quantizers are."""
    kept = {}
    for site in found.sites:
        weights = [_held(site.module, name) for name in site.weights]
        q = getattr(site.module, "input_quantizer", None)
        reason = "" if q is not None or weights[0] is None else site.input_reason or "not quantized here"
        kept[site.name] = (Bits(weights[0], None if q is None else q.quantizer), reason)
    places = {n: getattr(m, "output_quantizer", None) for n, m in found.relus.items()}
    outputs = [
        OutputRow(n, plain_type(found.relus[n]).__name__, q.quantizer, _range(q))
        for n, q in places.items()
        if q is not None
    ]
    return Plan(
        _rows(found, kept), _floats(found), tuple(outputs), {n: bits for n, (bits, _) in kept.items()}
    )


def _shared(calls: int) -> str:
    if calls < 2:
        return ""
    return f"called {calls} times: all share one scale; give each place a module of its own to part them"


def _held(module: nn.Module, name: str) -> Quantizer | None:
    converted = getattr(module, f"{name}_quantized", None)
    if converted is not None:
        return converted.quantizer
    if parametrize.is_parametrized(module, name):
        last = chains(module)[name][-1]
        return last.quantizer if isinstance(last, FakeQuantize) else None
    return None


def _floats(found: Survey) -> tuple[FloatRow, ...]:
    return tuple(FloatRow(f.name, f.kind, f.parameters, f.reason, f.macs) for f in found.floats)


def _rows(found: Survey, kept: dict[str, tuple[Bits, str]]) -> tuple[Row, ...]:
    rows, counted = [], set()
    for site in found.sites:
        bits, reason = kept[site.name]
        tensors = {n: stored(site.module, n) for n in site.weights}
        fresh = [n for n, parts in tensors.items() if id(parts[0]) not in counted]
        counted.update(id(parts[0]) for parts in tensors.values())
        shapes = {n: getattr(site.module, n).detach() for n in site.weights}
        before = 4 * sum(p.numel() for n in fresh for p in tensors[n])
        after = (
            before
            if bits.weight is None
            else sum(_packed(on_axis(bits.weight, site.weights[n]), shapes[n]) for n in fresh)
        )
        note = site.note
        if len(fresh) < len(tensors):
            note = "; ".join(
                filter(None, (note, "weight tied to an earlier layer: one quantizer serves both"))
            )
        activation = None if reason else bits.activation
        rows.append(
            Row(
                site.name,
                site.kind,
                tuple(next(iter(shapes.values())).shape),
                bits.weight,
                activation,
                reason,
                _range(getattr(site.module, "input_quantizer", None)),
                site.out_shape,
                site.macs,
                before,
                after,
                note,
            )
        )
    return tuple(rows)


def _packed(quantizer: Quantizer, tensor: Tensor) -> int:
    axis, group = quantizer.scale.axis, quantizer.scale.group
    if group:
        extra = tensor.numel() // group
    else:
        thin = tensor[tuple(slice(None) if d == axis else slice(0, 1) for d in range(tensor.dim()))]
        extra = sum(v.numel() for v in quantizer.fit(thin).values())
    return -(-tensor.numel() * quantizer.bits // 8) + 4 * extra


def _range(q: FakeQuantize | None) -> str:
    """The calibrated range of an activation, where it has one."""
    if not isinstance(q, FakeQuantize):
        return ""
    if not q._ready:
        return "not calibrated"
    if q.quantizer.live:
        return "live"
    values = q.values(q.ready)  # pyright: ignore
    low, high = (
        float(q.quantizer.levels[i] * q.scale.flatten()[0] + values.get("offset", 0.0)) for i in (0, -1)
    )
    return f"[{low:.3g}, {high:.3g}]"


def _float_row(row: Row) -> FloatRow:
    return FloatRow(row.name, row.kind, row.bytes_before // 4, "float by the recipe", row.macs)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "x".join(map(str, shape))


def _short(quantizer: Quantizer | None) -> str:
    if quantizer is None:
        return "float"
    signed = ""
    if isinstance(quantizer, Uniform):
        signed = {True: " signed", False: " unsigned", None: " sign?"}[quantizer.signed]
    per = "" if quantizer.scale.axis is None else "/ch"
    per = f"/g{quantizer.scale.group}" if quantizer.scale.group else per
    return f"{quantizer.bits}b {quantizer.name}{per}{signed}"


def _count(macs: int | None) -> str:
    if macs is None:
        return "?"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= size:
            return f"{macs / size:.2f}{unit}"
    return str(macs)


def _kib(size: float) -> str:
    return f"{size / 1024:,.1f}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]

    def line(row):
        cells = [
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [line(head), "  ".join("-" * w for w in widths), *(line(row) for row in body)]
