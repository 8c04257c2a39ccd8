"""A small depthwise-separable network: what becomes of it with and without its oscillations, seed by seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from coarsegrad.studies.place import part, trained
from coarsegrad.studies.verdict import Row

if TYPE_CHECKING:
    from coarsegrad.train.plan import TrainPlan
    from coarsegrad.train.run import Run

Settings = Mapping[str, Any]
ARMS = {
    "none": "",
    "dampening": "dampen(strength=0.1,end={end})",
    "freezing": "freeze(threshold=0.011,initial=0.1,end={end})",
    "inducing": "induce(strength=1.0,quantized=True)",
    "inducing alike": "induce(strength=0.1,quantized=True,mean=False)",
    "induced float": "induce(strength=1.0)",
    "float": "induce(strength=0.0)",
}
"""Rules of the latents, with the strengths of Nagel et al.'s script for 3 bits and Wenshøj et al.'s code.

Theirs is divided by the number of a layer's weights; ``inducing alike`` has dampening's strength a weight.
"""
AVERAGING = "averaging"
"""No run of its own: the votes on ``none``'s levels over its last epochs."""
TRAINED_FLOAT = ("induced float", "float")
"""The loss saw the latents; quantized by least squares when training was over."""
_KINDS = ("depth", "point")
_EPSILON = 1e-5
"""What torch's batch norm adds to a variance."""


def network(settings: Settings, place: Path) -> Iterator[Row]:
    """One seed: every arm under every schedule, from one float network.

    Rows ``accuracy``: an arm's network quantized to ``tested`` bits (32: its latents), percent of the test
    images right with the batch norms' statistics of training (``stale``) and re-estimated on ``bn_batches``
    (``fresh``). Rows ``watched``: shares of weights with more than ``oscillates_above`` oscillations per
    step, how far the two kinds of statistics are apart, and the sizes of the layers. ``arms``: (name, rule)
    each. What is trained stays in ``place``: a killed task goes on from its checkpoints.
    """
    from coarsegrad.train.plan import TrainPlan

    base = {key: settings[key] for key in ("model", "batch_size", "seed")} | part(settings, place)
    start = TrainPlan(**base, recipe=None, epochs=settings["pretrain_epochs"], lr=settings["pretrain_lr"])
    last = trained(start, place / "start")[-1]
    yield {"what": "start", "train_loss": last["train_loss"], "accuracy": last["test_accuracy"]}
    for schedule in settings["schedules"]:
        plan = TrainPlan(
            **base, recipe=f"weight=uniform(bits={settings['bits']})", first="float", last="float",
            epochs=settings["epochs"], lr=settings["lr"], schedule=schedule,
            start=str(place / "start" / "checkpoint.pt"),
        )  # fmt: skip
        for arm, rule in settings["arms"]:
            about = {"schedule": schedule, "arm": arm}
            own, folder = _with(plan, rule, settings["voting_epochs"]), place / f"{schedule}-{arm}"
            last = trained(own, folder)[-1]
            with _again(own, folder) as run:
                for row in _seen(run, arm, settings):
                    scores = {key: last[key] for key in ("train_loss", "flips")}
                    yield {**about, **row, **(scores if row["what"] == "watched" else {})}


def _with(plan: "TrainPlan", rule: str, voting_epochs: int) -> "TrainPlan":
    """The plan with this rule, annealed over all its steps, and watched over its last."""
    from coarsegrad.train.build import load_data

    epoch = len(load_data(plan).train_batches(plan.batch_size))
    first = epoch * max(0, plan.epochs - voting_epochs)
    rules = [rule.format(end=epoch * plan.epochs)] if rule else []
    return replace(plan, latent=(*rules, f"watch(start={first})"))


def _again(plan: "TrainPlan", folder: Path):
    """The run in the folder, at its end."""
    from contextlib import contextmanager

    from coarsegrad.train.checkpoint import RunFolder
    from coarsegrad.train.distributed import joined
    from coarsegrad.train.run import Run

    @contextmanager
    def opened():
        with joined(plan.device) as ranks:
            yield Run(plan, ranks, RunFolder(folder).load(plan))

    return opened()


def _seen(run: "Run", arm: str, settings: Settings) -> Iterator[Row]:
    from coarsegrad.optim import Ergodic, Latent
    from coarsegrad.train.objective import evaluate

    optimizer, bits = run.optimizer, settings["bits"]
    assert isinstance(optimizer, Latent)
    memory = {q.place: optimizer.memory(p)[-1] for p, q in optimizer.pairs}
    frozen = [
        state["frozen"] for p, _ in optimizer.pairs for state in optimizer.memory(p) if "frozen" in state
    ]
    sizes = [p.numel() for p, _ in optimizer.pairs]
    watched = {
        **_oscillating(memory, settings["oscillates_above"]), "frozen": _share(frozen),
        "smallest_layer": min(sizes), "largest_layer": max(sizes),
    }  # fmt: skip
    latents = {key.replace(".parametrizations.weight.original", ".weight"): value.clone()
               for key, value in run.model.state_dict().items()}  # fmt: skip

    def accuracy(model: nn.Module) -> float:
        return evaluate(model, run.data.test_batches(500).epoch(0))["accuracy"]

    def both(model: nn.Module) -> Row:
        stale = accuracy(model)
        _reestimate(run, model, settings["bn_batches"])
        return {"stale": stale, "fresh": accuracy(model)}

    with optimizer.hard():
        if arm not in TRAINED_FLOAT:
            before = _statistics(run.model)
            yield {"what": "accuracy", "tested": bits, **both(run.model)}
            yield {"what": "watched", **watched, **_apart(before, _statistics(run.model))}
        else:
            yield {"what": "watched", **watched}
        if arm == "none":
            votes = Ergodic(optimizer.pairs)
            sums = [m["sum"] for m in memory.values()]
            votes.load_state_dict({"updates": int(next(iter(memory.values()))["steps"]), "sums": sums})
            with votes.swap():
                run.model.load_state_dict(before, strict=False)
                yield {"what": "accuracy", "tested": bits, **both(run.model), "arm": AVERAGING}
    for tested in (*settings["tested"], 32):
        if tested != bits or arm in TRAINED_FLOAT:
            yield {"what": "accuracy", "tested": tested, **both(_requantized(run, latents, tested))}


def _requantized(run: "Run", latents: Mapping[str, Tensor], bits: int) -> nn.Module:
    """The network of these latents, quantized anew by least squares; 32 bits: not at all."""
    from coarsegrad.train.build import float_model, load_weights, quantized

    model = float_model(replace(run.plan, start=None), run.data.in_shape, len(run.data.classes))
    own = {key: latents[key] for key in model.state_dict()}
    load_weights(model, own, "the run")
    if bits == 32:
        return model
    return quantized(replace(run.plan, recipe=f"weight=uniform(bits={bits})"), model, run.data.in_shape)


def _reestimate(run: "Run", model: nn.Module, batches: int) -> None:
    from coarsegrad.nn import reestimate_bn

    epoch = run.data.train_batches(run.plan.batch_size, seed=run.plan.seed).epoch(run.plan.total_epochs)
    reestimate_bn(model, (images for _, (images, _) in zip(range(batches), epoch, strict=False)))


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items() if ".running_" in key}


def _oscillating(memory: Mapping[str, Mapping[str, Tensor]], above: float) -> Row:
    """Shares of weights: of all, of depthwise and of pointwise convolutions."""
    often = {place: watched["frequency"] > above for place, watched in memory.items()}
    kinds = {f"oscillating_{k}": [o for place, o in often.items() if place.startswith(k)] for k in _KINDS}
    return {name: _share(found) for name, found in {"oscillating": list(often.values()), **kinds}.items()}


def _share(marks: Sequence[Tensor]) -> float:
    """Of all entries those that are true; 0 of none."""
    return sum(int(m.sum()) for m in marks) / max(1, sum(m.numel() for m in marks))


def _apart(stale: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> Row:
    """Mean over channels of KL(fresh | stale), nats, behind depthwise and behind pointwise convolutions.

    Of normal laws with the variances that batch norm divides by, ``_EPSILON`` included: a channel whose
    inputs are all 0 has none of its own.
    """
    found: dict[str, list[Tensor]] = {kind: [] for kind in _KINDS}
    for key in stale:
        kind = key.split(".")[0].rpartition("_")[2]
        if key.endswith("running_mean") and kind in found:
            other = key.replace("mean", "var")
            before, after = stale[other].double() + _EPSILON, fresh[other].double() + _EPSILON
            ratio = after / before
            moved = (fresh[key].double() - stale[key].double()).square() / before
            found[kind].append((ratio + moved - 1 - ratio.log()) / 2)
    return {f"apart_{kind}": float(torch.cat(layers).mean()) for kind, layers in found.items()}
