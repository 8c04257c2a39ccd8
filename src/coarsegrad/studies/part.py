"""The first images of a data set, in a file of the task's own: to train on where all are too many."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
