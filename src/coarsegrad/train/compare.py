"""Estimators side by side: every arm with the same budget and the same seeds.

An *arm* is a recipe with its two surrogates. All arms share data, model, epochs, batch size, optimizer and
schedule; with one seed they share first weights and the order of batches, so that they are compared pair by
pair. Beside them stand the float model, trained as they are, and that float model quantized without training.
"""

import dataclasses
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coarsegrad import spec
from coarsegrad.nn import calibrate, prepare, reestimate_bn
from coarsegrad.table import Table
from coarsegrad.train import data as sources
from coarsegrad.train.health import NonFinite
from coarsegrad.train.loop import evaluate, load_run, train
from coarsegrad.train.plan import PLACES, TrainPlan, read_config
from coarsegrad.view.whole import write_whole

Row = dict[str, Any]

CALIBRATION = 1024  # training images that the untrained row is calibrated on
TUNING_SEED = 1000  # added to the first seed: trials share no seed with what is compared
HELD_OUT = 5  # every fifth training image is held out while learning rates are tried
_OF_ARM = ("recipe", "weight_surrogate", "activation_surrogate", "seed")


@dataclass(frozen=True)
class Arm:
    """What a row is about. ``bits`` may be ``float``; ``kind`` is ``run``, or ``ptq`` for untrained."""

    bits: str
    weight_surrogate: str = ""
    activation_surrogate: str = ""
    kind: str = "run"

    def label(self, weights: bool = False) -> str:
        """What a reader sees; with ``weights``, also the weights' surrogate."""
        if self.bits == "float":
            return "float"
        if self.kind == "ptq":
            return f"{self.bits} calibrated only"
        both = f"{self.activation_surrogate} | {self.weight_surrogate}"
        return f"{self.bits} {both if weights else self.activation_surrogate}"


@dataclass(frozen=True)
class Comparison:
    """What is compared: ``bits`` x ``surrogates`` (of activations) x ``weight_surrogates`` x ``seeds``.

    ``base`` says everything else; its own recipe and surrogates stand for nothing, its seed is the first one.
    With ``base.pretrain_epochs`` one float model per seed is trained first, and every arm, the float one too,
    starts from it. ``tune``: learning rates tried for each arm.

    Raises ``ValueError`` for unknown names and for bits that nothing can have.

    >>> [arm.label() for arm in Comparison(surrogates=("relu", "identity")).arms]
    ['w1a2 relu', 'w1a2 identity']
    """

    base: TrainPlan = field(default=TrainPlan(recipe="w1a2"))
    bits: tuple[str, ...] = ("w1a2",)
    surrogates: tuple[str, ...] = ("clipped_relu", "relu", "identity")
    weight_surrogates: tuple[str, ...] = ("usual",)
    seeds: int = 3
    tune: int = 0

    def __post_init__(self):
        for name in ("bits", "surrogates", "weight_surrogates"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, name, tuple(dict.fromkeys(value)))
            if not value or not all(isinstance(v, str) and v for v in value):
                raise ValueError(f"Comparison({name}=...) lists one name or more, got {getattr(self, name)}")
        for name, least in (("seeds", 1), ("tune", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"Comparison({name}=...) is a whole number, {least} or more, got {value!r}")
        if "float" in self.bits:
            raise ValueError("the float model always stands beside the others: leave float out of bits")
        for arm in self.arms:
            self.plan(arm, self.base.seed)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The quantized ones, in the order given."""
        return tuple(Arm(b, w, a) for b in self.bits for w in self.weight_surrogates for a in self.surrogates)

    @property
    def all_seeds(self) -> range:
        """``seeds`` of them from the first."""
        return range(self.base.seed, self.base.seed + self.seeds)

    def plan(self, arm: Arm, seed: int, **changes: Any) -> TrainPlan:
        """How this arm is trained with this seed, pretraining apart."""
        changes = {"seed": seed, "pretrain_epochs": 0, **changes}
        if arm.bits == "float":
            return replace(self.base, recipe=None, latent=(), **changes)
        return replace(
            self.base,
            recipe=arm.bits,
            weight_surrogate=arm.weight_surrogate,
            activation_surrogate=arm.activation_surrogate,
            **changes,
        )

    def values(self) -> dict[str, Any]:
        """Every setting as a plain value, the base's among them."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "base"}
        base = {k: v for k, v in self.base.values().items() if k not in _OF_ARM[:3]}
        return {**own, **base}

    def write(self) -> str:
        """All of it as a TOML table, which `read` reads."""
        own = {k: v for k, v in self.values().items() if k not in self.base.values()}
        lists = "".join(
            f"{k} = {list(v) if isinstance(v, tuple) else v}\n".replace("'", '"') for k, v in own.items()
        )
        rest = [line for line in self.base.write().splitlines() if line.split(" ")[0] not in _OF_ARM[:3]]
        return lists + "\n".join(rest) + "\n"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Comparison":
        """From plain values; those that are not its own fields are the base plan's."""
        own = {f.name for f in dataclasses.fields(cls)} - {"base"}
        mine: Row = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in own}
        rest = {k: v for k, v in values.items() if k not in own}
        for key in _OF_ARM[:3]:
            if key in rest:
                raise ValueError(f"a comparison has no {key!r}: list bits, surrogates and weight_surrogates")
        return cls(base=TrainPlan.of({"recipe": "w1a2", **rest}), **mine)

    @classmethod
    def read(cls, path: str | Path) -> "Comparison":
        """From a TOML or YAML file."""
        return cls.of(read_config(path))


@dataclass(frozen=True)
class Task:
    """One training of ``arm``. ``kind``: ``pretrain``, ``trial`` (of a learning rate) or ``run``.

    ``stands_for`` says what a file that the plan names holds, whatever its path.
    """

    kind: str
    arm: Arm
    plan: TrainPlan
    stands_for: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """Depends on the work, not on where it is done."""
        work = {k: v for k, v in self.plan.values().items() if k not in PLACES}
        return spec.content_id({"kind": self.kind, **work, **dict(self.stands_for)})

    def named(self) -> Row:
        """What each of its rows says about it."""
        arm = {k: v for k, v in dataclasses.asdict(self.arm).items() if k != "kind"}
        return {**arm, "seed": self.plan.seed, "rate": self.plan.lr, "task": self.id}


def arm_of(row: Row) -> Arm:
    """The arm a row of results is about."""
    kind = "ptq" if row.get("epoch") == 0 else "run"
    return Arm(row["bits"], row.get("weight_surrogate", ""), row.get("activation_surrogate", ""), kind)


def table_of(folder: str | Path) -> Table:
    """The results of a comparison."""
    return Table(Path(folder) / "results.sqlite")


def compare(comparison: Comparison, folder: str | Path, jobs: int = 1) -> Iterator[Row]:
    """Do what is not done yet, and yield a row per epoch, with ``done`` of ``total`` epochs in all.

    Finished tasks are in ``results.sqlite`` and are not repeated; one that was cut short goes on from its
    checkpoint. A row with ``known=True`` stands for a whole task found there. An arm whose numbers stop being
    finite is a result: a row of kind ``failed``.

    With ``jobs`` above 1 as many tasks are trained at once, each in a process of its own with its share of
    torch's threads: for small models, whose single step does not keep the cores busy. The results are those
    of ``jobs=1`` up to the number of threads. A script that calls this so is guarded by ``if __name__ ==
    "__main__"``, as Python's processes ask for.

    Raises ``ValueError`` where the folder holds another comparison or a run (more seeds, bits or surrogates
    of the same one are welcome), ``ChildProcessError`` where one was killed, for want of memory perhaps.
    """
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise ValueError(f"compare(jobs=...) is a whole number, 1 or more, got {jobs!r}")
    folder = Path(folder)
    open_folder(comparison, folder)
    work = _Work(comparison, folder, jobs)
    for stage in (work.pretraining, work.trials, work.runs):
        yield from work.each(list(stage()))
    yield from work.untrained()


def open_folder(comparison: Comparison, folder: Path) -> None:
    """Write the configuration into the folder; refuse what does not belong together."""
    if (folder / "plan.toml").exists():
        raise ValueError(f"{folder} holds a single run: choose another folder for the comparison")
    file = folder / "comparison.toml"
    if file.exists():
        there, here = Comparison.read(file).values(), comparison.values()
        grows = ("bits", "surrogates", "weight_surrogates", "seeds", "data_folder", "device")
        differ = [
            f"{k}={there.get(k)!r} there, {v!r} here"
            for k, v in here.items()
            if there.get(k) != v and k not in grows
        ]
        if differ:
            raise ValueError(
                f"{folder} holds another comparison ({'; '.join(differ)}): choose another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, comparison.write())


@dataclass
class _Work:
    """A comparison under way."""

    comparison: Comparison
    folder: Path
    jobs: int = 1
    done: int = 0
    float_arm: Arm = Arm("float")
    starts: dict[int, Task] = field(default_factory=dict)
    rates: dict[Arm, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.table = table_of(self.folder)
        c = self.comparison
        arms, base = len(c.arms) + 1, c.base
        self.total = c.seeds * (base.pretrain_epochs + arms * base.epochs) + c.tune * arms * base.epochs
        self.total += base.pretrain_epochs if c.tune else 0

    def pretraining(self) -> Iterator[Task]:
        """A float model per seed, from which all arms start."""
        c = self.comparison
        if c.base.pretrain_epochs:
            seeds = [*c.all_seeds, *([c.base.seed + TUNING_SEED] if c.tune else [])]
            for seed in seeds:
                task = Task(
                    "pretrain", self.float_arm, c.plan(self.float_arm, seed, epochs=c.base.pretrain_epochs)
                )
                self.starts[seed] = task if seed in c.all_seeds else self.on_held_out(task)
                yield self.starts[seed]

    def trials(self) -> Iterator[Task]:
        """The learning rates of each arm, on the held-out part."""
        c = self.comparison
        for arm in (self.float_arm, *c.arms):
            for lr in learning_rates(c.base.lr, c.tune):
                task = Task("trial", arm, c.plan(arm, c.base.seed + TUNING_SEED, lr=lr))
                yield self.started(self.on_held_out(task))

    def runs(self) -> Iterator[Task]:
        """What is compared, seed by seed, each arm with the rate that its trials chose."""
        self.rates = best_rates(self.table.rows(kind="trial"), self.comparison)
        for seed in self.comparison.all_seeds:
            for arm in (self.float_arm, *self.comparison.arms):
                yield self.run_of(arm, seed)

    def run_of(self, arm: Arm, seed: int) -> Task:
        c = self.comparison
        return self.started(Task("run", arm, c.plan(arm, seed, lr=self.rates.get(arm, c.base.lr))))

    def started(self, task: Task) -> Task:
        """The task, from its seed's pretrained float model where there is one."""
        origin = self.starts.get(task.plan.seed)
        if origin is None:
            return task
        plan = replace(task.plan, start=str(self.folder_of(origin) / "checkpoint.pt"))
        return replace(task, plan=plan, stands_for=(*task.stands_for, ("start", origin.id)))

    def on_held_out(self, task: Task) -> Task:
        """The task, on the training images without the held-out ones, which become its test images."""
        plan = replace(task.plan, data=f"npz:{self.held_out()}", data_folder=None)
        return replace(
            task, plan=plan, stands_for=(("data", f"{task.plan.data} without every {HELD_OUT}th"),)
        )

    def folder_of(self, task: Task) -> Path:
        return self.folder / "runs" / task.id

    def each(self, tasks: list[Task]) -> Iterator[Row]:
        """Train those that are not known; keep the rows of each as soon as it is finished."""
        ahead = []
        for task in tasks:
            if self.table.done(task.id):
                self.done += task.plan.total_epochs
                yield {"known": True, "kind": task.kind, **task.named(), **self.progress()}
            else:
                ahead.append(task)
        if min(self.jobs, len(ahead)) > 1:
            yield from self.side_by_side(ahead)
            return
        for task in ahead:
            rows, started = [], time.time()
            for row in trained(task, self.folder_of(task)):
                rows.append(row)
                yield self.shown(row)
            self.keep(task, rows, time.time() - started)

    def side_by_side(self, tasks: list[Task]) -> Iterator[Row]:
        """The same, in ``jobs`` processes. They end with this one, whatever ends it."""
        context = multiprocessing.get_context("spawn")
        messages, (line, held) = context.Queue(), context.Pipe(duplex=False)
        share = max(1, torch.get_num_threads() // self.jobs)
        own = messages, line, share
        with held, ProcessPoolExecutor(min(self.jobs, len(tasks)), context, _join, own) as pool:
            try:
                waiting = {pool.submit(_train_here, task, self.folder_of(task)): task for task in tasks}
                seen = {task.id: 0 for task in tasks}
                while waiting:
                    with suppress(queue.Empty):
                        task_id, row = messages.get(timeout=0.1)
                        if task_id in seen:
                            seen[task_id] += 1
                            yield self.shown(row)
                    for future in [future for future in waiting if future.done()]:
                        task = waiting.pop(future)
                        rows, seconds = future.result()
                        for row in rows[seen.pop(task.id) :]:
                            yield self.shown(row)
                        self.keep(task, rows, seconds)
            except BrokenProcessPool:
                raise ChildProcessError(
                    "a process that trained was killed; if memory was short, take fewer --jobs. "
                    "The same command goes on from what is finished"
                ) from None
            except BaseException:
                held.close()
                raise

    def shown(self, row: Row) -> Row:
        self.done += row["kind"] != "failed"
        return {**row, **self.progress()}

    def keep(self, task: Task, rows: list[Row], seconds: float) -> None:
        """A finished task goes into the table. One that failed is a single row: its epochs count no more."""
        failed = rows[-1]["kind"] == "failed"
        self.done += task.plan.total_epochs - (len(rows) - failed)
        kept = [{k: v for k, v in row.items() if k != "kind"} for row in (rows[-1:] if failed else rows)]
        meta = {"plan": task.plan.values(), "seconds": seconds, "folder": f"runs/{task.id}"}
        self.table.append(task.id, kept, kind=rows[-1]["kind"], meta=meta)

    def untrained(self) -> Iterator[Row]:
        """The trained float models, quantized and calibrated, without training."""
        c = self.comparison
        for seed in c.all_seeds:
            task = self.run_of(self.float_arm, seed)
            if self.table.rows(kind="failed", task_id=task.id):
                continue
            for bits in c.bits:
                plan = replace(task.plan, recipe=bits)
                choices = {
                    k: v for k, v in plan.values().items() if k in ("first", "last", "rules", "activations")
                }
                task_id = spec.content_id({"kind": "ptq", "float": task.id, "bits": bits, **choices})
                row = {"bits": bits, "seed": seed, "task": task_id}
                if self.table.done(task_id):
                    row["known"] = True
                else:
                    row |= quantized_float(plan, self.folder_of(task))
                    self.table.append(task_id, [row], kind="ptq", meta={"plan": plan.values()})
                yield {"kind": "ptq", **row, **self.progress()}

    def progress(self) -> Row:
        return {"done": self.done, "total": self.total}

    def held_out(self) -> Path:
        """The file of the training images, every fifth of them for testing."""
        file = self.folder / "tuning.npz"
        if not file.exists():
            base = self.comparison.base
            found = sources.load(base.data, folder=base.data_folder)
            test = torch.arange(len(found.train_images)) % HELD_OUT == HELD_OUT - 1
            arrays = {
                "x_train": found.train_images[~test], "y_train": found.train_labels[~test],
                "x_test": found.train_images[test], "y_test": found.train_labels[test],
            }  # fmt: skip
            beside = file.with_name(".tuning.part.npz")
            np.savez(beside, classes=np.array(found.classes), **{k: v.numpy() for k, v in arrays.items()})
            beside.replace(file)
        return file


def trained(task: Task, folder: Path) -> Iterator[Row]:
    """Its rows, each with its kind; the last is of kind ``failed`` where numbers stop being finite."""
    try:
        for row in train(task.plan, folder):
            yield {"kind": task.kind, **task.named(), **row}
    except NonFinite as error:
        if task.kind == "pretrain":
            raise
        yield {"kind": "failed", **task.named(), "reason": str(error)}


_told: list[Any] = []  # in a process of `side_by_side`: the queue that its parent reads


def _join(messages: Any, line: Any, threads: int) -> None:
    """Begin a process of `side_by_side`. It ends at once when the other end of ``line`` is closed or gone."""

    def end_with_parent() -> None:
        with suppress(EOFError, OSError):
            line.recv()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which says what it means
    torch.set_num_threads(threads)
    messages.cancel_join_thread()  # nobody may be left to read them
    _told.append(messages)


def _train_here(task: Task, folder: Path) -> tuple[list[Row], float]:
    """Train in this process: rows are told as they come, and all of them returned."""
    rows, started = [], time.time()
    for row in trained(task, folder):
        rows.append(row)
        _told[0].put((task.id, row))
    return rows, time.time() - started


def quantized_float(plan: TrainPlan, folder: Path) -> Row:
    """Test loss and accuracy of the float run in ``folder``, quantized as ``plan`` says, without training.

    Ranges and batch norm statistics come from ``CALIBRATION`` training images, in the order of epoch 0.
    """
    _, model, _ = load_run(folder)
    found = sources.load(plan.data, folder=plan.data_folder).to(plan.device)
    batches = found.train_batches(plan.batch_size, seed=plan.seed, augment=sources.Augment())
    images = [
        x for _, (x, _) in zip(range(-(-CALIBRATION // plan.batch_size)), batches.epoch(0), strict=False)
    ]
    recipe = plan.read_recipe()
    assert recipe is not None
    quantized = prepare(model.to(plan.device), recipe, images[0])
    calibrate(quantized, images)
    reestimate_bn(quantized, images)
    scores = evaluate(quantized.eval(), found.test_batches().epoch(0), plan.device)
    return {"test_loss": scores["loss"], "test_accuracy": scores["accuracy"], "epoch": 0}


def learning_rates(lr: float, number: int) -> tuple[float, ...]:
    """``number`` rates around ``lr``, each about sqrt(10) times the one before.

    >>> learning_rates(0.1, 3)
    (0.0316, 0.1, 0.316)
    """
    return tuple(float(f"{lr * 10 ** ((k - (number - 1) / 2) / 2):.3g}") for k in range(number))


def best_rates(rows: Iterable[Row], comparison: Comparison) -> dict[Arm, float]:
    """Per arm the rate of highest held-out accuracy after the last epoch; among equals, of lowest loss."""
    found: dict[Arm, tuple[float, float, float]] = {}
    rates = learning_rates(comparison.base.lr, comparison.tune)
    for row in rows:
        arm = arm_of(row)
        if row["epoch"] == comparison.base.epochs and row["rate"] in rates:
            score = (row["test_accuracy"], -row["test_loss"], row["rate"])
            found[arm] = max(found.get(arm, score), score)
    return {arm: score[2] for arm, score in found.items()}
