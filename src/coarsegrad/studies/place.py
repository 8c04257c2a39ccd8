"""What a task keeps in the folder that is its own: the first images of a data set, and trainings."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coarsegrad.train.plan import TrainPlan


def trained(plan: "TrainPlan", folder: Path) -> list[dict[str, Any]]:
    """The rows of a training in the task's own folder, which goes on where it was stopped.

    Where it cannot it begins anew, and warns: the files that the plan names have moved with the folder, or
    the checkpoint is damaged, or of another version.
    """
    from coarsegrad.train.checkpoint import CheckpointError
    from coarsegrad.train.loop import train

    try:
        return list(train(plan, folder))
    except CheckpointError as error:
        warnings.warn(f"the training begins anew: {error}", stacklevel=2)
        return list(train(plan, folder, resume=False))


def part(settings: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Of a plan: ``data`` and ``data_folder``, as they are, or of a file in ``place``.

    ``settings`` has them, ``train_images`` and ``test_images``; without a number of ``train_images`` the data
    set is whole.
    """
    import numpy as np

    from coarsegrad.train import data

    folder = settings.get("data_folder")
    if settings["train_images"] is None:
        return {"data": settings["data"], "data_folder": folder}
    file = place / "part.npz"
    if not file.exists():
        found = data.load(settings["data"], folder=folder)
        arrays = {"classes": np.array(found.classes)}
        for which in ("train", "test"):
            kept = slice(settings[f"{which}_images"])
            arrays[f"x_{which}"] = getattr(found, f"{which}_images")[kept].numpy()
            arrays[f"y_{which}"] = getattr(found, f"{which}_labels")[kept].numpy()
        place.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(".part.npz")
        np.savez(beside, **arrays)  # pyright: ignore[reportArgumentType]
        beside.replace(file)
    return {"data": f"npz:{file}", "data_folder": None}
