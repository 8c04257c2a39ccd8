"""The loop: a generator that yields a row per epoch. Optional: a model that ``prepare`` made trains in any loop."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor, nn

from coarsegrad.train.data import Dataset
from coarsegrad.train.plan import TrainPlan

Row = dict[str, float | int | str]


def train(
    plan: TrainPlan,
    folder: str | Path | None = None,
    *,
    resume: bool = True,
    checkpoint_seconds: float | None = None,
) -> Iterator[Row]:
    """Rows, one per epoch; on resume those already done come first, as they were written."""
    raise NotImplementedError
    yield {}


def build(plan: TrainPlan) -> tuple[nn.Module, Dataset]:
    """The model as trained (prepared unless float) and its data."""
    raise NotImplementedError


def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: str = "cpu") -> dict[str, float]:
    """{"loss": mean cross entropy in nats, "accuracy": percent}."""
    raise NotImplementedError


def load_run(folder: str | Path) -> tuple[TrainPlan, nn.Module, list[Row]]:
    """Plan, model in eval mode, rows."""
    raise NotImplementedError
