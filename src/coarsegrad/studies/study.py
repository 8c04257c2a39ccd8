"""The frame of a study: tasks with content ids, one table, a run that goes on where it was killed."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from coarsegrad import own, spec
from coarsegrad.studies.verdict import Claim, Row, Rows, Verdict, judge
from coarsegrad.table import Table
from coarsegrad.view import Figure, TableView

PRESETS = ("smoke", "quick", "short", "paper", "extended")
Measure = Callable[[Mapping[str, Any], Path], Iterable[Row]]
_GLANCE_SECONDS = 5.0


@dataclass(frozen=True)
class Task:
    """One piece of work: ``measure(settings, place)`` yields its rows, plain numbers and texts.

    Args:
        kind: under which its rows are found.
        measure: a function of a module, so that another process finds it too.
        settings: plain values (numbers, texts, tuples of them) that decide the rows.
        version: of ``measure``: raise it when the same settings give other rows.
        where: settings that do not decide the rows, such as the folder of the data.
        says: what it is, for a reader; by default its settings.

    ``place`` is a folder that is this task's alone, for what a long one keeps to go on after a kill; it is
    made by the task, if it wants one. On a cluster it is the worker's, and goes with the task or the worker:
    a task done again there starts from nothing. Each row is stored with the plain settings beside it.
    """

    kind: str
    measure: Measure
    settings: Mapping[str, Any]
    version: int = 1
    where: Mapping[str, Any] = field(default_factory=dict)
    says: str = ""

    @property
    def id(self) -> str:
        """Depends on the work, not on where it is done.

        >>> a, b = (Task("draw", print, {"seed": 1}, where={"data_folder": f}) for f in "ab")
        >>> a.id == b.id != Task("draw", print, {"seed": 1}, version=2).id
        True
        """
        name = self.measure.__name__
        return spec.content_id(
            {"kind": self.kind, "measure": name, "version": self.version, "settings": self.settings}
        )

    @property
    def text(self) -> str:
        """What a reader is shown of it."""
        return f"{self.kind}: {self.says or ', '.join(f'{k} {v}' for k, v in self.settings.items())}"


@dataclass(frozen=True)
class Chapter:
    """A part of the page: text as `coarsegrad.view.Text` reads it, tables, figures by their file's name."""

    title: str
    text: str = ""
    tables: tuple[TableView, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    columns: int = 2
    after: str = ""
    """Text below the figures."""
    code: str = ""
    """Text in a typewriter face, as it is."""


@dataclass(frozen=True)
class Study:
    """What is done about a paper.

    Args:
        name: as on the command line, author and year.
        title: in a sentence.
        paper: authors, place, year, arXiv number.
        presets: what each takes, in words; the names are ``PRESETS``.
        tasks: (preset, options) -> tasks; ``options`` hold what the command line says beside the preset:
            ``data_folder``, and ``own``, the written form of a surrogate; None where it is not said.
        claims: with margins and expected verdicts, committed before the run that is published.
        story: rows -> chapters; a pure function, that also speaks of what is not there yet.
        takes: the options it knows; another that is said is an error.
        glance: rows so far -> a line told beside the progress, such as a curve as it forms; cheap, for it is
            asked every few seconds from the first finished task on.
        then: (preset, options, rows of ``tasks``) -> further tasks, where what is done next depends on what
            was measured; planned when all of ``tasks`` are done.
    """

    name: str
    title: str
    paper: str
    presets: Mapping[str, str]
    tasks: Callable[[str, Mapping[str, Any]], Sequence[Task]]
    claims: tuple[Claim, ...]
    story: Callable[[Rows], Sequence[Chapter]]
    takes: tuple[str, ...] = ()
    glance: Callable[[Rows], str] | None = None
    then: Callable[[str, Mapping[str, Any], Rows], Sequence[Task]] | None = None

    def planned(
        self, preset: str, options: Mapping[str, Any] | None = None, table: Table | None = None
    ) -> list[Task]:
        """The tasks of a preset: of its first stage, and with a ``table`` that holds all of these, of both.

        Raises ``ValueError`` for a preset that is not known, and for tasks alike.
        """
        if preset not in self.presets:
            raise ValueError(f"{self.name} has no preset {preset!r}; it has: {', '.join(self.presets)}")
        for name, value in (options or {}).items():
            if value is not None and name not in self.takes:
                raise ValueError(f"{self.name} takes no --{name.replace('_', '-')}: leave it away")
        tasks = list(self.tasks(preset, options or {}))
        if self.then is not None and table is not None and {task.id for task in tasks} <= _known(table):
            tasks += self.then(preset, options or {}, _rows_of(tasks, table))
        seen = set()
        for task in tasks:
            if task.id in seen:
                raise ValueError(f"{self.name}, preset {preset}: a task is planned twice: {task.text}")
            seen.add(task.id)
        return tasks


def table_of(folder: str | Path) -> Table:
    """The results in a study's folder."""
    return Table(Path(folder) / "results.sqlite")


def run(
    study: Study,
    preset: str,
    folder: str | Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Row]:
    """Do the tasks that are not done yet; yield a row per task, with ``done`` of ``total``.

    A finished task is in ``results.sqlite``, whole, and is never repeated, by this preset or another; a task
    found there has ``known=True``. With ``workers`` above 1 as many are done at once, in processes of their
    own; a script that calls this so is guarded by ``if __name__ == "__main__"``. With a ``scheduler`` the
    workers of a Dask cluster do them (`coarsegrad.studies.cluster.Cluster`); this process alone writes. Now
    and then a row has ``glance``, the study's line about the rows so far.

    Raises ``ValueError`` for an unknown preset, a folder with the results of another study, or a scheduler
    that is not there; ``FileNotFoundError`` before the first task where the files of a data set that a task
    trains on are not in ``data_folder`` (with a scheduler it is the worker that says so). What a task raises
    comes through, and what was finished before stands.
    """
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise ValueError(f"run(workers=...) is a whole number, 1 or more, got {workers!r}")
    if scheduler is not None and workers > 1:
        raise ValueError("a scheduler has its own workers: give workers or scheduler, not both")
    if scheduler is not None and own.sources():
        files = ", ".join(source.path for source in own.sources())
        raise ValueError(
            f"{files} does not travel to a cluster's workers: leave --scheduler (or --with) away"
        )
    tasks = study.planned(preset, options)
    folder = Path(folder).resolve()  # however it is written: a task that goes on names files in it
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the results")
    _refuse_anothers(study, tasks, folder)
    with _measuring(folder, workers, scheduler) as measured:
        folder.mkdir(parents=True, exist_ok=True)
        own.keep(own.sources(), folder, mend="", replace=True)
        table = table_of(folder)
        if scheduler is None:  # else the files are the workers'
            _require_files(_ahead(study.planned(preset, options, table), table))
        glances = _Glances(study.glance, results(study, preset, folder, options) if study.glance else {})
        told = 0
        while told < len(tasks := study.planned(preset, options, table)):
            yield from _done(tasks, told, measured, table, glances, study.name)
            told = len(tasks)


def _done(
    tasks: list[Task], told: int, measured: Callable, table: Table, glances: "_Glances", name: str
) -> Iterator[Row]:
    """Do what of the tasks is not known; a row for each, but for the first ``told``, which are."""
    ahead, done = _ahead(tasks, table), told
    waiting = {task.id for task in ahead}
    for task in tasks[told:]:
        if task.id not in waiting:
            done += 1
            yield {"known": True, **_named(task), "done": done, "total": len(tasks)}
    rows: list[list[Row]] = [[] for _ in ahead]
    for index, row, about in measured(ahead):
        if row is not None:
            rows[index].append(row)
            continue
        task, done = ahead[index], done + 1
        meta = {**about, "study": name, "settings": {k: str(v) for k, v in task.settings.items()}}
        table.append(task.id, rows[index], kind=task.kind, meta=meta)
        seen = glances.of(task, rows[index], done == len(tasks))
        yield {**_named(task), "seconds": about["seconds"], "done": done, "total": len(tasks), **seen}
        rows[index] = []


def results(
    study: Study, preset: str, folder: str | Path, options: Mapping[str, Any] | None = None
) -> dict[str, list[Row]]:
    """The rows of the preset's finished tasks, by kind; only kinds that have some."""
    table = table_of(folder)
    return _rows_of(study.planned(preset, options, table), table)


def left(study: Study, preset: str, folder: str | Path, options: Mapping[str, Any] | None = None) -> int:
    """How many of the preset's tasks are not in the folder; of those that follow, as far as is known."""
    table = table_of(folder)
    return len(_ahead(study.planned(preset, options, table), table))


def _ahead(tasks: Iterable[Task], table: Table) -> list[Task]:
    """Those that are not done."""
    known = _known(table)
    return [task for task in tasks if task.id not in known]


def _known(table: Table) -> set[str]:
    return {task["task_id"] for task in table.tasks()}


def _rows_of(tasks: Iterable[Task], table: Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for task in tasks:
        for row in table.rows(task_id=task.id):
            found.setdefault(task.kind, []).append(row)
    return found


def cost(
    study: Study, preset: str, folder: str | Path, options: Mapping[str, Any] | None = None
) -> dict[str, dict[str, float]]:
    """Per kind of task what it took when it was run: ``tasks``, ``seconds`` of them added up, ``cores``.

    ``cores`` is threads times jobs, the most that were busy at once.
    """
    table = table_of(folder)
    about = {task["task_id"]: task["meta"] for task in table.tasks()}
    found: dict[str, dict[str, float]] = {}
    for task in study.planned(preset, options, table):
        if task.id in about:
            meta = about[task.id]
            sums = found.setdefault(task.kind, {"tasks": 0, "seconds": 0.0, "cores": 0})
            sums["tasks"] += 1
            sums["seconds"] += meta["seconds"]
            sums["cores"] = max(sums["cores"], meta["jobs"] * meta["threads"])
    return found


def verdicts(study: Study, rows: Rows, preset: str) -> list[Verdict]:
    """Every claim judged by these rows."""
    return [judge(claim, rows, preset) for claim in study.claims]


def _refuse_anothers(study: Study, tasks: Sequence[Task], folder: Path) -> None:
    """Raise where the results are of something else, whose report would be overwritten."""
    there = table_of(folder).tasks()
    names = {task["meta"].get("study", study.name) for task in there} - {study.name}
    strange = there and {task["kind"] for task in there}.isdisjoint(task.kind for task in tasks)
    if names or strange:
        whose = ", ".join(sorted(names)) or "something else"
        raise ValueError(f"{folder} holds results of {whose}, not of {study.name}: name another folder")


def _named(task: Task) -> Row:
    return {"task": task.id, "kind": task.kind, "text": task.text}


@contextmanager
def _measuring(folder: Path, workers: int, scheduler: str | None) -> Iterator[Callable]:
    """``measured(tasks)`` yields ``(index, row, {})``, and at a task's end ``(index, None, about it)``."""
    if scheduler is None:
        yield partial(_measured_here, folder, workers)
        return
    from coarsegrad.studies.cluster import Cluster

    with Cluster(scheduler) as cluster:
        yield partial(cluster.side_by_side, _rows)


def _measured_here(folder: Path, workers: int, tasks: list[Task]) -> Iterator[tuple[int, Row | None, Row]]:
    jobs = max(1, min(workers, len(tasks)))
    about = {"jobs": jobs, "threads": max(1, torch.get_num_threads() // jobs)}
    if jobs > 1:
        from coarsegrad.train.pool import side_by_side

        for index, row, seconds in side_by_side(partial(_rows, folder), tasks, jobs):
            yield index, row, {"seconds": seconds, **about}
        return
    for index, task in enumerate(tasks):
        started = time.monotonic()
        yield from ((index, row, {}) for row in _rows(folder, task))
        yield index, None, {"seconds": time.monotonic() - started, **about}


def _rows(folder: Path, task: Task) -> Iterator[Row]:
    beside = {k: v for k, v in task.settings.items() if isinstance(v, int | float | str | None)}
    for row in task.measure({**task.settings, **task.where}, folder / "work" / task.id):
        yield {**beside, **row}


@dataclass
class _Glances:
    """The rows so far, and a study's line about them every few seconds."""

    glance: Callable[[Rows], str] | None
    rows: dict[str, list[Row]]
    last: float = -math.inf

    def of(self, task: Task, rows: list[Row], at_the_end: bool) -> Row:
        if self.glance is None:
            return {}
        self.rows.setdefault(task.kind, []).extend(rows)
        if not at_the_end and time.monotonic() < self.last + _GLANCE_SECONDS:
            return {}
        line, self.last = self.glance(self.rows), time.monotonic()
        return {"glance": line}


def _require_files(tasks: Iterable[Task]) -> None:
    """Raise ``FileNotFoundError`` where a data set's files are not in the folder that a task is to read."""
    from coarsegrad.train.data import SOURCES

    wanted = {(task.settings.get("data"), task.where.get("data_folder")) for task in tasks}
    for name, folder in wanted:
        files = getattr(SOURCES.get(str(name)), "files", None)
        if folder is not None and files is not None:
            files.require(folder)


def check_data(preset: str, data_folder: str | None, files: str) -> None:
    """Raise ``ValueError`` unless the folder of data that a preset trains networks on is there."""
    if data_folder is None or not Path(data_folder).is_dir():
        raise ValueError(
            f"the preset {preset} trains networks: say --data-folder FOLDER, one with the files of {files}"
            f"{'' if data_folder is None else f'; {data_folder} does not exist'}"
        )
