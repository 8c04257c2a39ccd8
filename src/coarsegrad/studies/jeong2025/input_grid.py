"""What is tried of inputs: laws, ways to normalize, one factor at a time; and the cells that result."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from coarsegrad.studies.jeong2025.inputs import WAYS, compare
from coarsegrad.studies.study import Task
from coarsegrad.studies.verdict import Row

MEAN = {
    "N(0.5, 1)": "gaussian(mean=0.5)", "N(1, 1)": "gaussian(mean=1.0)", "U[0, 1]": "uniform(low=0.0)",
    "half-normal": "half_normal", "Exp(1)": "exponential", "lognormal": "lognormal",
    "Bernoulli(1/2)": "bernoulli", "Poisson(1)": "poisson",
}  # fmt: skip
"""Laws whose mean is not 0."""
CENTRED = {
    "N(0, 1)": "gaussian", "U[-1, 1]": "uniform", "Rademacher": "rademacher", "Laplace": "laplace",
    "Exp(1) - 1": "standardized(law=exponential)", "bimodal": "bimodal", "t, df 3": "student_t",
    "t, df 1.5": "student_t(df=1.5)", "AR(1), 0.9": "correlated(rho=0.9)",
    "equicorrelated, 0.9": "equicorrelated(rho=0.9)", "scales x 10": "spread",
}  # fmt: skip
"""Laws of mean 0 that differ in everything else."""
HARD = {
    "common shift": "bimodal(common=True)", "scales x 100": "spread(ratio=100.0)",
    "Cauchy": "student_t(df=1.0)",
}  # fmt: skip
"""Laws of mean 0 (Cauchy's has none, and a center) at the edge of what is borne."""
INPUTS = MEAN | CENTRED | HARD
NAMES = ("identity", "relu", "clipped_relu", "leaky_relu", "hardtanh", "sigmoid")
FACTORS: dict[str, tuple[str, tuple[str, ...], dict[float, str]]] = {
    "mean": ("mean, in standard deviations", ("centring",), {
        x: f"gaussian(mean={x})" for x in (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)}),
    "scale": ("standard deviation, mean 0", ("z-score",), {
        x: f"gaussian(scale={x})" for x in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)}),
    "skew": ("skewness, mean 0", ("z-score",), {
        round((math.exp(s * s) + 2) * math.sqrt(math.expm1(s * s)), 3):
        f"standardized(law=lognormal(sigma={s}))"
        for s in (0.1, 0.25, 0.5, 1.0, 1.5, 2.0)}),
    "tails": ("weight of the tail, 1/df of Student's t", ("layer norm",), {
        round(1 / df, 3): f"student_t(df={df})" for df in (10.0, 5.0, 3.0, 2.0, 1.5, 1.0, 0.7)}),
    "neighbours": ("correlation of neighbours, AR(1)", ("whitening", "layer norm", "batch norm"), {
        x: f"correlated(rho={x})" for x in (0.0, 0.5, 0.8, 0.9, 0.95, 0.97, 0.99)}),
    "common": ("correlation of any two features", ("whitening",), {
        x: f"equicorrelated(rho={x})" for x in (0.0, 0.5, 0.8, 0.9, 0.97, 0.99, 0.999)}),
    "shift": ("shift of whole rows, up or down", ("layer norm", "whitening", "batch norm", "z-score"), {
        x: f"bimodal(common=True,shift={x})" for x in (0.0, 1.0, 2.0, 3.0, 4.0, 8.0)}),
    "spread": ("largest feature's scale by the smallest's", ("z-score", "layer norm", "batch norm"), {
        x: f"spread(ratio={x})" for x in (1.0, 10.0, 30.0, 100.0, 300.0, 1000.0)}),
}  # fmt: skip
"""What is changed, one thing at a time: on the axis of a figure, what may mend it, value -> law."""
SHAPES: tuple[Mapping[str, Any], ...] = (
    {"v": "ones"}, {"v": "positive"}, {"v": "zero-sum"}, {"m": 1}, {"v": "ones", "m": 16},
    {"teacher": "random"},
)  # fmt: skip
SHAPED = ("N(1, 1)", "Exp(1)", "U[0, 1]")
_BASE = {
    "n": 20, "m": 4, "samples": 2000, "steps": 1000, "step_sizes": (0.1, 1.0), "v": "unit",
    "teacher": "balanced",
}  # fmt: skip
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "runs": 4, "seed": 3, "steps": 200, "samples": 400, "inputs": ("N(0, 1)", "U[0, 1]"),
        "factors": ("mean",), "names": ("identity", "relu"), "every": 5, "shaped": ("U[0, 1]",),
    },
    "quick": {
        "runs": 10, "seed": 5, "inputs": tuple(INPUTS), "factors": tuple(FACTORS), "names": NAMES,
        "every": 2, "shaped": SHAPED,
    },
    "paper": {
        "runs": 40, "seed": 2025, "inputs": tuple(INPUTS), "factors": tuple(FACTORS), "names": NAMES,
        "every": 1, "shaped": SHAPED,
    },
}  # fmt: skip


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """A task for each law and surrogate: every way to normalize; a task for each value of a factor."""
    p = _PRESETS[preset]
    base = {**_BASE, **{key: p[key] for key in ("runs", "seed", "steps", "samples") if key in p}}
    found = [
        Task("cell", compare,
             {**base, "ways": WAYS, "inputs": label, "law": INPUTS[label], "surrogate": name},
             says=f"{label}, {name}")
        for label in p["inputs"] for name in p["names"]
    ]  # fmt: skip
    for factor in p["factors"]:
        _, mends, laws = FACTORS[factor]
        values = [value for k, value in enumerate(laws) if k % p["every"] == 0 or k == len(laws) - 1]
        found += [
            Task("factor", compare,
                 {**base, "ways": ("none", *mends), "factor": factor, "value": value, "law": laws[value],
                  "surrogate": name}, says=f"{factor} {value:g}, {name}")
            for value in values for name in p["names"]
        ]  # fmt: skip
    found += [
        Task("shape", compare,
             {**base, "ways": ("none", "centring"), "inputs": label, "law": INPUTS[label],
              "surrogate": name, **shape, "shape": k}, says=f"{label}, {name}, {named(shape)}")
        for k, shape in enumerate(SHAPES) for label in p["shaped"] for name in ("identity", "relu")
    ]  # fmt: skip
    return found


def named(shape: Mapping[str, Any]) -> str:
    """A change in words.

    >>> named({"v": "ones", "m": 16})
    'v ones, m 16'
    """
    return ", ".join(f"{key} {value}" for key, value in shape.items())


def best(rows: Iterable[Row]) -> list[Row]:
    """Of rows that differ in the step size alone, the one where most runs recovered; the first of equals."""
    found: dict[tuple, Row] = {}
    for row in rows:
        key = tuple(row.get(name) for name in ("law", "surrogate", "how", "v", "m", "teacher"))
        if key not in found or row["recovered"] > found[key]["recovered"]:
            found[key] = row
    return list(found.values())
