"""What is varied, one thing at a time around one problem, and the tasks that result."""

from collections.abc import Iterator, Mapping
from typing import Any

from coarsegrad import own, spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies.long2021.runs import MISSING, cell
from coarsegrad.studies.study import Task

PAPERS = ("relu", "reverse_exponential", "log_tailed_relu")
AXES: dict[str, tuple[str, str]] = {
    "angle": ("angle between the subspaces, degrees", "angle"),
    "ceil": ("bits of the activation, ceil", "bits"),
    "floor": ("bits of the activation, floor", "bits"),
    "neurons": ("hidden neurons k, 2 classes", "neurons"),
    "size": ("dimension of each subspace", "size"),
    "classes": ("classes, 12 neurons each", "classes"),
}
"""Where zero loss is looked for: on the axis of a figure, the field that is varied. See ``covered``."""
BELOW: dict[str, tuple[Mapping[str, Any], ...]] = {
    "small angle": ({"angle": 10.0}, {"angle": 5.0}, {"angle": 2.0}),
    "dependent": (
        {"angle": 0.0}, {"angle": 0.0, "shared": 2},
        {"classes": 3, "angle": 120.0, "neurons": 36},
        {"classes": 3, "angle": 120.0, "size": 1, "neurons": 36},
        {"classes": 4, "angle": 109.47122063449069, "size": 1, "neurons": 48},
    ),
    "label noise": ({"noise": 0.05}, {"noise": 0.01}, {"noise": 0.1}, {"noise": 0.2}, {"noise": 0.4}),
    "few neurons": ({"neurons": 2}, {"neurons": 4}, {"neurons": 6}, {"neurons": 8}),
    "missing component": tuple(
        {"missing": whom, "angle": angle} for angle in (90.0, 60.0) for whom in MISSING
    ),
}  # fmt: skip
"""Where they do not."""
LONG = {"small angle": "steps", "dependent": "steps", "few neurons": "steps", "missing component": "steps"}
"""Of these the runs are given as many steps as those of ``AXES``."""
BINARY: tuple[Mapping[str, Any], ...] = (
    {}, {"rounding": "floor"},
    *({"dimension": d, "rounding": r} for d in (16, 64, 256) for r in ("ceil", "floor")),
)  # fmt: skip
_ORTHOGONAL = {
    "bits": (1, 2, 3, 4),
    "neurons": (12, 24, 48, 96),
    "size": (1, 2, 3, 4, 6),
    "classes": (2, 3, 4, 6),
}
_BASE = {"step_size": 1.0, "v": 0.5}
_THIN = {"directions": 40, "radii": (1.0, 1.5, 2.0)}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "seed": 3, "runs": 4, "data": {"directions": 12, "radii": (1.0, 2.0)}, "steps": 3000, "few": 250,
        "angles": (90.0, 45.0), "values": {"bits": (1, 2), "neurons": (12,), "size": (1, 2), "classes": (3,)},
        "below": 1, "binary": 3,
    },
    "quick": {
        "seed": 21, "runs": 100, "data": _THIN, "steps": 4000, "few": 600,
        "angles": (90.0, 75.0, 60.0, 45.0, 30.0, 20.0), "values": _ORTHOGONAL, "below": None, "binary": 6,
    },
    "paper": {
        "seed": 2121, "runs": 100, "data": {}, "steps": 10_000, "few": 2000,
        "angles": (90.0, 75.0, 60.0, 45.0, 30.0, 20.0, 15.0), "values": _ORTHOGONAL, "below": None,
        "binary": None,
    },
}  # fmt: skip
"""``steps`` for runs that should end at zero loss, ``few`` for those that may not."""


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """A task per cell and surrogate. ``own`` names one more, beside the catalogue and without a claim."""
    p = PRESETS["quick" if preset == "short" else preset]
    base = {**_BASE, **p["data"], "runs": p["runs"], "seed": p["seed"]}
    found = [
        _task(kind, {**base, **change, "steps": p["few" if kind == "ceil" and value == 1 else "steps"]}, name)
        for kind, value, change in _varied(p)
        for name in PAPERS
    ]
    found += [_task("angle", base | {"angle": angle, "steps": p["few"]}, "identity") for angle in p["angles"]]
    names = {name: "catalogue" for name in SURROGATES if name not in own.SOURCES}
    if options.get("own") is not None:
        names[spec.write(own.surrogate(options["own"]))] = "own"
    thin = {**base, **({} if preset == "smoke" else _THIN), "steps": p["few"]}
    found += [
        _task(kind, {**thin, "angle": angle}, name) for angle in (90.0, 45.0) for name, kind in names.items()
    ]
    found += [
        _task("below", {**base, "what": kind, "steps": p[LONG.get(kind, "few")], **change}, name)
        for kind, changes in BELOW.items()
        for change in changes[: p["below"]]
        for name in PAPERS
    ]
    found += [
        _task("binary", {**base, "weights": "binary", "steps": p["few"], **change}, name)
        for change in BINARY[: p["binary"]] for name in (*PAPERS, "identity")
    ]  # fmt: skip
    return found


def _varied(p: Mapping[str, Any]) -> Iterator[tuple[str, float, Mapping[str, Any]]]:
    """(kind, value, what is changed) of the cells along ``AXES``."""
    for angle in p["angles"]:
        yield "angle", angle, {"angle": angle}
    for kind, (_, name) in list(AXES.items())[1:]:
        for value in p["values"][name]:
            more = {"rounding": kind} if name == "bits" else {}
            more |= {"neurons": 12 * value} if kind == "classes" else {}
            yield kind, value, {name: value, **more}


def _task(kind: str, settings: Mapping[str, Any], name: str) -> Task:
    named = {**settings, "surrogate": name}
    content = own.content(name) if name not in SURROGATES else None
    says = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in changed(settings).items())
    return Task(
        kind,
        cell,
        named | ({"content": content} if content else {}),
        version=2,
        says=f"{name}, {says or 'base'}",
    )


def covered(row: Mapping[str, Any]) -> bool:
    """Whether the theorem speaks of a cell of ``AXES``, its data and staircase: orthogonal, *ceil*."""
    return row["angle"] == 90 and row["rounding"] == "ceil" and not row["impossible"]


def changed(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a cell is not as in the base problem."""
    usual = {
        "angle": 90.0, "shared": 1, "neurons": 24, "bits": 2, "rounding": "ceil", "size": 2, "classes": 2,
        "weights": "float", "dimension": None, "noise": 0.0, "missing": None,
    }  # fmt: skip
    return {key: row[key] for key, value in usual.items() if row.get(key, value) != value}
