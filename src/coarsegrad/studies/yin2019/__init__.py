"""Yin, Lyu, Zhang, Osher, Qi & Xin 2019, arXiv:1903.05662: why searching along a coarse gradient works.

The population's formulas beside samples, the landscape and where Algorithm 1 ends in it, and Table 1.
"""

from collections.abc import Mapping
from typing import Any

from coarsegrad.studies.study import Study, Task
from coarsegrad.studies.yin2019 import descents, fields, training, yours
from coarsegrad.studies.yin2019.claims import DESCENT, POPULATION
from coarsegrad.studies.yin2019.story import story

_DISTANCES = (1e-2, 1e-4, 1e-6)
_PRESETS = {
    "smoke": {
        "points": 5, "blocks": 32, "samples": 400, "aligned": 100, "bins": 4, "teachers": 3,
        "trials": 24, "grid": 40, "sizes": (100, 400, 1600),
        "batches": 1, "runs": 250, "steps": 1200, "step_size": 0.05, "window": 0.3, "near_runs": 50,
        "near_steps": 1200, "twins": (100, 800), "twin_runs": 20, "fineness": 40, "columns": 4,
        "path_steps": 200, "own_runs": 24, "own_near": 4, "own_steps": 400,
    },
    "quick": {
        "points": 50, "blocks": 64, "samples": 1000, "aligned": 2000, "bins": 12, "teachers": 12,
        "trials": 40, "grid": 100, "sizes": (10, 100, 1000, 10000),
        "batches": 10, "runs": 1000, "steps": 5000, "step_size": 0.02, "window": 0.25, "near_runs": 50,
        "near_steps": 6000, "twins": (100, 400, 1600, 6400), "twin_runs": 30, "fineness": 160, "columns": 11,
        "path_steps": 1600, "own_runs": 100, "own_near": 10, "own_steps": 2500,
    },
    "paper": {
        "points": 200, "blocks": 100, "samples": 10000, "aligned": 20000, "bins": 24, "teachers": 40,
        "trials": 100, "grid": 200, "sizes": (10, 100, 1000, 10000, 100000),
        "batches": 100, "runs": 1000, "steps": 20000, "step_size": 0.005, "window": 0.1, "near_runs": 200,
        "near_steps": 20000, "twins": (100, 400, 1600, 6400, 25600), "twin_runs": 60, "fineness": 320,
        "columns": 17, "path_steps": 3200, "own_runs": 500, "own_near": 50, "own_steps": 20000,
    },
}  # fmt: skip
# The theorem asks for |w| >= c_w, here ``window``, and for steps that are small enough. A step as long as
# 2 c_w can carry w from one side of 0 to the other with both ends in the window; the longest first steps of
# these starts are about 20 ``step_size``. So the window grows with the step size: a trial with 0.02 and
# c_w = 0.1 had two such steps of 9e7.
_ENDS = (*fields.PAPERS, "hardtanh")
_SLICES = {"exists": (1.0, -0.6, 0.8), "fails": (1.0, 0.8, 0.6)}
"""Teachers of the pictures: on either side of the condition of existence."""
_LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
_STARTS = ((2.75, 1.0), (1.9, -1.3), (0.9, -1.0), (2.6, -0.2), (3.08, -0.9))
"""(theta, kappa) of the descents in the pictures."""


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """What a preset measures. ``short`` is ``quick`` and networks; those need ``data_folder`` to be said.

    ``own`` names a surrogate that is measured beside the catalogue's, without a claim.
    """
    p = _PRESETS["quick" if preset == "short" else preset]
    sampled = {"seed": 20190506, "blocks": p["blocks"], "samples": p["samples"]}
    found = [
        Task("agreement", fields.agreement, {**sampled, "number": k}, says=f"point {k + 1}")
        for k in range(p["points"])
    ]
    found += [
        Task(
            "critical",
            fields.at_critical_points,
            {**sampled, "number": k, "distances": _DISTANCES},
            says=f"teacher {k + 1}",
        )
        for k in range(p["teachers"])
    ]
    many = {"seed": 11, "points": p["aligned"], "bins": p["bins"]}
    found += [Task("alignment", fields.alignment, {**many, "surrogate": s}, says=s) for s in fields.SLOPED]
    line = {"m": 4, "n": 8, "reach": 2.0, "grid": p["grid"], "trials": p["trials"]}
    found += [
        Task("line", fields.along_a_line, {**line, "seed": 12 + k, "surrogate": s, "samples": n},
             says=f"{s}, N = {n}")
        for k, s in enumerate(fields.PAPERS) for n in p["sizes"]
    ]  # fmt: skip
    picture = {"surrogates": fields.PAPERS, "levels": _LEVELS, "fineness": p["fineness"], "norm": 1.0}
    picture |= {"columns": p["columns"], "rows": max(4, p["columns"] - 4), "starts": _STARTS}
    picture |= {"steps": p["path_steps"], "strides": p["fineness"], "step_size": 0.05}
    found += [
        Task("slice", descents.slice_of_the_landscape, {**picture, "side": side, "v_star": v_star}, says=side)
        for side, v_star in _SLICES.items()
    ]
    walk = {"m": 6, "n": 5, "runs": p["runs"], "steps": p["steps"], "step_size": p["step_size"]}
    found += [
        Task("ends", descents.ends, {**walk, "window": p["window"], "surrogate": s, "seed": 1000 + batch},
             says=f"{s}, starts {batch * p['runs'] + 1} to {(batch + 1) * p['runs']}")
        for s in _ENDS for batch in range(p["batches"])
    ]  # fmt: skip
    near = {"seed": 13, "teachers": 4, "runs": p["near_runs"], "off": 0.01, "climb": 0.01}
    near |= {"steps": p["near_steps"], "step_size": p["step_size"], "window": p["window"]}
    found += [
        Task("near", descents.near_the_spurious_minimizer, {**near, "surrogate": s}, says=s)
        for s in fields.PAPERS
    ]
    twin = {"runs": p["twin_runs"], "steps": 60, "step_size": 0.1, "stretch": 10.0}
    found += [
        Task("twin", descents.twin, {**twin, "seed": seed, "surrogate": s, "samples": n},
             version=2, says=f"{s}, seed {seed}, N = {n}")
        for k, s in enumerate(fields.PAPERS) for seed in (21 + 2 * k, 22 + 2 * k) for n in p["twins"]
    ]  # fmt: skip
    found += yours.tasks(options.get("own"), p)
    return found + training.tasks(preset, options.get("data_folder"))


STUDY = Study(
    name="yin2019",
    title="Yin et al. 2019: why searching along the coarse gradient works",
    paper="Yin, Lyu, Zhang, Osher, Qi & Xin, ICLR 2019, arXiv:1903.05662",
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "about two minutes of one core: all but the networks",
        "short": "hours: quick, and Table 1's networks (--data-folder) on short schedules",
        "paper": "days without a GPU: more of everything, and the networks as long as the paper's",
    },
    tasks=tasks,
    claims=(*POPULATION, *DESCENT, *training.CLAIMS),
    story=story,
    takes=("data_folder", "own"),
)
