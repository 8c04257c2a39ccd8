import dataclasses

import pytest
import torch

from coarsegrad.train import compare as module
from coarsegrad.train.build import load_data
from coarsegrad.train.compare import Comparison, best_rates, compare, learning_rates, table_of
from coarsegrad.train.loop import load_run
from coarsegrad.train.plan import TrainPlan

BASE = TrainPlan(
    data="gaussian(dim=6,samples=120,test_samples=60)", model="mlp(widths=(8,))", recipe="w1a2", epochs=2,
    batch_size=40, lr=0.05,
)  # fmt: skip
SMALL = Comparison(base=BASE, surrogates=("clipped_relu", "identity"), seeds=2)


def everything(folder):
    return [(task["task_id"], task["kind"], table_of(folder).rows(task_id=task["task_id"]))
            for task in table_of(folder).tasks()]  # fmt: skip


def without_times(found):
    timed = ("seconds", "samples_per_second")
    return [
        (i, kind, [{k: v for k, v in row.items() if k not in timed} for row in rows])
        for i, kind, rows in found
    ]


def test_every_arm_runs_with_every_seed_beside_float_and_calibrated_only(tmp_path):
    rows = list(compare(SMALL, tmp_path))
    runs = {(r["bits"], r["activation_surrogate"], r["seed"]) for r in rows if r["kind"] == "run"}
    arms = [("float", ""), ("w1a2", "clipped_relu"), ("w1a2", "identity")]
    assert runs == {(*arm, seed) for arm in arms for seed in (0, 1)}
    assert [r["seed"] for r in rows if r["kind"] == "ptq"] == [0, 1]
    assert [r["done"] for r in rows if r["kind"] == "run"] == list(range(1, 13))
    assert rows[-1]["done"] == rows[-1]["total"] == 12


def test_a_finished_comparison_is_not_repeated(tmp_path, monkeypatch):
    list(compare(SMALL, tmp_path))
    before = everything(tmp_path)
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(module, "quantized_float", lambda *_: pytest.fail("quantized again"))
    rows = list(compare(SMALL, tmp_path))
    assert all(row["known"] for row in rows) and everything(tmp_path) == before


@pytest.mark.parametrize("after", [1, 3, 6, 11])
def test_a_comparison_cut_short_goes_on_to_the_same_results(tmp_path, after):
    list(compare(SMALL, tmp_path / "whole"))
    going = compare(SMALL, tmp_path / "cut")
    for _ in range(after):
        next(going)
    going.close()
    rows = [row for row in compare(SMALL, tmp_path / "cut") if not row.get("known")]
    assert len(rows) < 14 or after == 1
    assert without_times(everything(tmp_path / "cut")) == without_times(everything(tmp_path / "whole"))


def test_two_processes_find_what_one_does(tmp_path):
    c = dataclasses.replace(SMALL, base=dataclasses.replace(BASE, pretrain_epochs=1))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # as each of the two has
        list(compare(c, tmp_path / "one"))
    finally:
        torch.set_num_threads(threads)
    rows = list(compare(c, tmp_path / "two", jobs=2))
    assert rows[-1]["done"] == rows[-1]["total"] == 14
    assert sorted(row["done"] for row in rows if row["kind"] != "ptq") == list(range(1, 15))
    one, two = (without_times(sorted(everything(tmp_path / name))) for name in ("one", "two"))
    assert [task for task, *_ in one] == [task for task, *_ in two] and one == two


def test_more_seeds_and_surrogates_are_added_to_what_is_there(tmp_path):
    list(compare(SMALL, tmp_path))
    more = dataclasses.replace(SMALL, surrogates=("clipped_relu", "identity", "relu"), seeds=3)
    known = [row for row in compare(more, tmp_path) if row.get("known")]
    assert len([row for row in known if row["kind"] == "run"]) == 6


def test_a_folder_of_another_comparison_or_a_run_is_refused_and_left_as_it_was(tmp_path):
    list(compare(SMALL, tmp_path))
    before = (tmp_path / "comparison.toml").read_text()
    other = dataclasses.replace(SMALL, base=dataclasses.replace(BASE, epochs=3))
    with pytest.raises(ValueError, match=r"epochs=2 there, 3 here"):
        next(compare(other, tmp_path))
    assert (tmp_path / "comparison.toml").read_text() == before
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.toml").write_text("")
    with pytest.raises(ValueError, match="single run"):
        next(compare(SMALL, tmp_path / "run"))


def test_pretraining_is_done_once_a_seed_and_all_arms_start_from_it(tmp_path):
    c = dataclasses.replace(SMALL, base=dataclasses.replace(BASE, pretrain_epochs=3, epochs=1))
    rows = list(compare(c, tmp_path))
    assert len({row["task"] for row in rows if row["kind"] == "pretrain"}) == 2
    for row in rows:
        if row["kind"] == "run":
            plan, _, _ = load_run(tmp_path / "runs" / row["task"])
            start, _, _ = load_run(plan.start.removesuffix("checkpoint.pt"))
            assert (start.recipe, start.seed, start.epochs) == (None, row["seed"], 3)
    assert rows[-1]["total"] == rows[-1]["done"] == 2 * (3 + 3)


def test_tuning_gives_each_arm_as_many_trials_and_never_sees_a_test_image(tmp_path):
    c = dataclasses.replace(SMALL, seeds=1, tune=3)
    rows = list(compare(c, tmp_path))
    trials = {(r["bits"], r["activation_surrogate"], r["rate"]) for r in rows if r["kind"] == "trial"}
    arms = [("float", ""), ("w1a2", "clipped_relu"), ("w1a2", "identity")]
    assert trials == {(*arm, rate) for arm in arms for rate in learning_rates(0.05, 3)}
    trial = next(r for r in rows if r["kind"] == "trial")
    plan, _, _ = load_run(tmp_path / "runs" / trial["task"])
    held, whole = load_data(plan), load_data(BASE)
    assert held.augment == whole.augment and held.mean == whole.mean
    assert (len(held.train_images), len(held.test_images)) == (96, 24)
    assert {tuple(x.tolist()) for x in held.test_images} <= {tuple(x.tolist()) for x in whole.train_images}
    chosen = best_rates(table_of(tmp_path).rows(kind="trial"), c)
    assert all(r["rate"] == chosen[module.arm_of(r)] for r in rows if r["kind"] == "run")


def test_an_arm_that_is_not_finite_is_a_result_and_the_others_go_on(tmp_path, monkeypatch):
    real = module.train

    def train(plan, folder):
        if plan.activation_surrogate == "identity" and plan.recipe:
            from coarsegrad.train.health import NonFinite, Origin

            raise NonFinite("The loss is nan", 1, 1, Origin("a value", "fc"), "No epoch was finished.")
        yield from real(plan, folder)

    monkeypatch.setattr(module, "train", train)
    rows = list(compare(SMALL, tmp_path))
    assert {r["activation_surrogate"] for r in rows if r["kind"] == "failed"} == {"identity"}
    assert {r["activation_surrogate"] for r in rows if r["kind"] == "run"} == {"", "clipped_relu"}


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True])
def test_the_number_of_jobs_is_checked(tmp_path, jobs):
    with pytest.raises(ValueError, match=r"jobs=\.\.\.\) is a whole number"):
        next(compare(SMALL, tmp_path, jobs))
    assert not list(tmp_path.iterdir())
