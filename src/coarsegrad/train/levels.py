"""Where a network's weights and activations stand against their quantizers' levels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from coarsegrad import nn as pair
from coarsegrad.measure import end_fractions, histogram
from coarsegrad.train.build import load_data
from coarsegrad.train.plan import TrainPlan
from coarsegrad.view import Figure, Figures, Histogram, Marks, Note, TableView, Text
from coarsegrad.view.page import Section

Row = dict[str, Any]

MOST_LEVELS = 16  # more are not drawn one by one
MOST_LAYERS = 8


def level_sections(models: Sequence[tuple[str, TrainPlan, torch.nn.Module]]) -> list[Section]:
    """For each layer of few bits: where its weights and its inputs stand, a figure per model."""
    drawn: dict[tuple[str, str], list[Figure]] = {}
    facts: list[Row] = []
    images = None
    for label, plan, model in models:
        if images is None:
            try:
                images = next(load_data(plan).test_batches(256).epoch(0))[0]
            except (OSError, ValueError, ImportError) as error:
                return [Note("don't know", f"No histograms: the data could not be read ({error}).")]
        for q, x in values_seen(model, images):
            place = (q.place.removesuffix("_quantizer"), q.role)
            u, levels = in_units(q, x), [float(v) for v in q.quantizer.levels]
            ends = end_fractions(u, levels[0], levels[-1])
            facts.append(
                {
                    "model": label,
                    "where": place[0],
                    "bits": q.quantizer.bits,
                    "levels": len(levels),
                    "at or below the lowest": ends.low,
                    "at or above the highest": ends.high,
                }
            )
            if len(levels) <= MOST_LEVELS:
                drawn.setdefault(place, []).append(_against_levels(label, place[0], u, levels))
    caption = "Share of values at or beyond the outer levels, in [0, 1]."
    sections: list[Section] = [Text("## Weights and activations against the levels"), Text(_HOW_LEVELS)]
    several = list(drawn.values())[: 2 * MOST_LAYERS]
    if len(models) == 1:
        several = [[figure for figures in several for figure in figures]]
    for figures in filter(None, several):
        sections.append(
            Figures(tuple(figures), columns=min(max(len(figures), 2), 4 if len(models) > 1 else 2))
        )
    return [*sections, TableView.of(facts, caption=caption)] if facts else []


_HOW_LEVELS = (
    "Values before quantization in units of the scale; the vertical lines are the levels. Weights: all of a "
    "layer. Activations: of 256 test images. In a comparison, the models of the first seed. Layers of more "
    f"than {MOST_LEVELS} levels are in the table only."
)


def _against_levels(label: str, place: str, u: torch.Tensor, levels: list[float]) -> Figure:
    sample = u.flatten()[:: max(1, u.numel() // 200_000)]
    ends = torch.quantile(sample, torch.tensor([0.001, 0.999], dtype=u.dtype))
    span = levels[-1] - levels[0]
    low = max(min(float(ends[0]), levels[0] - 0.1 * span), levels[0] - span)
    high = min(max(float(ends[1]), levels[-1] + 0.1 * span), levels[-1] + span)
    counts, edges = histogram(u, 60, low, high)
    outside = 1 - float(counts.sum()) / max(u.numel(), 1)
    share = Histogram(tuple((counts / max(u.numel(), 1)).tolist()), tuple(edges.tolist()), "share of values")
    return Figure(
        f"{place}: {label}",
        "value / scale",
        "share of values",
        (share, Marks(tuple(levels), "levels")),
        caption=f"{100 * outside:.1f} % lie outside the frame." if outside > 0.005 else "",
    )


@torch.no_grad()
def values_seen(model: torch.nn.Module, images: torch.Tensor) -> list[tuple[pair.FakeQuantize, torch.Tensor]]:
    """Every quantizer with what it quantizes: a weight, or the activations on these images."""
    found: dict[pair.FakeQuantize, torch.Tensor] = {q: p.detach() for p, q in pair.pairs(model)}
    handles = []
    for module in model.modules():
        q = getattr(module, "output_quantizer", None)
        if isinstance(q, pair.FakeQuantize) and isinstance(
            module, torch.nn.ReLU
        ):  # it may pass the quantizer by
            handles.append(module.register_forward_pre_hook(partial(_keep, found, q, torch.relu)))
        elif isinstance(module, pair.FakeQuantize) and module.role == "activation":
            handles.append(
                module.register_forward_pre_hook(partial(_keep, found, module, torch.Tensor.detach))
            )
    try:
        model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.items())


def _keep(found, quantizer, change, module, args):
    found.setdefault(quantizer, change(args[0]))


def in_units(q: pair.FakeQuantize, x: torch.Tensor) -> torch.Tensor:
    """What the quantizer rounds: x without its offset, over the scale."""
    values = q.values(x)
    view = q.quantizer.scale.view(q.quantizer.squash(x))
    offset = values.get("offset")
    return ((view if offset is None else view - offset) / q.quantizer.spacing(values)).detach()
