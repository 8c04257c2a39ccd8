"""Ichikawa, Kashiwamura & Sakata 2025, arXiv:2510.10693: training with the STE as a flow, in high dimension.

The flow beside simulations at growing d, the law of the weights, plateaus, and where training ends.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from coarsegrad.studies.ichikawa2025 import runs
from coarsegrad.studies.ichikawa2025.claims import CLAIMS, CLIPPED, PAPER
from coarsegrad.studies.ichikawa2025.story import story
from coarsegrad.studies.study import Study, Task

_SEED = 2018
# Explored with bases 0 and 1 in place of this, and bare seeds 0 to 3 and 300 to 3001: d up to 1000 (3000 for
# the law). Ranges and margins are from there.
_BASE: dict[str, Any] = {
    "bits": 2, "reach": 2.0, "zero": False, "inputs": False, "teacher": "ones", "step_size": 0.5,
    "noise": 0.0, "start": 1.0, "surrogate": "identity", "spacing": 0.02, "tolerance": 1e-4,
}  # fmt: skip
_EARLY = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
_TIMES = (*_EARLY, *(float(t) for t in range(11, 21)))
_SLOPE_TIMES = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 95.0, 100.0)
_LAW_TIMES = (10.0, 25.0, 50.0, 100.0)
_READINGS = ((False, False), (True, False), (False, True), (True, True))
"""Whether 0 is a level, and whether the inputs are quantized."""
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "sizes": {32: 1, 64: 1}, "times": _EARLY[:5], "law": (64, 1), "law_times": (1.0, 2.0),
        "readings": _READINGS[:1], "ranges": (1.0,), "wide": (), "simulated": (32, 1), "points": 40,
        "fixed": (32, 1), "fixed_steps": (0.5,), "slope": (32, 1), "slope_times": (0.0, 1.0, 2.0),
        "slope_reaches": (1.2,), "coarser": 10, "many_bits": (2,), "octave": 1,
    },
    "quick": {
        "sizes": {100: 200, 300: 100, 1000: 40}, "times": _TIMES, "law": (1000, 6), "law_times": _LAW_TIMES,
        "readings": _READINGS[:2], "ranges": (0.8, 1.0, 1.2, 2.0), "wide": (1.0,), "simulated": (300, 6),
        "points": 200, "fixed": (640, 8), "fixed_steps": (0.5, 1.9, 2.5), "slope": (400, 16),
        "slope_times": _SLOPE_TIMES, "slope_reaches": (1.2,), "coarser": 2, "many_bits": (2, 3, 4, 5, 6, 7),
        "octave": 4,
    },
    "paper": {
        "sizes": {100: 400, 300: 200, 1000: 100, 3000: 40}, "times": _TIMES, "law": (3000, 8),
        "law_times": _LAW_TIMES, "readings": _READINGS, "ranges": (0.6, 0.8, 1.0, 1.2, 2.0, 2.4),
        "wide": (0.15, 0.5, 1.0), "simulated": (1000, 8), "points": 200, "fixed": (1600, 12),
        "fixed_steps": (0.25, 0.5, 1.0, 1.5, 1.9, 2.5), "slope": (1000, 16), "slope_times": _SLOPE_TIMES,
        "slope_reaches": (1.2, 2.0), "coarser": 1, "many_bits": (2, 3, 4, 5, 6, 7, 8), "octave": 4,
    },
}  # fmt: skip


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """What a preset measures; simulations have a seed of their own each."""
    p = _PRESETS[preset]
    return [*_sizes(p), *_laws(p), *_curves(p), *_ends(p), *_slopes(p)]


def _task(kind: str, measure, says: str, p: Mapping[str, Any], **settings: Any) -> Task:
    whole = {**_BASE, **settings}
    for name in ("spacing", "tolerance"):
        whole[name] *= p["coarser"]
    return Task(kind, measure, whole, says=says)


def _sizes(p: Mapping[str, Any]) -> Iterator[Task]:
    for inputs, d in product((False, True), p["sizes"]):
        says = f"d = {d}, {'quantized' if inputs else 'float'} inputs"
        about = {"times": p["times"], "late": p["times"][-1] / 2, "seed": (_SEED + inputs) * 10_000 + d}
        yield _task("size", runs.against, says, p, inputs=inputs, d=d, runs=p["sizes"][d], **about)


def _laws(p: Mapping[str, Any]) -> Iterator[Task]:
    (d, count), step = p["law"], 0.1
    for zero in (False, True) if len(p["readings"]) > 2 else (False,):
        says = f"d = {d}, {'with' if zero else 'without'} a level at 0"
        yield _task("law", runs.law, says, p, zero=zero, inputs=True, step_size=step, d=d, runs=count,
                    times=p["law_times"], seed=(_SEED + 2 + zero) * 10_000, spacing=0.01)  # fmt: skip


def _curves(p: Mapping[str, Any]) -> Iterator[Task]:
    about = {"step_size": 0.02, "spacing": 0.003, "tolerance": 3e-4, "points": p["points"], "span": 0.0,
             "crossings": 2.2, "d": 0, "runs": 0, "seed": 0}  # fmt: skip
    narrow = {**about, "start": 0.05}
    for (zero, inputs), reach in product(p["readings"], p["ranges"]):
        if reach <= (2.4 if (zero, inputs) == (False, False) else 1.2):
            says = f"range {reach:g}, {'0 a level' if zero else 'no level 0'}" + ", inputs too" * inputs
            yield _task("curve", runs.curve, says, p, **narrow, reach=reach, zero=zero, inputs=inputs)
    for bits, reach in ((3, 1.0), (3, 1.4)) if len(p["ranges"]) > 4 else ():
        yield _task("curve", runs.curve, f"range {reach:g}, {bits} bits", p, **narrow, reach=reach, bits=bits)
    wide = {**about, "spacing": 0.01}
    for start in p["wide"]:
        yield _task("wide", runs.curve, f"range 1, start {start:g}", p, **{**wide, "start": start},
                    reach=1.0)  # fmt: skip
    caption = {**wide, "step_size": 0.1, "span": 300.0, "crossings": 0.0, "inputs": True}
    yield _task("wide", runs.curve, "range 2, inputs too, start 1", p, **caption)
    d, count = p["simulated"]
    for zero in (False, True):
        seen = {**narrow, "d": d, "runs": count, "seed": (_SEED + 4 + zero) * 10_000}
        yield _task("simulated", runs.curve, f"range 1, {'0 a level' if zero else 'no level 0'}, d = {d}", p,
                    **seen, reach=1.0, zero=zero)  # fmt: skip


def _ends(p: Mapping[str, Any]) -> Iterator[Task]:
    d, count = p["fixed"]
    late = tuple(float(t) for t in range(0, 41, 2))
    for step in p["fixed_steps"]:
        about = {"teacher": "normal, 16 values", "reach": 2.5, "bits": 3, "noise": 0.5, "step_size": step}
        yield _task("fixed", runs.fixed, f"step {step:g}, d = {d}", p, **about, d=d, runs=count, times=late,
                    late=late[-1] / 2, seed=(_SEED + 6) * 10_000 + round(100 * step),
                    spacing=0.05)  # fmt: skip
    about = {"teacher": "normal, 64 values", "step_size": 0.1}
    for zero in (False, True):
        yield _task("formula", runs.formulas, f"bits, {'0 a level' if zero else 'no level 0'}", p, **about,
                    zero=zero, many_bits=p["many_bits"], reaches=(3.0,), steps=(0.1,))  # fmt: skip
    k = p["octave"]
    reaches = tuple(0.25 * 2 ** (j / k) for j in range(5 * k + 1))
    for inputs in (False, True):
        yield _task("range", runs.formulas, f"ranges{', inputs too' * inputs}", p, **about, inputs=inputs,
                    many_bits=(1, 2, 3, 4), reaches=reaches, steps=(0.1,))  # fmt: skip
    yield _task(
        "steps",
        runs.formulas,
        "step sizes",
        p,
        teacher="normal, 16 values",
        noise=0.5,
        many_bits=(2, 3, 4),
        reaches=(2.5,),
        steps=tuple(round(0.1 * j, 1) for j in range(1, 31)),
    )


def _slopes(p: Mapping[str, Any]) -> Iterator[Task]:
    d, count = p["slope"]
    for reach, name in product(p["slope_reaches"], ("identity", *CLIPPED)):
        yield _task("slope", runs.against, f"{name}, range {reach:g}, d = {d}", p, surrogate=name,
                    reach=reach, step_size=0.2, d=d, runs=count, times=p["slope_times"],
                    late=0.7 * p["slope_times"][-1], spacing=0.01,
                    seed=(_SEED + 7) * 10_000 + round(10 * reach))  # fmt: skip


STUDY = Study(
    name="ichikawa2025-dynamics",
    title="Ichikawa et al. 2025: training with the straight-through estimator as a flow",
    paper=PAPER,
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "two minutes on one core: d up to 1000",
        "paper": "a quarter of an hour on one core: d up to 3000, all readings of the quantizer",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
)
