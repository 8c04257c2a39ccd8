"""One training with one estimator and one optimizer; and trainings whose estimators might be the same."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coarsegrad.core.quantizers import Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import EDE, HardTanh, Identity, Tanh
from coarsegrad.nn import pairs, set_progress
from coarsegrad.nn.recipe import Bits, Recipe
from coarsegrad.studies.leaderboard.methods import quantizers, widths
from coarsegrad.studies.optimizers.nets import Net, loaded
from coarsegrad.studies.schoenbauer2024.runs import Wave
from coarsegrad.studies.verdict import Row
from coarsegrad.train.objective import evaluate
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.update import make_optimizer, set_rate

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Multiple(Surrogate):
    """Slope ``factor`` everywhere: the plain estimator, its gradients multiplied."""

    factor: float = 1.0
    name: ClassVar[str] = "multiple"

    def curve(self, x):
        """A line."""
        return self.factor * x

    def slope(self, x):
        """The factor."""
        return torch.full_like(x, self.factor)

    def over(self, levels):
        """Itself."""
        return self


ESTIMATORS: dict[str, tuple[Surrogate | None, Surrogate]] = {
    "window": (None, HardTanh()), "identity": (None, Identity()), "steep": (None, EDE()),
    "smooth weights": (Tanh(), HardTanh()),
}  # fmt: skip
"""By name the surrogate of weights, None for the usual one, and that of activations."""
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "weight_decay": 1e-4}, "adam": {"momentum": 0.9, "weight_decay": 0.0},
    "adamw": {"momentum": 0.9, "weight_decay": 0.1}, "lion": {"momentum": 0.9, "weight_decay": 0.5},
    "muon": {"momentum": 0.95, "weight_decay": 0.1},
}  # fmt: skip
"""By name, as a plan's, what else the plan says; the decays of AdamW, Lion and Muon are decoupled."""
BESIDE: dict[str, Surrogate] = {
    "plain": Identity(), "times 8": Multiple(8.0), "over 8": Multiple(1 / 8), "wave": Wave(0.8),
}  # fmt: skip
"""Estimators of weights that might be the plain one in disguise."""
WARMUP = 0.05
"""The share of steps over which the rate rises."""


def trained(settings: Settings, place: Path) -> Iterator[Row]:
    """One training of the grid. ``held_out`` and ``loss``, of the test part, are in bits a decision.

    The rate of a cell is chosen by the former alone: see `coarsegrad.studies.optimizers.grid.tuned_rate`.
    """
    net = loaded(settings)
    model = fit(net, settings, recipe_of(settings), settings["lr"], settings["seed"])
    yield {"held_out": scored(net, model, "held out")["loss"], **scored(net, model, "test")}


def recipe_of(settings: Settings) -> Recipe:
    """No step between levels is trained. Images are quantized in place of ReLUs, text at inputs.

    The quantizers are the leaderboard's, but of text; the first and the last layer's weights are float.
    """
    weights, activations = ESTIMATORS[settings["estimator"]]
    is_text, (weight, activation) = settings["data"] == "text", quantizers(settings["bits"])
    if is_text:
        activation = f"uniform(bits={widths(settings['bits'])[1]})"
    return Recipe(
        f"weight={weight};activation={activation}", first="float", last=f"activation={activation}",
        embeddings="float", weight_surrogate=weights, activation_surrogate=activations,
        activations="inputs" if is_text else "instead_of_relus",
    )  # fmt: skip


def fit(
    net: Net, settings: Settings, recipe: Recipe, lr: float, seed: int, order: int | None = None
) -> nn.Module | None:
    """The network of this seed after its steps; None where the loss stopped being a finite number.

    A twentieth of the steps is warmup, then the rate falls with half a cosine. ``order`` is the seed of the
    batches, by default the network's.
    """
    steps, name = settings["steps"], settings["optimizer"]
    plan = TrainPlan(optimizer=name, lr=lr, epochs=steps, warmup=WARMUP * steps, **OPTIMIZERS[name])
    model = net.model(recipe, seed)
    optimizer = make_optimizer(plan, model)
    batches = net.batches(seed if order is None else order, settings["batch_size"])
    for step, (inputs, wanted) in zip(range(steps), batches, strict=False):
        set_rate(optimizer, plan.factor(step, steps))
        set_progress(model, step / steps)
        loss = F.cross_entropy(model(inputs), wanted)
        if not torch.isfinite(loss):
            return None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def scored(net: Net, model: nn.Module | None, part: str) -> Row:
    """``loss`` in bits a decision, ``accuracy`` in percent; those of guessing where there is nothing better.

    ``guessed`` says so: the training broke off, or its loss is above that of all classes alike.
    """
    guess = math.log2(net.classes)
    found = {"loss": math.inf} if model is None else evaluate(model, net.judged_on(part))
    loss = found["loss"] / math.log(2)
    if not loss < guess:
        return {"loss": guess, "accuracy": 100 / net.classes, "guessed": True}
    return {"loss": loss, "accuracy": found["accuracy"], "guessed": False}


def twins(settings: Settings, place: Path) -> Iterator[Row]:
    """Hidden weights of 2 bits and fixed scale, all else float: estimators beside the plain one.

    All see the same batches from the same start; the plain one is run first. ``other order`` is the plain
    one on batches in another order: how far apart two runs of one method are. ``distance``:
    |a - b| / sqrt(|a|^2 + |b|^2) of how the latents moved, a in the plain run and b in the other: 0 for one
    run, 1 for moves at a right angle.
    ``same``: the share of weights at one level. ``loss`` in bits, on the test part. ``broke``: the loss of
    this run, or of the plain one, stopped being a finite number, and there is nothing to compare.
    """
    net, seed, lr = loaded(settings), settings["seed"], settings["lr"]
    weights = Uniform(bits=2, scale=Scale("mse"))
    begun = _latents(net.model(_weights_only(weights, Identity()), seed))
    plain = None
    for name in ("plain", "other order", *(name for name in BESIDE if name != "plain")):
        recipe = _weights_only(weights, BESIDE.get(name, Identity()))
        model = fit(net, settings, recipe, lr, seed, order=seed + 7919 if name == "other order" else seed)
        plain = model if name == "plain" else plain
        if model is None or plain is None:
            yield {"run": name, "broke": True, "distance": None, "same": None, "loss": None}
            continue
        moved = [[b - a for a, b in zip(begun, _latents(m), strict=True)] for m in (plain, model)]
        codes = [torch.cat([q.codes(p.detach()).flatten() for p, q in pairs(m)]) for m in (plain, model)]
        yield {
            "run": name, "broke": False, "distance": distance(*moved),
            "same": float((codes[0] == codes[1]).float().mean()), "loss": scored(net, model, "test")["loss"],
        }  # fmt: skip


def distance(one: list[Tensor], other: list[Tensor]) -> float:
    """|a - b| / sqrt(|a|^2 + |b|^2) of two lists of tensors as vectors, 0 where both are zeros.

    >>> distance([torch.tensor([3.0, 0.0])], [torch.tensor([0.0, 4.0])])
    1.0
    """
    a, b = (torch.cat([part.double().flatten() for part in parts]) for parts in (one, other))
    size = math.sqrt(float(a @ a + b @ b))
    return float((a - b).norm()) / size if size else 0.0


def _weights_only(weights: Uniform, surrogate: Surrogate) -> Recipe:
    return Recipe(Bits(weights), weight_surrogate=surrogate, first="float", last="float")


def _latents(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p, _ in pairs(model)]
