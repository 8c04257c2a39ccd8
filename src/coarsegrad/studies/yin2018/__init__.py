"""Yin et al. 2018, arXiv:1808.05240: blended coarse gradient descent. Does blending make every step descend?

On the two-layer problem, where the answer can be derived and every step checked; and in networks with 1-bit
weights and 4-bit activations, beside BinaryConnect.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from coarsegrad.studies.study import Study, Task
from coarsegrad.studies.yin2018 import descents, training
from coarsegrad.studies.yin2018.claims import CLAIMS, PAPER
from coarsegrad.studies.yin2018.sets import SETS
from coarsegrad.studies.yin2018.story import story

_RATIOS = (0.0, 0.1, 0.3, 0.6, 1.0, 1.5, 3.0)
# Smoke has seeds of its own: it runs whenever something is built.
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "seed": 7, "sizes": (8,), "step_sizes": (0.5,), "steps": 200, "runs": 3, "shown": 40, "digits": 1,
        "cifar": 0, "short": True,
    },
    "quick": {
        "seed": 20180, "sizes": (8,), "step_sizes": (0.5,), "steps": 3000, "runs": 48, "shown": 200,
        "digits": 12, "cifar": 0, "short": False,
    },
    "paper": {
        "seed": 20180, "sizes": (8, 16, 32), "step_sizes": (0.2, 0.5), "steps": 6000, "runs": 32,
        "shown": 200, "digits": 20, "cifar": 3, "short": False,
    },
}  # fmt: skip


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """What a preset measures. ``paper`` trains ResNet-20 too, and needs ``data_folder`` to be said."""
    p = _PRESETS[preset]
    digits, cifar = (range(p["seed"], p["seed"] + p[name]) for name in ("digits", "cifar"))
    longest = training.on_cifar(options.get("data_folder"), cifar)  # first, so that workers end together
    return [*longest, *_descents(p), *_traces(p), *training.on_digits(digits, p["short"])]


def _descents(p: Mapping[str, Any]) -> Iterator[Task]:
    """A task a set, size and step size, with all blending weights; a size has its teachers and starts."""
    for n, step_size, trained, name in product(p["sizes"], p["step_sizes"], ("w", "both"), SETS):
        about = {
            "weights": name, "n": n, "m": 4, "trained": trained, "step_size": step_size, "steps": p["steps"],
            "runs": p["runs"], "ratios": _RATIOS, "seed": 1000 * p["seed"] + n,
        }  # fmt: skip
        free = trained == "both" and SETS[name].free
        for surrogate in ("relu", "identity") if free else ("relu",):
            yield Task("descents", descents.descents, {**about, "surrogate": surrogate},
                       says=f"{name}, n = {n}, {trained}, step {step_size:g}, {surrogate}")  # fmt: skip


def _traces(p: Mapping[str, Any]) -> Iterator[Task]:
    for name, trained in (("fixed", "w"), ("binary", "w"), ("binary", "both")):
        about = {
            "weights": name, "n": 8, "m": 4, "trained": trained, "step_size": 0.5, "steps": p["shown"],
            "ratios": (0.0, 0.3, 1.0), "seed": p["seed"], "surrogate": "relu",
        }  # fmt: skip
        yield Task("trace", descents.trace, about, says=f"{name}, {trained}")


STUDY = Study(
    name="yin2018-bcgd",
    title="Yin et al. 2018: does blending make every step descend?",
    paper=PAPER,
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "about five minutes on two cores: one size, 12 seeds of a small network on digits",
        "paper": "two hours on two cores with --data-folder: three sizes, 20 seeds on digits, and three of "
        "ResNet-20 on CIFAR-10 for two epochs",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
    takes=("data_folder",),
)
