"""Estimators side by side: every arm with the same budget and the same seeds.

An *arm* is a recipe with its two surrogates. All arms share data, model, epochs, batch size, optimizer and
schedule; with one seed they share first weights and the order of batches, so that they are compared pair by
pair. Beside them stand the float model, trained as they are, and that float model quantized without training.
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from coarsegrad import own, spec
from coarsegrad.nn import calibrate, prepare, reestimate_bn
from coarsegrad.table import Table
from coarsegrad.train import data as sources
from coarsegrad.train.arms import Arm, Comparison, arm_of, learning_rates
from coarsegrad.train.health import NonFinite
from coarsegrad.train.loop import evaluate, load_run, train
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.pool import side_by_side
from coarsegrad.view.whole import write_whole

Row = dict[str, Any]

CALIBRATION = 1024  # training images that the untrained row is calibrated on
TUNING_SEED = 1000  # added to the first seed: trials share no seed with what is compared


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
        return spec.content_id({"kind": self.kind, **self.plan.work(), **dict(self.stands_for)})

    def named(self) -> Row:
        """What each of its rows says about it."""
        arm = {k: v for k, v in dataclasses.asdict(self.arm).items() if k != "kind"}
        return {**arm, "seed": self.plan.seed, "rate": self.plan.lr, "task": self.id}


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
    of the same one are welcome), ``ChildProcessError`` where a process died, for want of memory perhaps.
    """
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise ValueError(f"compare(jobs=...) is a whole number, 1 or more, got {jobs!r}")
    folder = Path(folder).resolve()  # paths within it are in the plans of tasks that start from others
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
    plans = (comparison.plan(arm, comparison.base.seed) for arm in comparison.arms)
    files = (source for plan in plans for source in plan.own_sources())
    own.keep(files, folder, mend="choose another folder for the comparison")
    write_whole(file, comparison.write())


@dataclass
class _Work:
    """A comparison under way."""

    comparison: Comparison
    folder: Path
    jobs: int = 1
    done: int = 0
    float_arm: Arm = field(default=Arm("float"))
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
                self.starts[seed] = task if seed in c.all_seeds else on_held_out(task)
                yield self.starts[seed]

    def trials(self) -> Iterator[Task]:
        """The learning rates of each arm, on the held-out part."""
        c = self.comparison
        for arm in (self.float_arm, *c.arms):
            for lr in learning_rates(c.base.lr, c.tune):
                task = Task("trial", arm, c.plan(arm, c.base.seed + TUNING_SEED, lr=lr))
                yield self.started(on_held_out(task))

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

    def folder_of(self, task: Task) -> Path:
        return _folder(self.folder, task)

    def each(self, tasks: list[Task]) -> Iterator[Row]:
        """Train those that are not known; keep the rows of each as soon as it is finished."""
        ahead = []
        for task in tasks:
            if self.table.done(task.id):
                self.done += task.plan.total_epochs
                yield {"known": True, "kind": task.kind, **task.named(), **self.progress()}
            else:
                ahead.append(task)
        rows: list[list[Row]] = [[] for _ in ahead]
        for index, row, seconds in self.trained(ahead):
            if row is None:
                self.keep(ahead[index], rows[index], seconds)
            else:
                rows[index].append(row)
                yield self.shown(row)

    def trained(self, tasks: list[Task]) -> Iterator[tuple[int, Row | None, float]]:
        """Rows as `side_by_side` tells them, also where there is one job."""
        if min(self.jobs, len(tasks)) > 1:
            base = self.comparison.base
            sources.load(base.data, folder=base.data_folder)  # downloaded once, not by every process
            yield from side_by_side(partial(_rows, self.folder), tasks, self.jobs)
            return
        for index, task in enumerate(tasks):
            started = time.monotonic()
            yield from ((index, row, 0.0) for row in _rows(self.folder, task))
            yield index, None, time.monotonic() - started

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


def on_held_out(task: Task) -> Task:
    """The task, tested on the held-out part of the training images."""
    return replace(task, plan=replace(task.plan, held_out=True))


def _rows(folder: Path, task: Task) -> Iterator[Row]:
    """Train: rows with their kind; the last is of kind ``failed`` where numbers stop being finite."""
    try:
        for row in train(task.plan, _folder(folder, task)):
            yield {"kind": task.kind, **task.named(), **row}
    except NonFinite as error:
        if task.kind == "pretrain":
            raise
        yield {"kind": "failed", **task.named(), "reason": str(error)}


def _folder(folder: Path, task: Task) -> Path:
    return folder / "runs" / task.id


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
