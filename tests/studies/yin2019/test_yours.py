"""A surrogate of the user's in the study: measured, told, and no part of the paper's claims."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import coarsegrad
from coarsegrad import own
from coarsegrad.studies.study import verdicts
from coarsegrad.studies.yin2019 import _PRESETS, STUDY, yours

HERE = Path("nowhere")  # no measure of this file keeps anything
HEAD = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from coarsegrad import Surrogate
@dataclass(frozen=True)
class Mine(Surrogate):
    name: ClassVar[str] = "mine"
    def slope(self, x):
        return """
SLOPES = {
    "`mine` **points downhill** (theorem, if its slope is nowhere negative": "(1 - x.abs()).clamp(min=0)",
    "does not point downhill everywhere** (theorem, by example)": "-torch.exp(-x * x)",
    "points downhill wherever it was tried** (simulation)": "torch.exp(-x * x / 2) * (1.1 - 0.1 * x * x)",
    "points uphill nowhere that it was tried, but not downhill everywhere** (simulation)": "x * 0",
    "is **not known** whether `mine` points downhill (simulation)": "(x.abs() < x.abs().mean()).to(x.dtype)",
}


def use(tmp_path, slope):
    (tmp_path / "mine.py").write_text(HEAD + slope + "\n")
    own.use(tmp_path / "mine.py")


def measured(text, *abouts):
    rows = {}
    for task in yours.tasks(text, _PRESETS["smoke"]):
        if task.settings["about"] in abouts:
            beside = {"surrogate": task.settings["surrogate"], "number": task.settings.get("number")}
            found = task.measure(task.settings, HERE)
            rows.setdefault(task.kind, []).extend({**beside, **row} for row in found)
    return rows


@pytest.mark.parametrize("says", SLOPES)
def test_the_sentence_says_what_the_slope_does(tmp_path, clean_catalogue, says):
    use(tmp_path, SLOPES[says])
    assert says in yours.downhill(measured("mine", "direction", "agreement"))


def test_what_has_no_slope_is_not_known():
    told = yours.downhill(measured("ewgs", "direction", "agreement"))
    assert (
        "is **not known** whether `ewgs` points downhill: EWGS" in told
        and "looks at the upstream gradient" in told
    )


def test_the_identity_is_pushed_and_has_no_bound_and_the_window_rests():
    abouts = "direction", "agreement", "rest"
    (identity,), (window,) = (
        yours.chapters(measured(n, *abouts)) for n in ("identity", "clipped_relu(top=2)")
    )
    assert "No bound exists" in identity.text and "does not vanish" in identity.text
    assert "A bound is known" in window.text and "It vanishes at the spurious minimizer" in window.text


def test_an_edited_file_is_measured_anew_and_its_form_names_it(tmp_path, clean_catalogue):
    use(tmp_path, "(1 - x.abs()).clamp(min=0)")
    first = [task.id for task in yours.tasks("mine", _PRESETS["smoke"])]
    assert first == [task.id for task in yours.tasks("mine()", _PRESETS["smoke"])]
    use(tmp_path, "(2 - x.abs()).clamp(min=0)")
    assert not set(first) & {task.id for task in yours.tasks("mine", _PRESETS["smoke"])}


def test_without_own_nothing_of_the_study_changes(smoke):
    plain = {task.id for task in STUDY.planned("smoke", {})}
    both = STUDY.planned("smoke", {"own": "tanh"})
    assert plain < {task.id for task in both}
    assert all(task.kind.startswith("own ") for task in both if task.id not in plain)
    assert yours.chapters(smoke) == [] and not any(kind.startswith("own") for kind in smoke)


def test_no_claim_sees_the_users_rows(smoke):
    rows = {**smoke, **measured("identity", "direction", "agreement", "rest")}
    assert verdicts(STUDY, rows, "smoke") == verdicts(STUDY, smoke, "smoke")


def test_every_measure_is_run_and_told(tmp_path, clean_catalogue):
    use(tmp_path, "((x > 0) & (x < 2)).to(x.dtype)\n    passes = (0.0, 2.0)")
    tasks = yours.tasks("mine", _PRESETS["smoke"])
    assert {task.settings["about"] for task in tasks} == set(yours._MEASURES)
    rows = measured("mine", *yours._MEASURES)
    for kind, found in rows.items():
        task = next(t for t in tasks if t.kind == kind)
        for row in found:
            row |= {k: v for k, v in task.settings.items() if k in ("samples", "steps") and k not in row}
    (chapter,) = yours.chapters(rows)
    assert all(says in chapter.text for says in ("random starts", "beside a spurious minimizer"))
    assert set(chapter.figures) == {"own-cosine-by-angle", "own-line"} and chapter.tables


def test_the_command_line_takes_it_in_processes_of_their_own(tmp_path):
    (tmp_path / "mine.py").write_text(HEAD + "(x > 0).to(x.dtype)\n    passes = (0.0, float('inf'))\n")
    words = ["study", "yin2019", "--preset", "smoke", "--with", "mine.py", "--own", "mine", "--out", "out"]
    paths = os.environ | {"PYTHONPATH": str(Path(coarsegrad.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-m", "coarsegrad", *words, "--workers", "2", "--json"],
        cwd=tmp_path, env=paths, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout.splitlines()[-1])["verdicts"]
    page = (tmp_path / "out" / "report.html").read_text()
    says = (
        "<code>mine</code> <strong>points downhill</strong> (theorem, if",
        "A bound is known",
        "Your surrogate",
    )
    assert [text for text in says if text not in page] == []
