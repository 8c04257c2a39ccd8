"""Training: data sets, float models to start from, and a loop that yields a row per epoch."""

from coarsegrad.train.checkpoint import CheckpointError
from coarsegrad.train.health import NonFinite
from coarsegrad.train.loop import build, evaluate, load_run, train
from coarsegrad.train.plan import TrainPlan

__all__ = ["CheckpointError", "NonFinite", "TrainPlan", "build", "evaluate", "load_run", "train"]
