"""Long, Yin & Xin 2021, arXiv:2011.11256: non-linear classification by coarse gradient descent.

Classes on subspaces, a staircase of few bits; the three estimators of the paper over angles and sizes, the
whole catalogue beside what theory says of it, what happens below the theory's assumptions, and binary
weights.
"""

from collections.abc import Mapping
from typing import Any

from coarsegrad.studies.long2021 import grid, training
from coarsegrad.studies.long2021.claims import CLAIMS, PAPER
from coarsegrad.studies.long2021.story import story
from coarsegrad.studies.study import Study, Task


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """What a preset measures. ``short`` is ``quick`` and networks; those need ``data_folder`` to be said.

    ``own`` names a surrogate that is measured beside the catalogue's, without a claim.
    """
    return grid.tasks(preset, options) + training.tasks(preset, options.get("data_folder"))


STUDY = Study(
    name="long2021",
    title="Long et al. 2021: non-linear classification by coarse gradient",
    paper=PAPER,
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "a few minutes on two cores: 100 starts a cell, fewer points on each subspace",
        "short": "an hour and a half of one core: quick, and LeNet-5 with float and binary weights "
        "(--data-folder), 4 epochs each",
        "paper": "a quarter of an hour on two cores with the paper's 880 points a class; then, "
        "--data-folder, LeNet-5 as long as the paper's: half a day on two cores without a GPU",
    },
    tasks=tasks,
    claims=(*CLAIMS, *training.CLAIMS),
    story=story,
    takes=("data_folder", "own"),
)
