"""A run between two steps: all that a checkpoint holds, and what a step does with it."""

import contextlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from coarsegrad.measure import flip_ratio
from coarsegrad.nn import FakeQuantize, pairs, reestimate_bn
from coarsegrad.optim import Latent
from coarsegrad.train.build import float_model, load_data, quantized, restored, start_scales, training_mode
from coarsegrad.train.checkpoint import ANOTHER, FORMAT, CheckpointError
from coarsegrad.train.data import Batches
from coarsegrad.train.distributed import Ranks
from coarsegrad.train.health import NonFinite, Origin, finite, locate
from coarsegrad.train.objective import make_objective, means, tally
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.update import make_optimizer, set_rate

Row = dict[str, float | int | str]
REESTIMATION_BATCHES = 50


class Run:
    """A run between two epochs: everything that a checkpoint holds, and what follows from the plan."""

    def __init__(self, plan: TrainPlan, ranks: Ranks, state: dict[str, Any] | None = None):
        self.plan, self.ranks = plan, ranks
        self.data = load_data(plan).to(ranks.device)
        self.objective = make_objective(plan, self.data, ranks.device)
        self.rows: list[Row] = state["rows"] if state else []
        self.epoch: int = state["epoch"] if state else 0
        self.middle: dict[str, Any] | None = state["middle"] if state else None
        count, rest = len(self.data.train_images), len(self.data.train_images) % plan.batch_size
        lonely = 0 < rest < 2 * ranks.world and count > plan.batch_size  # batch norm needs two images
        place = {"seed": plan.seed, "rank": ranks.rank, "world": ranks.world, "drop_last": lonely}
        self.batches: Batches = self.data.train_batches(plan.batch_size, **place)
        if state:
            self._take(restored(plan, state), state["phase"])
            try:
                self.optimizer.load_state_dict(state["optimizer"])
            except (ValueError, KeyError) as error:
                raise CheckpointError(
                    f"the checkpoint's optimizer is of another version of coarsegrad ({error}): {ANOTHER}"
                ) from None
            self.scaler.load_state_dict(state["scaler"])
        else:
            self._take(float_model(plan, self.data.in_shape, len(self.data.classes)), "float")

    def state(self, middle: dict[str, Any] | None = None) -> dict[str, Any]:
        """All of it as plain tensors, numbers and text."""
        return {
            "format": FORMAT,
            "plan": self.plan.values(),
            "phase": self.phase,
            "epoch": self.epoch,
            "in_shape": tuple(self.data.in_shape),
            "classes": len(self.data.classes),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rows": self.rows,
            "middle": middle,
        }

    # The steps of an epoch, in order.

    def time(self, step: int) -> tuple[float, int]:
        """Epochs done of this phase (a fraction counts), and epochs that it has."""
        done, first = self.epoch + step / len(self.batches), self.plan.pretrain_epochs
        return (done, first) if self.epoch < first else (done - first, self.plan.epochs)

    def rate(self, step: int) -> float:
        """The plan's learning rate at a step of this epoch."""
        return self.plan.lr * self.plan.factor(*self.time(step))

    def set_time(self, step: int) -> None:
        """Learning rate and scheduled surrogates: functions of time alone, so no scheduler has a state."""
        done, epochs = self.time(step)
        set_rate(self.optimizer, self.plan.factor(done, epochs))
        for quantizer in self.scheduled:
            quantizer.set_progress(done / epochs)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the mean loss over this rank's images."""
        device = self.ranks.device.type
        with torch.autocast(
            device, torch.float16 if device == "cuda" else torch.bfloat16, enabled=self.plan.amp
        ):
            logits = self.wrapped(images)
        return logits, self.objective(images, logits, labels)

    def backward(self, loss: Tensor, batch: tuple[Tensor, Tensor], step: int) -> None:
        """Gradients of the mean over all ranks' images. Raises ``NonFinite`` before such a step is taken."""
        self.optimizer.zero_grad(set_to_none=True)
        share = self.ranks.world * len(batch[1]) / self.batches.size(step)
        self.scaler.scale(loss * share).backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.plan.grad_clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, self.plan.grad_clip)
        checked = (
            [] if self.scaler.is_enabled() else [p.grad for p in parameters]
        )  # a scaler skips such steps
        if not self.ranks.all(finite(loss, checked)):
            self._stop(loss, batch, step)

    def update(self) -> None:
        """One step of the optimizer."""
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def require_finite_weights(self, step: int) -> None:
        """Raise ``NonFinite`` where the last update overflowed, before that is saved."""
        parameters = dict(self.model.named_parameters())
        if not finite(torch.zeros((), device=self.ranks.device), parameters.values()):
            bad = next(name for name, p in parameters.items() if not torch.isfinite(p).all())
            self._raise(f"The parameter {bad} is not finite after the update", step, locate(self.model, None))

    def _stop(self, loss: Tensor, batch: tuple[Tensor, Tensor], step: int):
        what = "The gradient is not finite" if torch.isfinite(loss) else f"The loss is {loss.item()}"
        origin = locate(self.model, lambda model: self.objective(batch[0], model(batch[0]), batch[1]), batch)
        self._raise(what, step, origin)

    def _raise(self, what: str, step: int, origin: Origin):
        kept = f"What was saved after epoch {self.epoch} is kept." if self.epoch else "No epoch was finished."
        raise NonFinite(what, self.epoch + 1, step, origin, kept)

    def test(self) -> dict[str, float]:
        """Loss and accuracy on the test images, as the weights are quantized whatever a rule relaxes."""
        place = {"rank": self.ranks.rank, "world": self.ranks.world}
        hard = self.optimizer.hard() if isinstance(self.optimizer, Latent) else contextlib.nullcontext()
        with hard:
            batches = self.data.test_batches(500, **place).epoch(0)
            return means(self.ranks.total(tally(self.model, batches, self.ranks.device)))

    def flips(self, before: dict[str, Tensor]) -> Row:
        """Shares of codes that differ from those before, per layer and their mean; empty for float."""
        if not before:
            return {}
        after = self._codes()
        found = {f"flips/{name}": flip_ratio(codes, after[name]) for name, codes in before.items()}
        return {"flips": sum(found.values()) / len(found), **found}

    # Between epochs.

    def _take(self, model: nn.Module, phase: str):
        """Make this the model that is trained, with an optimizer of its own."""
        self.phase, self.model = phase, model.to(self.ranks.device)
        if self.plan.batch_norm == "sync" and self.ranks.world > 1:
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.optimizer = make_optimizer(self.plan, self.model) if phase == "quantized" else _plain(self)
        self.scaler = torch.amp.GradScaler(self.ranks.device.type, enabled=self.plan.amp and self._cuda)
        self.scheduled = [
            m for m in self.model.modules() if isinstance(m, FakeQuantize) and hasattr(m, "progress")
        ]
        self.pairs = list(pairs(self.model))
        self._wrapped: Any = None

    @property
    def wrapped(self) -> nn.Module:
        """The model that forward and backward go through: over ranks, compiled."""
        if self._wrapped is None:
            wrapped: Any = self.ranks.wrap(self.model)
            self._wrapped = torch.compile(wrapped, fullgraph=self.alone) if self.plan.compile else wrapped
        return self._wrapped

    @property
    def _cuda(self) -> bool:
        return self.ranks.device.type == "cuda"

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.ranks.world == 1

    @property
    def samples(self) -> int:
        """Images of an epoch, on all ranks."""
        return sum(map(self.batches.size, range(len(self.batches))))

    @property
    def due_quantization(self) -> bool:
        """Whether the model is float and should be no longer."""
        return self.plan.quantized and self.phase == "float" and self.epoch >= self.plan.pretrain_epochs

    def finish(self, row: Row) -> None:
        """The epoch is over."""
        self.rows.append(row)
        self.epoch, self.middle = self.epoch + 1, None

    def quantize(self) -> None:
        """From the float model to the prepared one, with its first scales and an optimizer of its own."""
        trained = self.epoch > 0 or self.plan.start is not None
        model = quantized(self.plan, self.model, self.data.in_shape)
        start_scales(training_mode(self.plan, model), self.batches.epoch(self.epoch), trained=trained)
        self._take(model, "quantized")

    def training_mode(self) -> None:
        """Training mode, but for frozen batch norms."""
        self.wrapped.train()
        training_mode(self.plan, self.model)

    def reestimate(self) -> None:
        """New batch norm statistics after the last epoch, where planned; on every rank from the same data."""
        if not self.plan.reestimate_bn or self.epoch + 1 < self.plan.total_epochs:
            return
        batches = self.data.train_batches(self.plan.batch_size, seed=self.plan.seed).epoch(self.epoch)
        reestimate_bn(
            self.model, (images for _, (images, _) in zip(range(REESTIMATION_BATCHES), batches, strict=False))
        )

    def _codes(self) -> dict[str, Tensor]:
        return {q.place.removesuffix(".weight"): q.codes(p.detach()).to(torch.uint8) for p, q in self.pairs}

    def middle_of_epoch(
        self, step: int, sums: Tensor, before: dict[str, Tensor], seconds: float
    ) -> dict[str, Any]:
        """What a checkpoint needs beside ``state`` when ``step`` steps of an epoch are done."""
        rng = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(self.ranks.device)] if self._cuda else [])
        return {"step": step, "sums": sums, "before": before, "seconds": seconds, "rng": rng}

    def resumed(self) -> tuple[Tensor, dict[str, Tensor], int, float]:
        """Tally, codes at the epoch's start, steps done and seconds spent; chance is where it was left."""
        if self.middle is None:
            return torch.zeros(3, dtype=torch.float64, device=self.ranks.device), self._codes(), 0, 0.0
        m, device = self.middle, self.ranks.device
        torch.set_rng_state(m["rng"][0])
        if self._cuda:
            torch.cuda.set_rng_state(m["rng"][1], device)
        return (
            m["sums"].to(device),
            {k: v.to(device) for k, v in m["before"].items()},
            m["step"],
            m["seconds"],
        )


def _plain(run: Run):
    """The optimizer of the float phase: the same, without rules for latents that are not there yet."""
    return make_optimizer(replace(run.plan, latent=()), run.model)
