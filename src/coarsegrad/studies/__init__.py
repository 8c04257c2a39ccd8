"""Studies: one paper each. What is measured, what is claimed and within what margin, and the page about it.

Here alone prediction (``theory``) and observation (``sim``, ``train``) meet.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coarsegrad.studies.study import Study

STUDIES = {
    "yin2018-bcgd": "coarsegrad.studies.yin2018",
    "yin2019": "coarsegrad.studies.yin2019",
    "long2020-recurrence": "coarsegrad.studies.long2020",
    "long2021": "coarsegrad.studies.long2021",
    "nagel2022-oscillations": "coarsegrad.studies.nagel2022",
    "schoenbauer2024": "coarsegrad.studies.schoenbauer2024",
    "jeong2025-complexity": "coarsegrad.studies.jeong2025.complexity",
    "jeong2025-recurrence": "coarsegrad.studies.jeong2025.recurrence",
    "jeong2025-normalization": "coarsegrad.studies.jeong2025.normalization",
    "ichikawa2025-dynamics": "coarsegrad.studies.ichikawa2025",
    "optimizers": "coarsegrad.studies.optimizers",
    "leaderboard": "coarsegrad.studies.leaderboard",
}
"""Where each study's ``STUDY`` stands."""


def find(name: str) -> "Study":
    """The study of this name. ``ValueError`` names the closest one where there is none.

    >>> find("yin2019").paper
    'Yin, Lyu, Zhang, Osher, Qi & Xin, ICLR 2019, arXiv:1903.05662'
    """
    if name not in STUDIES:
        close = [known for known in STUDIES if known.startswith(name)] if name else []
        close = close or difflib.get_close_matches(name, STUDIES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"there is no study {name!r}; {hint}known: {', '.join(STUDIES)}")
    return import_module(STUDIES[name]).STUDY
