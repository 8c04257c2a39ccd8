"""One cell of the study: a problem, a surrogate, many starts; what theory says, and what the runs did."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from coarsegrad import own, spec
from coarsegrad.measure import mean_interval
from coarsegrad.problem.subspaces import Subspaces
from coarsegrad.sim import classify
from coarsegrad.studies.verdict import Row
from coarsegrad.theory.classification import admissible, lean, unreachable

Settings = Mapping[str, Any]
MISSING = ("one neuron", "own neurons", "all neurons")
"""Whose component on class 0's subspace is missing at the start: one's that serves it, theirs, or all's."""


def problem(settings: Settings) -> Subspaces:
    """Of the settings that are its fields."""
    names = {field.name for field in fields(Subspaces)}
    return Subspaces(**{key: value for key, value in settings.items() if key in names})


def cell(settings: Settings, place: Path) -> Iterator[Row]:
    """What became of the runs of one cell.

    The surrogate is stretched over the levels; the problem's fields stand beside the numbers. Whether it is
    admissible is asked before the runs for all pre-activations (``everywhere``), and after them for the
    interval up to the largest that any run met (``answer``). ``log_mean`` is of the steps to zero loss, those
    of runs that never got there counted as all that were made: a lower bound then.
    """
    if settings["runs"] < 2:
        raise ValueError(f"runs={settings['runs']}: an interval over starts takes two or more")
    given, runs, seed = problem(settings), settings["runs"], settings["seed"]
    surrogate = own.surrogate(settings["surrogate"]).over([float(i) for i in range(int(given.top) + 1)])
    everywhere = admissible(surrogate).answer
    start, whom = given.starts(runs, seed), settings.get("missing")
    if whom is not None:
        mine = int((given.served == 0).sum())
        number = {"one neuron": 1, "own neurons": mine, "all neurons": given.neurons}[whom]
        start = given.without(start, 0, slice(0, number))
    found = classify(
        given, surrogate, runs=runs, steps=settings["steps"], step_size=settings["step_size"], seed=seed,
        start=start,
    )  # fmt: skip
    largest = float(found.largest.max())
    answer, solved = admissible(surrogate, largest), found.solved
    made = torch.where(solved, found.steps, settings["steps"]).double()
    logs = mean_interval((made + 1).log().tolist())
    right = mean_interval(found.accuracy.tolist())
    row: Row = {
        "written": spec.write(surrogate), "solved": int(solved.sum()),
        "right": int((solved & (found.accuracy == 1)).sum()), "still": int((found.still & ~solved).sum()),
        "loss": float(found.loss.mean()), "least_loss": float(found.loss.min()),
        "accuracy": right.estimate, "accuracy_low": right.low, "accuracy_high": right.high,
        "largest": largest, "lean": lean(surrogate, largest), "everywhere": everywhere,
        "answer": answer.answer, "why": answer.why,
        "least_slope": answer.bounds and answer.bounds[0],
        "impossible": unreachable(given), "independent": given.independent, "method": found.method,
        "log_mean": logs.estimate, "log_low": logs.low, "log_high": logs.high, "points": given.points,
        **{field.name: getattr(given, field.name) for field in fields(given) if field.name != "radii"},
        **{f"made_{q}": float(made.quantile(q / 100)) for q in (0, 25, 50, 75, 100)},
    }  # fmt: skip
    yield row
