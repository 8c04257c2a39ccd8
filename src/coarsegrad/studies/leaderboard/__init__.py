"""The leaderboard: methods of low-bit training under one budget, tuned alike, over seeds.

First every method has the same number of trials on held-out training images; then what each chose is trained
with fresh seeds and tested. All of it is one command that may be stopped, and spread over machines.
"""

from collections.abc import Mapping
from typing import Any

from coarsegrad.spec import content_id
from coarsegrad.studies.leaderboard.methods import BITS, cells, plan_values, trials
from coarsegrad.studies.leaderboard.runs import trained
from coarsegrad.studies.leaderboard.story import CLAIMS, chosen, story
from coarsegrad.studies.study import Study, Task, check_data
from coarsegrad.studies.verdict import Rows

_MANDATORY = ("w1a1", "w2a2", "w32a2")
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"data": ("digits",), "bits": ("w1a1", "w2a2"), "epochs": 1, "tries": 1, "seeds": (70,)},
    "quick": {"data": ("digits",), "bits": _MANDATORY, "epochs": 10, "tries": 5, "seeds": range(80, 85)},
    "paper": {"data": ("fashion_mnist",), "bits": _MANDATORY, "epochs": 15, "tries": 4,
              "seeds": range(105, 110)},
    "extended": {"data": ("fashion_mnist", "mnist", "cifar10"), "bits": BITS, "epochs": 15, "tries": 4,
                 "seeds": range(105, 110)},
}  # fmt: skip
"""``epochs`` of a run, ``tries`` those of a trial.

Before it there were, on Fashion-MNIST: seed 0, two epochs; all trials of a protocol without augmentation and
with a poorer scale of weights; and a whole run, of the seeds 95 to 99, in which networks of signs pooled
behind their batch norms and trained steps had the latents' rate. `story` says what came of these.
"""
_TRIAL_SEED = 1001


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """The trials: four for every valid cell, on the training images without the held-out ones."""
    p = PRESETS[preset]
    if p["data"] != ("digits",):
        check_data(preset, options.get("data_folder"), ", ".join(p["data"]))
    return [
        _task("trial", data, bits, method, trial, _TRIAL_SEED, p["tries"], options)
        for data in p["data"] for bits, method in cells(p["bits"])
        for trial in trials(method)[: 1 if preset == "smoke" else None]
    ]  # fmt: skip


def then(preset: str, options: Mapping[str, Any], rows: Rows) -> list[Task]:
    """The runs: every cell as its best trial says, over the seeds."""
    p = PRESETS[preset]
    best = chosen(rows)
    return [
        _task("run", data, bits, method, best[data, bits, method], seed, p["epochs"], options)
        for data in p["data"] for seed in p["seeds"] for bits, method in cells(p["bits"])
        if (data, bits, method) in best
    ]  # fmt: skip


def _task(kind, data, bits, method, trial, seed, epochs, options) -> Task:
    lr, setting = trial
    settings = {
        "data": data, "bits": bits, "method": method, "lr": lr, "setting": setting, "seed": seed,
        "epochs": epochs, "held_out": kind == "trial",
        "plan": content_id(plan_values(data, bits, method, trial, 1000)),  # another plan is another task
    }  # fmt: skip
    own = "" if setting is None else f", {setting:g}"
    says = f"{data} {bits} {method}, rate {lr:g}{own}, seed {seed}"
    folder = options.get("data_folder") if data != "digits" else None
    return Task(kind, trained, settings, version=3, where={"data_folder": folder}, says=says)


STUDY = Study(
    name="leaderboard",
    title="Ten papers, 2013 to 2023: their methods on one leaderboard",
    paper="Methods of arXiv:1308.3432 (plain), 1511.00363 (BinaryConnect), 1808.05240 (BCGD), 1801.06313 "
    "(BinaryRelax), 1810.00861 (ProxQuant), 1906.02107 (Bop), 1902.08153 (LSQ), 1805.06085 (PACT), "
    "2308.06689 (ReSTE), 1909.10788 (EDE)",
    presets={
        "smoke": "seconds: one trial and one run of each method at two widths, on digits",
        "quick": "minutes on two cores: LeNet-5 on scikit-learn's digits, five seeds",
        "paper": "hours on two cores: LeNet-5 on Fashion-MNIST (--data-folder) at W1A1, W2A2 and W32A2, "
        "15 epochs, five seeds",
        "extended": "days, or a GPU: five widths of bits, also MNIST, and ResNet-20 on CIFAR-10",
    },
    tasks=tasks,
    then=then,
    claims=CLAIMS,
    story=story,
    takes=("data_folder",),
)
