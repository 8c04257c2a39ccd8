"""What is measured: the limit beside simulations, the law of the weights, plateaus, and where it all ends."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.problem.online import Even, Online
from coarsegrad.sim.online import State, online
from coarsegrad.studies.ichikawa2025.plateau import Plateau, plateau
from coarsegrad.studies.verdict import Row
from coarsegrad.theory.online import crossing, error, settled, stationary
from coarsegrad.theory.online_law import Law, Limit, limit

TEACHERS = {"ones": (1.0,)} | {
    f"normal, {n} values": tuple(NormalDist().inv_cdf((k + 0.5) / n) for k in range(n)) for n in (16, 64)
}
"""All weights 1, or the quantiles of a standard normal law."""
_BINS = 100
_LEAST = 1e-9  # an error below this counts as this: a rise from 0 has no ratio


def problem(settings: Mapping[str, Any]) -> Online:
    """From plain settings: weights and, where ``inputs`` is true, inputs on the same levels."""
    grid = Even(settings["bits"], settings["reach"], settings["zero"])
    names = ("step_size", "noise", "start")
    return Online(
        grid, grid if settings["inputs"] else None, TEACHERS[settings["teacher"]],
        **{name: settings[name] for name in names},
    )  # fmt: skip


def against(settings: Mapping[str, Any], place: Path) -> Iterator[Row]:
    """Simulations at one d beside the limit: a row per time, and a row per run."""
    found, runs, errors, residuals = _beside(settings)
    off = errors - found.error[:, None]
    late = [t > settings["late"] for t in settings["times"]]
    for k, time in enumerate(settings["times"]):
        yield {
            "what": "time", "time": time, "error": float(errors[k].mean()),
            "deviation": _deviation(errors[k]), "limit": float(found.error[k]),
            "doubt": float(found.doubt[k]), "residual": _number(residuals[k].mean()),
        }  # fmt: skip
    for run in range(runs):
        yield {
            "what": "run", "run": run, "off": float(off[:, run].square().mean().sqrt()),
            "signed": float(off[:, run].mean()), "last": float(errors[-1, run]),
            "late": float(errors[late, run].mean()), "late_limit": float(found.error[late].mean()),
            "late_residual": _number(residuals[late, run].mean()),
        }  # fmt: skip


def law(settings: Mapping[str, Any], place: Path) -> Iterator[Row]:
    """Histograms of the latents beside the limit's density: bins, and the distance of each run's law."""
    found = _limit(settings)
    low, high = -2.0, 3.0
    width = (high - low) / _BINS
    for at, (state, mine) in enumerate(zip(_states(settings), found.laws, strict=True)):
        ends = mine.w + (mine.w[1] - mine.w[0]) / 2
        foretold = mine.mass.mean(0).cumsum(0)
        values = error(problem(settings), state.square, state.overlap)
        for run, w in enumerate(state.w.double().sort().values):
            share = torch.searchsorted(w, ends).double() / len(w)
            yield {
                "what": "run", "run": run, "time": state.time,
                "distance": float((share - foretold).abs().max()), "error": float(values[run]),
                "limit": float(found.error[at]),
            }  # fmt: skip
        counts = torch.histc(state.w.double(), _BINS, low, high) / state.w.numel()
        for k in range(_BINS):
            left = low + k * width
            yield {
                "what": "bin", "time": state.time, "left": left, "right": left + width,
                "seen": float(counts[k]) / width, "foretold": _within(mine, left, left + width) / width,
            }  # fmt: skip


def curve(settings: Mapping[str, Any], place: Path) -> Iterator[Row]:
    """The limit's error over time and its plateau, with as many runs of as many weights as are asked for."""
    this = problem(settings)
    wait = crossing(this)
    span = settings["span"] or settings["crossings"] * wait
    times = [k * span / settings["points"] for k in range(settings["points"] + 1)]
    with_times = {**settings, "times": times}
    found, runs, errors = _limit(with_times), 0, None
    if settings["runs"]:
        found, runs, errors, _ = _beside(with_times)
    yield {"what": "limit", "wait": wait if wait < math.inf else None, "doubt": float(found.doubt.max()),
           "least": float(found.error.min()), "last": float(found.error[-1]),
           **_plateaus(times, found.error)}  # fmt: skip
    for run in range(runs):
        assert errors is not None
        yield {"what": "run", "run": run, **_plateaus(times, errors[:, run])}
    for k, time in enumerate(times):
        seen = float(errors[k].mean()) if errors is not None else None
        yield {"what": "time", "time": time, "limit": float(found.error[k]), "error": seen}


def _plateaus(times: Sequence[float], errors: Tensor) -> Row:
    """The plateau that ends in a fall, and the one that ends in a rise."""

    def told(name: str, found: Plateau) -> Row:
        return {f"{name}_length": found.length, f"{name}_middle": found.middle if found.fall else None,
                f"{name}_level": found.level, f"{name}_sharpness": found.sharpness}  # fmt: skip

    errors = errors.clamp(min=_LEAST)
    falls, rises = (plateau(times, values.tolist()) for values in (errors, errors.reciprocal()))
    return told("fall", falls) | told("rise", rises)


def fixed(settings: Mapping[str, Any], place: Path) -> Iterator[Row]:
    """Where it ends: the closed form, the flow at the last time, and runs averaged over late times."""
    this = problem(settings)
    found, runs, errors, _ = _beside(settings)
    late = [t > settings["late"] for t in settings["times"]]
    about = {"closed": stationary(this).error, "flow": float(found.error[-1]), "unquantized": _settled(this)}
    float_runs = _float_errors(settings)
    for run in range(runs):
        seen = float(errors[late, run].mean())
        yield {"what": "run", "run": run, "seen": seen, "float_seen": float_runs[run], **about}


def formulas(settings: Mapping[str, Any], place: Path) -> Iterator[Row]:
    """Fixed points by formula alone, on a grid of bits, ranges and steps."""
    for step, reach, bits in product(settings["steps"], settings["reaches"], settings["many_bits"]):
        here = {"bits": bits, "reach": reach, "step_size": step}
        this = problem({**settings, **here})
        assert this.weights is not None
        yield {"what": "cell", **here, "spacing": this.weights.spacing,
               "closed": stationary(this).error, "unquantized": _settled(this)}  # fmt: skip


def _settled(this: Online) -> float | None:
    value = settled(this)
    return value if value < math.inf else None


def _float_errors(settings: Mapping[str, Any]) -> list[float | None]:
    """The same runs with float weights, averaged over late times; None where they left the floats' range."""
    this = problem(settings)
    free = Online(None, this.inputs, this.teacher, this.step_size, this.noise, this.start)
    errors = torch.stack(
        [error(free, s.square, s.overlap) for s in _states(settings, free) if s.time > settings["late"]]
    )
    return [_number(value) for value in errors.mean(0)]


def _beside(settings: Mapping[str, Any]) -> tuple[Limit, int, Tensor, Tensor]:
    """The limit, the number of runs, and their errors and residuals, ``[times, runs]``."""
    seen = [(error(problem(settings), s.square, s.overlap), s.residual) for s in _states(settings)]
    errors, residuals = (torch.stack(part) for part in zip(*seen, strict=True))
    return _limit(settings), settings["runs"], errors, residuals


def _limit(settings: Mapping[str, Any]) -> Limit:
    return limit(
        problem(settings), settings["times"], _slope(settings),
        spacing=settings["spacing"], tolerance=settings["tolerance"],
    )  # fmt: skip


def _states(settings: Mapping[str, Any], this: Online | None = None) -> Iterator[State]:
    return online(
        this or problem(settings), settings["d"], settings["times"], runs=settings["runs"],
        seed=settings["seed"], surrogate=None if this else _slope(settings),
    )  # fmt: skip


def _slope(settings: Mapping[str, Any]):
    name = settings["surrogate"]
    return None if name == "identity" else spec.read(name, SURROGATES)


def _within(mine: Law, left: float, right: float) -> float:
    """The mass between two points; a node's is spread evenly over its interval."""
    h = mine.w[1] - mine.w[0]
    share = ((right - (mine.w - h / 2)) / h).clamp(0, 1) - ((left - (mine.w - h / 2)) / h).clamp(0, 1)
    return float((mine.mass.mean(0) * share).sum())


def _deviation(values: Tensor) -> float | None:
    return float(values.std()) if len(values) > 1 else None


def _number(value: Tensor) -> float | None:
    return float(value) if math.isfinite(float(value)) else None
