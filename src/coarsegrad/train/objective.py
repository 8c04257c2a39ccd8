"""What is minimized, and what is counted: cross entropy, distillation from a teacher, accuracy in percent."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coarsegrad.nn.sites import evaluating
from coarsegrad.train import zoo
from coarsegrad.train.build import load_run, load_weights
from coarsegrad.train.checkpoint import read_weights
from coarsegrad.train.data import Dataset
from coarsegrad.train.plan import TrainPlan


@dataclass(frozen=True, eq=False)
class Objective:
    r"""\((1-d)\,\mathrm{CE} + d\,T^2\,\mathrm{KL}(\text{teacher}\,\|\,\text{student})\).

    In nats, a mean over images. Without a teacher: cross entropy. With d = 1, T = 1 it is the distributional
    loss of ReActNet, Liu et al. 2020, arXiv:2003.03488; else that of Hinton et al. 2015, arXiv:1503.02531.
    """

    teacher: nn.Module | None = None
    distill: float = 1.0
    temperature: float = 1.0

    def __call__(self, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits ``[N, classes]`` for labels ``[N]``: a scalar in float32."""
        logits = logits.float()
        if self.teacher is None:
            return F.cross_entropy(logits, labels)
        with torch.no_grad():
            wanted = F.log_softmax(self.teacher(images).float() / self.temperature, dim=1)
        given = F.log_softmax(logits / self.temperature, dim=1)
        loss = (
            self.distill
            * self.temperature**2
            * F.kl_div(given, wanted, reduction="batchmean", log_target=True)
        )
        return loss if self.distill == 1 else loss + (1 - self.distill) * F.cross_entropy(logits, labels)


def make_objective(plan: TrainPlan, data: Dataset, device: torch.device) -> Objective:
    """The plan's objective, its teacher loaded, frozen and on the device."""
    if plan.teacher is None:
        return Objective()
    name, at, file = plan.teacher.partition("@")
    if at and not Path(plan.teacher).is_dir():
        teacher = zoo.build(name, in_shape=data.in_shape, classes=len(data.classes))
        load_weights(teacher, read_weights(file), f"teacher={plan.teacher!r}")
    else:
        _, teacher, _ = load_run(plan.teacher)
    return Objective(teacher.to(device).eval().requires_grad_(False), plan.distill, plan.temperature)


@torch.no_grad()
def tally(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device | str = "cpu"
) -> Tensor:
    """Sum of cross entropies in nats, number right, number of images: float64 ``[3]``, in eval mode."""
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    with evaluating(model):
        for images, labels in batches:
            images, labels = images.to(device), labels.to(device)
            logits = model(images).float()
            sums += counted(F.cross_entropy(logits, labels), logits, labels)
    return sums


def counted(loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """One batch's part of a tally, without waiting for the device."""
    right = (logits.detach().argmax(dim=1) == labels).sum()
    return torch.stack(
        [loss.detach().double() * len(labels), right.double(), torch.full_like(loss, len(labels)).double()]
    )


def evaluate(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device | str = "cpu"
) -> dict[str, float]:
    """``loss``, mean cross entropy in nats, and ``accuracy``, in percent, in eval mode; the mode is restored.

    >>> evaluate(nn.Identity(), [(torch.eye(4), torch.tensor([0, 1, 2, 0]))])["accuracy"]
    75.0
    """
    return means(tally(model, batches, device))


def means(sums: Tensor) -> dict[str, float]:
    """A tally per image. Raises ``ValueError`` for an empty one."""
    loss, right, count = sums.tolist()
    if not count:
        raise ValueError("evaluate(model, batches) got no batches")
    return {"loss": loss / count, "accuracy": 100 * right / count}
