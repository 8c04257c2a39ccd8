"""Several processes that train one model: each takes its part of every batch, and gradients are averaged.

Under ``torchrun`` every process runs the same program. ``joined`` gives each its :class:`Ranks`; where nobody
started several, that is the one process, and nothing here does anything.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process among ``world``; ``rank`` 0 is the one that writes files."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward averages gradients over the ranks.

        Batch norm's running statistics come from rank 0, as everywhere in torch.
        """
        if self.world == 1:
            return model
        places = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=places)

    def total(self, numbers: Tensor) -> Tensor:
        """The sum over ranks."""
        if self.world > 1:
            dist.all_reduce(numbers)
        return numbers

    def all(self, true: bool) -> bool:
        """Whether it holds on every rank."""
        if self.world == 1:
            return true
        failures = torch.tensor([0.0 if true else 1.0], device=self.device)
        return not self.total(failures).item()

    def share(self, thing: Any) -> Any:
        """What rank 0 has, on every rank."""
        if self.world == 1:
            return thing
        box = [thing]
        dist.broadcast_object_list(box, src=0)
        return box[0]


@contextlib.contextmanager
def joined(device: str = "cpu") -> Iterator[Ranks]:
    """This process's place among those ``torchrun`` started, or alone; leaves the group at the end.

    gloo on CPU, nccl on CUDA, where each process takes the GPU of its local rank. A group that exists already
    is used and left standing. Raises ``ValueError`` where this torch has no such device.
    """
    started = dist.is_available() and dist.is_initialized()
    if not started and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(device=_device(device))
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    place = _device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if not started:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), place)
    finally:
        if not started:
            dist.destroy_process_group()


def _device(name: str) -> torch.device:
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, ImportError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here: {said} (torch {torch.__version__})") from None
    return place
