"""A study of a few numbers, for the tests of the frame."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from coarsegrad.measure import Interval
from coarsegrad.studies.study import Chapter, Study, Task
from coarsegrad.studies.verdict import Claim, exactly
from coarsegrad.view import Figure, Line, TableView


def draw(settings, place):
    """The number, noted in a log beside the results; waits for a file where it is told to."""
    note = place.parents[1] / "log.txt"
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("a") as log:
        log.write(f"{settings['number']}\n")
    if settings["number"] == 2 and (place.parents[1] / "hang").exists():
        time.sleep(60)
    yield {"value": float(settings["number"])}
    yield {"value": settings["number"] + 0.5}


def tasks(preset, options):
    return [
        Task(
            "draw", draw, {"number": k, "several": (1, 2)}, where={"data_folder": options.get("data_folder")}
        )
        for k in range({"smoke": 2, "quick": 4, "paper": 6}[preset])
    ]


def mean(rows):
    values = [row["value"] for row in rows.get("draw", ())]
    return Interval(sum(values) / len(values), min(values), max(values)) if values else None


def story(rows):
    x = [row["value"] for row in rows.get("draw", ())]
    figure = Figure("Numbers | as [drawn]", "place", "value", [Line(range(len(x)), x)])
    return [
        Chapter(
            "Numbers", "Text.", (TableView.of(rows.get("draw", ())),), {"numbers": figure}, after="After."
        )
    ]


def claim(name, least, expected="confirmed", estimate=mean):
    return Claim(
        name, f"Says {name}.", "simulation", "here", "mean", estimate, least=least, expected=expected
    )


def study(*claims):
    presets = {"smoke": "two", "quick": "four", "paper": "six"}
    return Study("toy", "A toy study", "Nobody 2026", presets, tasks, claims, story)


def then(preset, options, rows):
    """A second stage: the largest number so far, once more."""
    last = max(row["number"] for row in rows["draw"])
    return [Task("again", draw, {"number": last + 10, "several": ()})]


STUDY = study(
    claim("low", 0.0), claim("none", 0.0, "not run", lambda rows: None),
    claim("count", 4, {"quick": "confirmed", "smoke": "confirmed"}, lambda rows: exactly(len(rows["draw"]))),
)  # fmt: skip


def log_of(folder):
    return [int(line) for line in (Path(folder) / "log.txt").read_text().split()]


def far(settings, place):
    """A number that takes a moment, noted in a log that all processes share; fails or dies where told to."""
    place.mkdir(parents=True)
    with open(settings["log"], "a") as log:
        log.write(f"{settings['number']}\n")
    time.sleep(settings["pause"])
    if settings["number"] == settings.get("fails_at"):
        raise ArithmeticError("not finite, on purpose")
    if settings["number"] == settings.get("dies_at"):
        os.kill(os.getpid(), signal.SIGKILL)
    yield from ({"step": k, "value": (settings["number"] + 1) / (k + 3)} for k in range(3))


def far_study(count, log, pause=0.0, **where):
    """``count`` such numbers, wherever they are done."""
    places = {"log": str(log), "pause": pause, **where}
    tasks = [Task("far", far, {"number": k}, where=places) for k in range(count)]
    return replace(STUDY, tasks=lambda *_: tasks, claims=())
