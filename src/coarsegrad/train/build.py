"""From a plan to a model: float, or quantized with its scales in place; and back from a run folder."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coarsegrad.nn import calibrate, prepare
from coarsegrad.train import zoo
from coarsegrad.train.checkpoint import CheckpointError, RunFolder, read_weights
from coarsegrad.train.data import Dataset, load
from coarsegrad.train.plan import TrainPlan

CALIBRATION_BATCHES = 8
HELD_OUT = 5  # every fifth training image is held out while something is tuned
_NORM = nn.modules.batchnorm._BatchNorm


def build(plan: TrainPlan) -> tuple[nn.Module, Dataset]:
    """The model as the plan trains it, untrained (prepared, unless the plan is float), and its data.

    >>> model, data = build(TrainPlan(model="mlp(widths=(8,))", recipe="w1a2"))
    >>> sum(name.endswith("input_quantizer") for name, _ in model.named_modules()), data.name
    (2, 'digits')
    """
    data = load_data(plan)
    model = float_model(plan, data.in_shape, len(data.classes))
    return (quantized(plan, model, data.in_shape) if plan.quantized else model), data


def load_data(plan: TrainPlan) -> Dataset:
    """The plan's data set; where it is ``held_out``, without its test images."""
    found = load(plan.data, folder=plan.data_folder)
    return held_out(found) if plan.held_out else found


def held_out(data: Dataset) -> Dataset:
    """The same data with every ``HELD_OUT``th training image to test on, augmented alike in training."""
    test = torch.arange(len(data.train_images)) % HELD_OUT == HELD_OUT - 1
    parts = {"train": ~test, "test": test}
    images = {f"{name}_images": data.train_images[part] for name, part in parts.items()}
    return replace(data, **images, **{f"{n}_labels": data.train_labels[part] for n, part in parts.items()})


def float_model(plan: TrainPlan, in_shape: Iterable[int], classes: int) -> nn.Module:
    """The float model, with the weights of ``plan.start`` where it names a file."""
    model = zoo.build(plan.model, in_shape=tuple(in_shape), classes=classes, seed=plan.seed)
    if plan.start is not None:
        load_weights(model, read_weights(plan.start), f"start={plan.start!r}")
    return model


def quantized(plan: TrainPlan, model: nn.Module, in_shape: Iterable[int]) -> nn.Module:
    """The float model prepared by the plan's recipe; activation scales are still to be found."""
    recipe = plan.read_recipe()
    assert recipe is not None
    example = torch.zeros(2, *in_shape, device=next(model.parameters()).device)
    return prepare(model, recipe, example)


def training_mode(plan: TrainPlan, model: nn.Module) -> nn.Module:
    """The same model, in training mode but for frozen batch norms."""
    model.train()
    for module in model.modules():
        if plan.batch_norm == "frozen" and isinstance(module, _NORM):
            module.eval()
    return model


def start_scales(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, trained: bool) -> None:
    """Give every activation quantizer its first scale, in place, over all ranks.

    A trained float model is calibrated on the first batches. An untrained one, given in training mode so that
    batch norm normalizes, runs once, each quantizer fitted to what the quantized layers before it send;
    running statistics are left as they were.
    """
    images = [
        images for (images, _), _ in zip(batches, range(CALIBRATION_BATCHES if trained else 1), strict=False)
    ]
    if trained:
        calibrate(model, images)
        return
    norms = [m for m in model.modules() if isinstance(m, _NORM)]
    kept = [{name: b.clone() for name, b in norm.named_buffers()} for norm in norms]
    with torch.no_grad():
        model(images[0])
        for norm, buffers in zip(norms, kept, strict=True):
            for name, value in buffers.items():
                norm.get_buffer(name).copy_(value)


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Load all of a state dict, or raise one ``ValueError`` that names what does not fit."""
    own = model.state_dict()
    faults = [f"{key} is missing" for key in own if key not in weights]
    faults += [f"{key} is unknown" for key in weights if key not in own]
    for key, value in weights.items():
        if key in own and own[key].shape != value.shape:
            faults.append(f"{key} has shape {list(value.shape)}, here {list(own[key].shape)}")
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ValueError(f"{where} does not fit this model: {'; '.join(faults[:3])}{more}")
    model.load_state_dict(weights, strict=True)


def restored(plan: TrainPlan, state: dict[str, Any]) -> nn.Module:
    """The model of a checkpoint, on the CPU."""
    model = zoo.build(plan.model, in_shape=state["in_shape"], classes=state["classes"], seed=plan.seed)
    if state["phase"] == "quantized":
        model = quantized(plan, model, state["in_shape"])
    try:
        load_weights(model, state["model"], "the checkpoint")
    except ValueError as error:
        raise CheckpointError(f"{error}; it was written by another version or for another recipe") from None
    return model


def load_run(folder: str | Path) -> tuple[TrainPlan, nn.Module, list[dict]]:
    """Plan, model in eval mode on the CPU, and rows of a run folder, finished or not.

    Raises ``FileNotFoundError`` where there is no run and ``CheckpointError`` where its checkpoint is damaged
    or belongs to another plan.
    """
    files = RunFolder(Path(folder))
    if not (files.path / "plan.toml").exists():
        raise FileNotFoundError(f"{folder} is no run folder: it has no plan.toml")
    plan = TrainPlan.read(files.path / "plan.toml")
    state = files.load(plan, mend="its plan.toml was changed since; put back what it said")
    return plan, restored(plan, state).eval(), state["rows"]
