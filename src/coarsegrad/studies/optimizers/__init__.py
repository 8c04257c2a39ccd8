"""Estimators x optimizers x bits under one budget: does the optimizer change which estimator wins?

SGD, Adam, AdamW, Lion and Muon, on LeNet-5 and on a small transformer; every run is a task of its own. Claims
about the grid are judged by ``paper``; ``quick`` judges those about estimators in disguise, and shows a grid.
"""

from collections.abc import Mapping
from typing import Any

from coarsegrad.studies.optimizers import runs
from coarsegrad.studies.optimizers.claims import CLAIMS
from coarsegrad.studies.optimizers.nets import text_id
from coarsegrad.studies.optimizers.story import story
from coarsegrad.studies.study import Study, Task, check_data

# Explored before this was written, on seeds 0 to 2, 50 and 100. Digits: the rates to try, two grids of short
# runs, W2A2 and W1A2, and the twins of three seeds. Fashion-MNIST and text: rates with the window, and a few
# cells of W1A2, a seed each. On the images the window's best of the three rates was the middle one; on the
# text it was the last for Adam and Muon, in runs half as long. W1A2 and W4A4 were taken instead of W2A2, in
# which digits told no estimators apart. A relu and a tanh of activations were tried and left out: both came
# out near the window. All that was with trained steps between levels and ends of 8 bits, which were given up
# before the grid was run: the page says why.
_FIRST_SEED = 2018
_SLOW = (1e-3, 3e-3, 1e-2)
_FAST = (3e-3, 1e-2, 3e-2)
_RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "images": {"sgd": (0.02, 0.06, 0.2), "adam": _SLOW, "adamw": _SLOW, "lion": (3e-4, 1e-3, 3e-3),
               "muon": _SLOW},
    "text": {"sgd": (0.03, 0.1, 0.3), "adam": _FAST, "adamw": _FAST, "lion": _SLOW, "muon": _FAST},
}  # fmt: skip
_ESTIMATORS = tuple(runs.ESTIMATORS)
_ALL = tuple(runs.OPTIMIZERS)
_TWINS = {"sgd": 0.03, "adam": 3e-3, "adamw": 3e-3, "lion": 1e-3, "muon": 3e-3}
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "grids": (
            {"data": "digits", "steps": 4, "batch_size": 32, "bits": ("w1a2",), "seeds": 2, "rates": 1,
             "optimizers": ("sgd", "muon"), "estimators": ("window", "identity")},
            {"data": "text", "width": 16, "steps": 3, "batch_size": 4, "bits": ("w1a2",), "seeds": 2,
             "rates": 1, "optimizers": ("adam", "lion"), "estimators": ("window", "smooth weights")},
        ),
        "twins": {"steps": 4, "seeds": 1, "optimizers": ("lion", "muon")},
    },
    "quick": {
        "grids": (
            {"data": "digits", "steps": 120, "batch_size": 64, "bits": ("w1a2",), "seeds": 3, "rates": 3,
             "optimizers": _ALL, "estimators": _ESTIMATORS},
            {"data": "text", "width": 32, "steps": 60, "batch_size": 16, "bits": ("w1a2",), "seeds": 3,
             "rates": 3, "optimizers": _ALL, "estimators": ("window", "identity", "smooth weights")},
        ),
        "twins": {"steps": 120, "seeds": 5, "optimizers": _ALL},
    },
    "paper": {
        "grids": (
            {"data": "fashion_mnist", "steps": 250, "batch_size": 64, "bits": ("w1a2", "w4a4"), "seeds": 3,
             "rates": 3, "optimizers": _ALL, "estimators": _ESTIMATORS},
            {"data": "text", "width": 64, "steps": 200, "batch_size": 16, "bits": ("w1a2", "w4a4"),
             "seeds": 4, "rates": 3, "optimizers": _ALL, "estimators": _ESTIMATORS},
        ),
        "twins": {"steps": 120, "seeds": 8, "optimizers": _ALL},
    },
}  # fmt: skip


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """What a preset trains. Raises ``ValueError`` where Fashion-MNIST is asked for and no folder is said."""
    p = _PRESETS[preset]
    if preset == "paper":
        check_data(preset, options.get("data_folder"), "Fashion-MNIST")
    twins = p["twins"]
    found = [
        Task("twins", runs.twins,
             {"data": "digits", "steps": twins["steps"], "batch_size": 64, "optimizer": optimizer,
              "lr": _TWINS[optimizer], "seed": seed},
             version=2, says=f"weights' estimators with {optimizer}, seed {seed}")
        for seed in range(_FIRST_SEED, _FIRST_SEED + twins["seeds"]) for optimizer in twins["optimizers"]
    ]  # fmt: skip
    for one in p["grids"]:
        found += _grid(one, options.get("data_folder"))
    return found


def _grid(one: Mapping[str, Any], folder: str | None) -> list[Task]:
    """A task a run: every optimizer, estimator, rate and seed at these bits."""
    is_text = one["data"] == "text"
    net = {key: one[key] for key in ("data", "width", "steps", "batch_size") if key in one}
    net |= {"text": text_id()} if is_text else {}
    where = {} if is_text else {"data_folder": folder if one["data"] == "fashion_mnist" else None}
    rates = _RATES["text" if is_text else "images"]
    return [
        Task("train", runs.trained,
             {**net, "bits": bits, "optimizer": optimizer, "estimator": name, "lr": lr, "seed": seed},
             version=3, where=where, says=f"{one['data']}, {bits}, {optimizer} {lr:g}, {name}, seed {seed}")
        for bits in one["bits"] for seed in range(_FIRST_SEED, _FIRST_SEED + one["seeds"])
        for optimizer in one["optimizers"] for name in one["estimators"]
        for lr in rates[optimizer][: one["rates"]]
    ]  # fmt: skip


STUDY = Study(
    name="optimizers",
    title="Lion and Muon, 2023 and 2024: does the optimizer change which estimator wins?",
    paper="A question of ours. Lion: Chen et al. 2023, arXiv:2302.06675. Muon: Jordan et al. 2024, "
    "kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv:2502.16982",
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "about five minutes on two cores: digits, and a smaller transformer",
        "paper": "about two hours of one core; LeNet-5 on Fashion-MNIST, with --data-folder",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
    takes=("data_folder",),
)
