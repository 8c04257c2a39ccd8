"""Schoenbauer, Moro, Lew & Howard 2024, arXiv:2405.05171: estimators that are the plain one in disguise.

Where it holds (weights, small steps), where it does not (activations), and what the choice then costs.
"""

from collections.abc import Mapping
from typing import Any

from coarsegrad.studies.schoenbauer2024 import runs
from coarsegrad.studies.schoenbauer2024.claims import CLAIMS
from coarsegrad.studies.schoenbauer2024.story import story
from coarsegrad.studies.study import Study, Task

_SMALL = {"data": "digits", "model": "mlp(widths=(32,),affine=False)", "batch_size": 32}
_NET = {"data": "digits", "model": "lenet5(affine=False)", "batch_size": 32}
_MNIST = {"data": "mnist", "model": "lenet5(affine=False)", "batch_size": 64}
_FIRST_SEED, _FIRST_CHOICE = 40, 20
# Seeds 0 to 2 left a claim unresolved: that under a short memory of Adam's the distance shrinks with the
# rate (exponent 0.04, -0.02 to 0.10, from two rates); the claim became the contrast of the two memories.
# Seeds 10 to 12 left two unresolved that looked at the spread of final accuracies, three seeds and 355 test
# images (activations less weights 3.1 points, -0.6 to 6.8); they became paired gaps, on more seeds and new.
# With eight of those one gap's interval passed a point by 0.05: eight more were added, and no more will be.
# A review then found that the first measure of distance rewarded runs that hardly move, and compared latents
# in different coordinates; it was replaced (version 2), and measured on seeds 40 to 42. Those left one claim
# unresolved, ``sgd-start-alone`` (-0.070, -0.142 to 0.001): two seeds were added, and no more will be.
# Learning rate times epochs is the same along a row: the same stretch of the flow in smaller steps.
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "sgd": ((0.03, 1), (0.01, 3)), "adam": ((1e-3, 1), (5e-4, 2)), "seeds": 1, "choices": 1,
        "estimators": ("wave",),
        "choice_epochs": 2, "bits": (2,), "short": ((1e-3, 1),),
    },
    "quick": {
        "sgd": ((0.03, 1), (0.01, 3), (0.003, 10)), "adam": ((1e-3, 1), (1e-3 / 3, 3), (1e-4, 10)),
        "seeds": 5, "choices": 16, "estimators": ("wave", "soft steps"), "choice_epochs": 12, "bits": (2,),
        "short": ((1e-3, 1), (1e-4, 10)),
    },
    "paper": {
        "sgd": ((0.03, 1), (0.01, 3), (0.003, 10), (0.001, 30)),
        "adam": ((1e-3, 1), (1e-3 / 3, 3), (1e-4, 10), (5e-5, 20)), "seeds": 8, "choices": 24,
        "estimators": runs.COVERED, "choice_epochs": 30, "bits": (1, 2, 4),
        "short": ((1e-3, 1), (1e-3 / 3, 3), (1e-4, 10), (1e-4 / 3, 30)),
    },
}  # fmt: skip
_CHOICES = {
    "weights": ("identity", "clipped", *runs.COVERED),
    "activations": ("identity", "relu", "clipped_relu", *runs.COVERED),
}


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """What a preset measures: on the digits that come with scikit-learn; ``paper`` also on MNIST."""
    p, net = _PRESETS[preset], _SMALL if preset == "smoke" else _NET
    seeds = range(_FIRST_SEED, _FIRST_SEED + p["seeds"])
    found = [Task("formulas", runs.formulas, {"seed": 3, "bits": 2, "sizes": (0.1, 0.03, 0.01, 3e-3, 1e-3)})]

    def twin(of: str, estimator: str, optimizer: str, lr: float, epochs: int, seed: int, bits: int) -> Task:
        rates = (0.5, 2.0) if of == "activations" else ()
        about = {"of": of, "estimator": estimator, "optimizer": optimizer, "lr": lr, "epochs": epochs}
        settings = {**net, **about, "seed": seed, "bits": bits, "rates": rates, "alone": False}
        says = f"{estimator} on {of}, {bits} bits, {optimizer} {lr:.2g}, seed {seed}"
        return Task("twins", runs.twins, settings, version=2, where={"data_folder": None}, says=says)

    for seed in seeds:
        for bits in p["bits"]:
            for optimizer in ("sgd", "adam") if bits == 2 else ("sgd",):
                found += [
                    twin("weights", name, optimizer, lr, epochs, seed, bits)
                    for name in (p["estimators"] if bits == 2 else ("wave",)) for lr, epochs in p[optimizer]
                ]  # fmt: skip
        found += [
            twin("weights", "wave", "adam, short memory", lr, epochs, seed, 2) for lr, epochs in p["short"]
        ]
        found += [
            twin("activations", name, "sgd", lr, epochs, seed, 2)
            for name in ("wave", "clipped_relu") for lr, epochs in p["sgd"]
        ]  # fmt: skip
    nets = [(net, p["choice_epochs"], None)]
    if preset == "paper" and options.get("data_folder"):
        nets.append((_MNIST, 5, options["data_folder"]))
    about = {"bits": 2, "optimizer": "momentum", "lr": 0.03, "rates": (), "alone": True}
    found += [
        Task("choice", runs.twins,
             {**on, **about, "epochs": epochs, "of": of, "estimator": name, "seed": seed},
             where={"data_folder": folder}, says=f"{name} on {of}, {on['data']}, seed {seed}")
        for on, epochs, folder in nets for of, names in _CHOICES.items() for name in names
        for seed in range(_FIRST_CHOICE, _FIRST_CHOICE + p["choices"])
    ]  # fmt: skip
    return found


STUDY = Study(
    name="schoenbauer2024",
    title="Schoenbauer et al. 2024: are custom estimators the plain one in disguise?",
    paper="Schoenbauer, Moro, Lew & Howard 2024, arXiv:2405.05171",
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "about twenty-five minutes of one core",
        "paper": "an hour or two: more seeds, smaller steps, 1 and 4 bits; MNIST with --data-folder",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
    takes=("data_folder",),
)
