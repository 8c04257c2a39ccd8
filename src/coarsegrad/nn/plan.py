"""The plan: every layer with bits, shapes, MACs and memory, and every layer that stays float, with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.quantizers import Uniform
from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.recipe import Bits, Recipe, on_axis
from coarsegrad.nn.sites import Site, Survey, getattr_raw, survey


@dataclass(frozen=True)
class Row:
    """One quantized layer."""

    name: str
    kind: str
    shape: tuple[int, ...]
    weight: Quantizer | None
    activation: Quantizer | None
    activation_reason: str
    ranges: str
    macs: int | None
    bytes_before: int
    bytes_after: int
    note: str


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
    """What ``prepare`` would do. Print it: ``print(plan(model, "w2a2", example))``."""

    rows: tuple[Row, ...]
    floats: tuple[FloatRow, ...]
    recipe: Recipe
    choices: dict[str, Bits] = field(repr=False, default_factory=dict)

    @property
    def coverage(self) -> float | None:
        """The share of weight-bearing MACs whose weight is quantized, in [0, 1]; None without an example."""
        done = sum(r.macs or 0 for r in self.rows if r.weight is not None)
        total = sum(r.macs or 0 for r in (*self.rows, *self.floats))
        return done / total if total else None

    @property
    def bytes_before(self) -> int:
        """Weight memory in float32."""
        return sum(r.bytes_before for r in self.rows) + 4 * sum(r.parameters for r in self.floats)

    @property
    def bytes_after(self) -> int:
        """Weight memory with codes packed to their bits, scales and float parts in float32."""
        return sum(r.bytes_after for r in self.rows) + 4 * sum(r.parameters for r in self.floats)

    def __str__(self) -> str:
        head = ("layer", "type", "weight shape", "weight", "input", "range", "MACs", "KiB", "-> KiB")
        body = []
        for r in self.rows:
            body.append((
                r.name or "(model)", r.kind, "x".join(map(str, r.shape)), _short(r.weight), _short(r.activation),
                r.ranges, _count(r.macs), _kib(r.bytes_before), _kib(r.bytes_after),
            ))  # fmt: skip
        lines = _table(head, body, right=(6, 7, 8))
        notes = [(r.name, r.note) for r in self.rows if r.note]
        notes += [(r.name, f"input stays float: {r.activation_reason}") for r in self.rows if r.activation_reason]
        stays = [
            (r.name or "(model)", r.kind, f"{r.parameters:,}", r.reason)
            for r in (*self.floats, *(_float_row(r) for r in self.rows if r.weight is None))
        ]
        if stays:
            lines += ["", "stays in float:"] + _table(("layer", "type", "parameters", "reason"), stays, right=(2,))
        if notes:
            lines += ["", "notes:"] + [f"  {name}: {text}" for name, text in notes]
        coverage = "unknown without an example" if self.coverage is None else f"{100 * self.coverage:.1f} %"
        before, after = self.bytes_before, max(self.bytes_after, 1)
        lines += ["", f"weight MACs quantized: {coverage}; weights {_kib(before)} -> {_kib(after)} KiB ({before / after:.1f}x smaller)"]
        return "\n".join(lines)


def plan(model: nn.Module, recipe: str | Recipe, example: Any = None) -> Plan:
    """What ``prepare(model, recipe)`` would do, without doing it; on a prepared model, also the calibrated ranges.

    ``example``: one batch (tensor, tuple of arguments, dict of keywords); with it the plan knows call order,
    shapes, MACs (for that batch) and which modules are never called. Raises ``ValueError`` where a rule
    matches no module, or where rules conflict on a tied weight.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> [row.weight.bits for row in plan(net, "w2a2", torch.randn(1, 4)).rows]
    [8, 2, 8]
    """
    recipe = Recipe.read(recipe)
    return draft(survey(model, example), recipe)


def draft(found: Survey, recipe: Recipe) -> Plan:
    """The plan for a survey."""
    choices = _choices(found, recipe)
    rows, floats = [], [FloatRow(f.name, f.kind, f.parameters, f.reason, f.macs) for f in found.floats]
    counted: set[int] = set()
    for site in found.sites:
        bits = choices[site.name]
        tensors = {n: getattr_raw(site.module, n) for n in site.weights}
        fresh = [t for t in tensors.values() if id(t) not in counted]
        counted.update(id(t) for t in fresh)
        before = 4 * sum(t.numel() for t in fresh)
        after = sum(_packed(on_axis(bits.weight, axis), tensors[n]) for n, axis in site.weights.items()
                    if any(tensors[n] is t for t in fresh)) if bits.weight else before  # fmt: skip
        shape = tuple(next(iter(tensors.values())).shape)
        reason = "" if bits.activation is None else site.input_reason or ""
        if recipe.activations == "relus" and bits.activation is not None and not reason:
            reason = "recipe quantizes at the outputs of ReLU-like modules"
        note = site.note
        if len(fresh) < len(tensors):
            note = "; ".join(filter(None, (note, "weight tied to an earlier layer: one quantizer serves both")))
        rows.append(Row(
            site.name, site.kind, shape, bits.weight, None if reason else bits.activation, reason,
            _ranges(site.module), site.macs, before, after, note,
        ))  # fmt: skip
    return Plan(tuple(rows), tuple(floats), recipe, choices)


def _choices(found: Survey, recipe: Recipe) -> dict[str, Bits]:
    """Bits per site: default < embeddings < first, last < rules; tied weights share the strongest choice."""
    inner = [s for s in found.sites if not s.embedding]
    ordered = sorted((s for s in inner if s.order is not None), key=lambda s: s.order or 0) or inner
    ends = {ordered[0].name: recipe.first, ordered[-1].name: recipe.last} if ordered else {}
    everything = [(s.name, s.kind) for s in found.sites] + [(f.name, f.kind) for f in found.floats]
    everything += [(name, type(m).__name__) for name, m in found.relus.items()]
    chosen: dict[str, tuple[int, Bits]] = {}
    for site in found.sites:
        strength, bits = 0, Bits.read(recipe.bits)
        if site.embedding and recipe.embeddings is not None:
            strength, bits = 1, Bits.read(recipe.embeddings)
        end = ends.get(site.name)
        if end is not None:
            strength, bits = 2, Bits.read(end)
        for rule in recipe.rules:
            if rule.applies(site.name, site.kind):
                strength, bits = 3, Bits.read(rule.bits)
        chosen[site.name] = (strength, bits)
    for rule in recipe.rules:
        if not any(rule.applies(name, kind) for name, kind in everything):
            names = ", ".join(s.name or "(model)" for s in found.sites)
            kind = f" of type {rule.kind}" if rule.kind else ""
            raise ValueError(f"rule {rule.match!r}{kind} names no module; this model has: {names}")
    return _tied(found.sites, chosen)


def _tied(sites: Sequence[Site], chosen: dict[str, tuple[int, Bits]]) -> dict[str, Bits]:
    groups: dict[int, list[Site]] = {}
    for site in sites:
        for name in site.weights:
            groups.setdefault(id(getattr_raw(site.module, name)), []).append(site)
    result = {name: bits for name, (_, bits) in chosen.items()}
    for group in groups.values():
        if len({s.name for s in group}) < 2:
            continue
        top = max(chosen[s.name][0] for s in group)
        strongest = [s for s in group if chosen[s.name][0] == top]
        weights = [chosen[s.name][1].weight for s in strongest]
        if any(w != weights[0] for w in weights[1:]):
            names = " and ".join(s.name for s in strongest)
            raise ValueError(f"{names} share one weight but get different bits; give them the same in one rule")
        for site in group:
            result[site.name] = Bits(weights[0], chosen[site.name][1].activation)
    return result


def _packed(quantizer: Quantizer, tensor) -> int:
    values = quantizer.fit(tensor.detach()) if tensor.numel() < 4096 else None
    extra = sum(v.numel() for v in values.values()) if values else _scales(quantizer, tensor)
    return -(-tensor.numel() * quantizer.bits // 8) + 4 * extra


def _scales(quantizer: Quantizer, tensor) -> int:
    if quantizer.scale.group:
        return tensor.numel() // quantizer.scale.group
    return tensor.shape[quantizer.scale.axis] if quantizer.scale.axis is not None else 1


def _ranges(module: nn.Module) -> str:
    """The calibrated range of a layer's input, where it has one."""
    q = getattr(module, "input_quantizer", None)
    if not isinstance(q, FakeQuantize):
        return ""
    if not q._ready:
        return "not calibrated"
    if q.quantizer.live:
        return "live"
    values = q.values(q.ready)
    low, high = (float(q.quantizer.levels[i] * q.scale.flatten()[0] + values.get("offset", 0.0)) for i in (0, -1))
    return f"[{low:.3g}, {high:.3g}]"


def _float_row(row: Row) -> FloatRow:
    return FloatRow(row.name, row.kind, row.bytes_before // 4, "float by the recipe", row.macs)


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
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(cells).rstrip()

    return [line(head), "  ".join("-" * w for w in widths), *(line(row) for row in body)]
