"""Rows as they would be if every claim that is expected to hold held: 100 runs a cell, preset paper."""

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.studies.long2021 import grid
from coarsegrad.studies.long2021.runs import problem
from coarsegrad.theory.classification import admissible, lean, unreachable

STEPS = {"relu": 5.0, "reverse_exponential": 5.3, "log_tailed_relu": 5.1}


def _row(kind, settings):
    given, name = problem(settings), settings["surrogate"]
    surrogate = SURROGATES[name]().over([float(i) for i in range(int(given.top) + 1)])
    leaning = lean(surrogate, 8.0)
    impossible = unreachable(given)
    lost = (
        impossible or abs(leaning) < 0.01 or given.noise or given.angle in (2.0, 5.0) or given.neurons == 4
        or (settings.get("missing") in ("own neurons", "all neurons") and given.angle == 90)
    )  # fmt: skip
    solved, answer = 0 if lost else 100, admissible(surrogate, 8.0)
    log = STEPS.get(name, 5.0) + (90 - given.angle) / 90
    return {
        **{key: value for key, value in settings.items() if key != "radii"},
        **{key: getattr(given, key) for key in (
            "classes", "size", "angle", "shared", "neurons", "bits", "rounding", "weights", "dimension",
            "noise",
        )},
        "solved": solved, "right": solved, "still": 0, "loss": 1.2 * (not solved),
        "least_loss": 1.1 * (not solved), "accuracy": 0.99 if lost else 1.0,
        "accuracy_low": 0.985 if lost else 1.0, "accuracy_high": 0.995 if lost else 1.0, "largest": 8.0,
        "lean": leaning, "everywhere": admissible(surrogate).answer, "answer": answer.answer,
        "why": answer.why,
        "least_slope": answer.bounds and answer.bounds[0], "impossible": impossible,
        "independent": given.independent, "log_mean": log, "log_low": log - 0.05, "log_high": log + 0.05,
        "made_50": 150.0,
    }  # fmt: skip


def ideal():
    found = {}
    for task in grid.tasks("paper", {}):
        found.setdefault(task.kind, []).append(_row(task.kind, task.settings))
    return found


IDEAL = ideal()
