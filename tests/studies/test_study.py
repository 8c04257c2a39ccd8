import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import coarsegrad
from coarsegrad.studies import find
from coarsegrad.studies import study as study_module
from coarsegrad.studies.study import Task, cost, results, run, table_of, verdicts
from coarsegrad.train.screen import study_line
from studies import toy
from studies.toy import STUDY, log_of

PATHS = os.pathsep.join([str(Path(coarsegrad.__file__).parents[1]), str(Path(__file__).parents[1])])


def test_a_run_tells_of_every_task_and_keeps_its_rows(tmp_path):
    told = list(run(STUDY, "quick", tmp_path))
    assert [row["done"] for row in told] == [1, 2, 3, 4] and {row["total"] for row in told} == {4}
    assert all(row["seconds"] >= 0 and not row.get("known") for row in told)
    rows = results(STUDY, "quick", tmp_path)["draw"]
    assert rows[:2] == [{"number": 0, "value": 0.0}, {"number": 0, "value": 0.5}]
    assert len(rows) == 8


def test_a_finished_task_is_never_repeated_not_even_by_another_preset(tmp_path):
    list(run(STUDY, "smoke", tmp_path))
    told = list(run(STUDY, "quick", tmp_path))
    assert [row.get("known", False) for row in told] == [True, True, False, False]
    assert log_of(tmp_path) == [0, 1, 2, 3]
    assert len(results(STUDY, "smoke", tmp_path)["draw"]) == 4  # and a preset sees its own tasks alone


def test_a_killed_study_goes_on_without_repeating_what_is_finished(tmp_path):
    (tmp_path / "hang").touch()
    code = (
        f"from studies.toy import STUDY\nfrom coarsegrad.studies.study import run\n"
        f"list(run(STUDY, 'quick', {str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": PATHS})
    until = time.monotonic() + 60
    while not ((tmp_path / "log.txt").exists() and log_of(tmp_path)[-1] == 2):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(table_of(tmp_path).tasks()) == 2
    (tmp_path / "hang").unlink()
    list(run(STUDY, "quick", tmp_path))
    assert log_of(tmp_path) == [0, 1, 2, 2, 3]
    assert [row["value"] for row in results(STUDY, "quick", tmp_path)["draw"]][::2] == [0, 1, 2, 3]


def test_several_workers_give_the_same_rows(tmp_path):
    pytest.importorskip("coarsegrad.train.pool")
    list(run(STUDY, "quick", tmp_path / "one"))
    list(run(STUDY, "quick", tmp_path / "two", workers=2))
    assert results(STUDY, "quick", tmp_path / "one") == results(STUDY, "quick", tmp_path / "two")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_stage_is_planned_from_the_rows_of_the_first(tmp_path, workers):
    staged = replace(STUDY, then=toy.then)
    told = list(run(staged, "smoke", tmp_path, workers=workers))
    assert [(row["done"], row["total"]) for row in told] == [(1, 2), (2, 2), (3, 3)]
    assert results(staged, "smoke", tmp_path)["again"][0]["value"] == 11.0
    assert cost(staged, "smoke", tmp_path)["again"]["tasks"] == 1
    told = list(run(staged, "smoke", tmp_path, workers=workers))
    assert [row["done"] for row in told] == [1, 2, 3] and all(row["known"] for row in told)
    assert "again" not in results(staged, "quick", tmp_path)  # of which the first stage is not done


def test_what_a_task_raises_comes_through_and_what_was_finished_stands(tmp_path):
    def tasks(preset, options):
        return [*toy.tasks(preset, options), Task("draw", broken, {})]

    def broken(settings, place):
        yield {"value": 1.0}
        raise ArithmeticError("not finite")

    with pytest.raises(ArithmeticError, match="not finite"):
        list(run(replace(STUDY, tasks=tasks), "smoke", tmp_path))
    assert len(table_of(tmp_path).tasks()) == 2  # of the broken one nothing


def test_a_task_is_named_by_its_work():
    task = Task("draw", toy.draw, {"number": 1})
    same = [
        replace(task, where={"data_folder": "x"}),
        replace(task, says="one"),
        Task("draw", toy.draw, {"number": 1.0}),
    ]
    other = [replace(task, **change) for change in ({"kind": "b"}, {"measure": toy.mean}, {"version": 2},
                                                    {"settings": {"number": 2}})]  # fmt: skip
    assert {t.id for t in same} == {task.id}
    assert len({t.id for t in (task, *other)}) == 5
    assert task.id == "a029bf81a4414a01"  # a change of the scheme would orphan every table


def test_the_cost_is_that_of_the_time_when_a_task_was_run(tmp_path):
    list(run(STUDY, "smoke", tmp_path))
    first = cost(STUDY, "smoke", tmp_path)
    list(run(STUDY, "smoke", tmp_path))
    assert cost(STUDY, "smoke", tmp_path) == first
    assert first["draw"]["tasks"] == 2 and first["draw"]["cores"] >= 1


def test_every_claim_is_judged(tmp_path):
    list(run(STUDY, "quick", tmp_path))
    found = verdicts(STUDY, results(STUDY, "quick", tmp_path), "quick")
    assert [v.verdict for v in found] == ["confirmed", "not run", "confirmed"]


def test_a_glance_at_the_rows_so_far_stands_beside_the_progress(tmp_path, monkeypatch):
    def glance(rows):
        return f"{len(rows['draw'])} rows, the last is {rows['draw'][-1]['value']}"

    glancing = replace(STUDY, glance=glance)
    monkeypatch.setattr(study_module, "_GLANCE_SECONDS", 1e9)
    told = list(run(glancing, "quick", tmp_path / "a"))
    assert [row.get("glance") for row in told] == ["2 rows, the last is 0.5", None, None,
                                                   "8 rows, the last is 3.5"]  # fmt: skip
    assert study_line(told[-1]).endswith("  |  8 rows, the last is 3.5")
    assert study_line(told[1]) == told[1]["text"]
    monkeypatch.setattr(study_module, "_GLANCE_SECONDS", 0.0)
    list(run(STUDY, "smoke", tmp_path / "b"))
    told = list(run(glancing, "quick", tmp_path / "b"))
    assert [row.get("glance", "")[:6] for row in told] == ["", "", "6 rows", "8 rows"]


@pytest.mark.parametrize("workers", [0, 1.5, True])
def test_workers_are_whole(tmp_path, workers):
    with pytest.raises(ValueError, match="workers"):
        list(run(STUDY, "smoke", tmp_path, workers=workers))


def test_a_folder_with_the_results_of_another_study_is_refused_and_an_old_one_of_this_is_not(tmp_path):
    list(run(STUDY, "smoke", tmp_path / "a"))
    with pytest.raises(ValueError, match="holds results of toy, not of other: name another folder"):
        list(run(replace(STUDY, name="other"), "smoke", tmp_path / "a"))
    for kind, folder in (("draw", tmp_path / "b"), ("train", tmp_path / "c")):
        folder.mkdir()  # from before tasks named their study
        table_of(folder).append("old", [{"value": 1.0}], kind=kind, meta={"seconds": 1.0})
    list(run(STUDY, "smoke", tmp_path / "b"))
    with pytest.raises(ValueError, match="holds results of something else, not of toy"):
        list(run(STUDY, "smoke", tmp_path / "c"))
    assert log_of(tmp_path / "a") == [0, 1]


def test_workers_and_a_scheduler_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="give workers or scheduler, not both"):
        list(run(STUDY, "smoke", tmp_path / "out", workers=2, scheduler="tcp://127.0.0.1:8786"))
    assert not (tmp_path / "out").exists()


def test_an_unknown_preset_study_or_a_task_planned_twice_is_refused():
    with pytest.raises(ValueError, match="it has: smoke, quick, paper"):
        STUDY.planned("slow")
    with pytest.raises(ValueError, match="did you mean 'yin2018-bcgd'"):
        find("yin2018")
    with pytest.raises(ValueError, match="planned twice"):
        replace(STUDY, tasks=lambda preset, options: 2 * toy.tasks(preset, options)).planned("smoke")


def test_a_file_of_the_users_is_not_sent_to_a_cluster(tmp_path, clean_catalogue):
    from coarsegrad import own

    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom coarsegrad import Surrogate\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(Surrogate):\n    def curve(self, x):\n        return x\n\n"
        "    def slope(self, x):\n        return x * 0 + 1\n"
    )
    own.use(file)
    with pytest.raises(ValueError, match=r"mine.py does not travel .* leave --scheduler"):
        list(run(STUDY, "smoke", tmp_path / "out", scheduler="tcp://127.0.0.1:1"))


@pytest.mark.parametrize("known", [True, False])
def test_files_that_are_not_in_the_folder_are_missed_before_anything_is_done(tmp_path, known):
    def tasks(preset, options):
        about = {"number": 1, "data": "fashion_mnist"}
        return [Task("draw", toy.draw, about, where={"data_folder": options["data_folder"]})]

    study, here = replace(toy.STUDY, tasks=tasks, takes=("data_folder",)), tmp_path / "data"
    here.mkdir()
    if known:  # what is done needs no files
        (task,) = tasks("quick", {"data_folder": None})
        table_of(tmp_path).append(task.id, [{"value": 1.0}], kind="draw", meta={"seconds": 0.0})
        assert next(run(study, "quick", tmp_path, options={"data_folder": str(here)}))["known"]
    else:
        with pytest.raises(FileNotFoundError, match=r"of fashion-mnist in .*data: put them there"):
            list(run(study, "quick", tmp_path, options={"data_folder": str(here)}))
        assert not (tmp_path / "log.txt").exists()
