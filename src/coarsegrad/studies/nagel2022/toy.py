"""The toy: one weight, least squares. The rotation against its simulation, and what is said to stop it."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from coarsegrad.sim.oscillation import Weight, ewgs, psg
from coarsegrad.studies.verdict import Row
from coarsegrad.theory import oscillation

Settings = Mapping[str, Any]
METHODS: dict[str, dict[str, float]] = {
    "plain": {}, "momentum 0.5": {"momentum": 0.5}, "momentum 0.9": {"momentum": 0.9},
    "EWGS 0.2": {"ewgs": 0.2}, "EWGS 1": {"ewgs": 1.0}, "PSG": {"psg": 2.0},
}  # fmt: skip
"""Settings by name: momentum, or what multiplies the gradient; PSG's factor is 1 at the threshold."""
_FACTORS = {"ewgs": ewgs, "psg": psg}
_QUARTER = Fraction(1, 4)


def exact(settings: Settings, place: Path) -> Iterator[Row]:
    """Weights on the ring, in fractions: every code of every step beside the formula's; one row.

    ``bits`` levels from -1 to below 1; ``targets``: as many between each two; ``phases``: starts on the ring.
    """
    bits, steps = settings["bits"], settings["steps"]
    step, spacing = Fraction(settings["step"]), Fraction(2, 2**bits)
    lower = range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    shares = [Fraction(k, settings["targets"]) for k in range(settings["targets"])]
    phases = [Fraction(k, settings["phases"]) for k in range(settings["phases"])]
    cells = list(product(lower, shares, phases))
    target = _array((low + share) * spacing for low, share, _ in cells)
    curvature = Fraction(settings["curvature"])
    swing = step * curvature * spacing
    start = [
        (low + Fraction(1, 2)) * spacing + swing * (at - 1 + share) for low, share, at in cells
    ]  # fmt: skip
    weight = Weight(target, spacing, step, curvature, lowest=lower.start, highest=lower.stop)
    found = np.array([codes for _, codes in weight.walk(_array(start), steps)])
    said = np.array([_codes(low, oscillation.share_above(t, spacing), at, steps)
                     for (low, _, at), t in zip(cells, target, strict=True)]).T  # fmt: skip
    changes = (found[1:] != found[:-1]).sum(axis=0)
    often = [(steps - 1) * oscillation.level_changes(share) for _, share, _ in cells]
    mean = found.sum(axis=0) * spacing / Fraction(steps)
    yield {
        "codes": found.size,
        "wrong": int((found != said).sum()),
        "off_changes": float(max(abs(changes - _array(often)))),
        "off_mean": float(max(abs(mean - target)) * steps / spacing),
    }


def _codes(lower: int, share: Fraction, at: Fraction, steps: int) -> list[int]:
    seen = [oscillation.visits(share, at, k) for k in range(steps + 1)]
    return [lower + after - before for before, after in pairwise(seen)]


def twins(settings: Settings, place: Path) -> Iterator[Row]:
    """Latents of the quantized loss that differ from those of a float loss with half its curvature; a row."""
    target = _array(Fraction(k, settings["targets"]) for k in range(settings["targets"]))
    about = {"target": target, "spacing": _QUARTER, "step": Fraction(settings["step"])}
    one = Weight(**about)
    other = Weight(**about, strength=Fraction(1, 2), quantized=False)
    start = target * 0 + Fraction(1, 3)
    walks = zip(one.walk(start, settings["steps"]), other.walk(start, settings["steps"]), strict=True)
    yield {
        "latents": settings["steps"] * settings["targets"],
        "apart": sum(int((a != b).sum()) for (a, _), (b, _) in walks),
    }


def methods(settings: Settings, place: Path) -> Iterator[Row]:
    """By one method, from ``start`` between two levels or beyond: a row per target, the later steps.

    ``momentum``, ``ewgs`` or ``psg``: its number, as in ``METHODS``.
    """
    factor = next((make(settings[name]) for name, make in _FACTORS.items() if name in settings), None)
    shares = _between(settings["targets"])
    weight = Weight(shares, 1.0, settings["step"], momentum=settings.get("momentum", 0), factor=factor)
    for share, seen in zip(
        shares, _late(weight, shares * 0 + settings["start"], settings["steps"]).T, strict=True
    ):
        yield {"share": float(share), **_counted(seen)}


def pushed(settings: Settings, place: Path) -> Iterator[Row]:
    """With a term that dampens or induces: a row per target, loss and strength, started on either side."""
    shares = _between(settings["targets"])
    for strength, side, loss in product(settings["strengths"], (0, 1), ("quantized", "float")):
        quantized = loss == "quantized"
        if not quantized and not 0 <= strength <= 0.5:
            continue
        weight = Weight(shares, 1.0, settings["step"], strength=strength, quantized=quantized)
        late = _late(weight, shares * 0 + 0.2 + 0.6 * side, settings["steps"])
        for share, seen in zip(shares, late.T, strict=True):
            pushes = oscillation.pushes(float(share), strength=strength, quantized=quantized)
            yield {
                "share": float(share), "strength": strength, "quantized": quantized, "side": side,
                "duty": oscillation.duty(*pushes), **_counted(seen),
            }  # fmt: skip


def trace(settings: Settings, place: Path) -> Iterator[Row]:
    """A latent, step by step, with the settings' step; a row per iterate."""
    weight = Weight(np.array([settings["share"]]), 1.0, settings["step"])
    for k, (latent, codes) in enumerate(weight.walk(np.array([settings["start"]]), settings["steps"])):
        yield {"at": k, "latent": float(latent[0]), "level": float(codes[0])}


def _late(weight: Weight, start: Any, steps: int) -> Any:
    """The codes of the second half of the steps, [steps / 2, n]."""
    return np.array([codes for k, (_, codes) in enumerate(weight.walk(start, steps)) if k >= steps // 2])


def _counted(codes: Any) -> Row:
    return {
        "mean": float(codes.mean()),
        "changes": float((codes[1:] != codes[:-1]).mean()),
        "last": float(codes[-1]),
        "levels": int(codes.max() - codes.min()) + 1,
    }


def _between(targets: int) -> Any:
    """Places between two levels, none of them a tie."""
    return (np.arange(targets) + 0.5) / targets + 1e-4


def _array(values: Any) -> Any:
    found = list(values)
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array
