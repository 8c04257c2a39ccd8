"""The loop: a generator that yields a row per epoch. Optional: a prepared model trains in any loop."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coarsegrad.train.build import build, load_run
from coarsegrad.train.checkpoint import RunFolder
from coarsegrad.train.distributed import Ranks, joined
from coarsegrad.train.objective import counted, evaluate, means
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.run import Row, Run

__all__ = ["Row", "build", "evaluate", "load_run", "train"]


def train(
    plan: TrainPlan,
    folder: str | Path | None = None,
    *,
    resume: bool = True,
    checkpoint_seconds: float | None = None,
) -> Iterator[Row]:
    """Train, and yield one flat row per epoch, when its checkpoint stands in ``folder``.

    A row: ``phase`` ("float" or "quantized"), ``epoch`` (from 1), ``train_loss``, ``train_accuracy``,
    ``test_loss``, ``test_accuracy`` (nats; percent), ``lr``, ``seconds``, ``samples_per_second``; quantized
    also ``flips`` and ``flips/LAYER``: the share in [0, 1] of weight codes that the epoch changed.

    A run that was stopped, by Ctrl-C, ``kill -9`` or a full disk, goes on from its last checkpoint when
    called again, and ends with the weights of an undisturbed run, bit for bit; the rows it already had come
    first. ``resume=False`` starts over and replaces what is there. ``checkpoint_seconds`` writes checkpoints
    within an epoch too (one process only). Nothing global changes but while an epoch is computed; the number
    of threads excepted, a run depends on its plan alone. Where the last batch of an epoch would have a single
    image per process it is left out: batch norm could not use it. Under ``torchrun`` every process calls this
    alike, and rank 0 writes.

    Several processes with the same ``batch_size`` do what one does, up to the order of sums: exactly so
    without batch norm or with it frozen, until an activation that lies within rounding of a threshold lands
    on its other level. Batch norm in training mode normalizes each process's part by itself.

    Raises ``NonFinite`` where loss or gradient is not finite, ``CheckpointError`` where the folder holds
    another plan's run or a damaged one, ``OSError`` where the disk is full.

    >>> [row["epoch"] for row in train(TrainPlan(model="mlp(widths=(8,))", epochs=2, batch_size=500))]
    [1, 2]
    """
    with joined(plan.device) as ranks:
        files = RunFolder(Path(folder)) if folder is not None else None
        own = files if ranks.first else None
        run = Run(plan, ranks, ranks.share(own and own.open(plan, resume=resume, world=ranks.world)))
        yield from map(dict, run.rows)
        while run.epoch < plan.total_epochs:
            with steady(plan, run.epoch, ranks):
                row = one_epoch(run, own, checkpoint_seconds)
            if own:
                own.save(run.state())
                own.add_row(row)
            yield dict(row)


def one_epoch(run: Run, files: RunFolder | None = None, checkpoint_seconds: float | None = None) -> Row:
    """Train one epoch, evaluate, and keep and return its row."""
    start = saved = time.perf_counter()
    if run.due_quantization:
        run.quantize()
    sums, codes, first, spent = run.resumed()
    start -= spent
    run.training_mode()
    for step, (images, labels) in enumerate(run.batches.epoch(run.epoch)):
        if step < first:
            continue
        run.set_time(step)
        logits, loss = run.forward(images, labels)
        run.backward(loss, (images, labels), step)
        run.update()
        sums += counted(loss, logits, labels)
        now = time.perf_counter()
        if run.alone and files and checkpoint_seconds is not None and now - saved >= checkpoint_seconds:
            run.require_finite_weights(step)
            files.save(run.state(run.middle_of_epoch(step + 1, sums, codes, now - start)))
            saved = now
    trained = time.perf_counter() - start
    run.require_finite_weights(len(run.batches) - 1)
    run.reestimate()
    learned, tested = means(run.ranks.total(sums)), run.test()
    row: Row = {
        "phase": run.phase,
        "epoch": run.epoch + 1,
        "train_loss": learned["loss"],
        "train_accuracy": learned["accuracy"],
        "test_loss": tested["loss"],
        "test_accuracy": tested["accuracy"],
        "lr": run.rate(0),
        "seconds": time.perf_counter() - start,
        "samples_per_second": run.samples / trained,
        **run.flips(codes),
    }
    run.finish(row)
    return row


@contextlib.contextmanager
def steady(plan: TrainPlan, epoch: int, ranks: Ranks) -> Iterator[None]:
    """Chance from (seed, epoch, rank) alone and deterministic algorithms; all as it was at the end."""
    was = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    cuda = ranks.device.type == "cuda"
    if cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    (seed,) = np.random.SeedSequence([plan.seed, epoch, ranks.rank, 1]).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[ranks.device] if cuda else []):
        torch.manual_seed(int(seed) % 2**63)
        torch.use_deterministic_algorithms(True)
        memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was[0], warn_only=was[1])
            memory.fill_uninitialized_memory = filled
