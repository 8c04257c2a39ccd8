import pytest

from coarsegrad.studies.place import part
from coarsegrad.studies.verdict import judge
from coarsegrad.studies.yin2019 import STUDY, tasks, training
from coarsegrad.studies.yin2019.fields import PAPERS

TINY = {
    "seed": 0, "tiny_rate": 1e-3, "tiny_epochs": 2, "data": "gaussian(samples=120,test_samples=40)",
    "model": "mlp(widths=(8,),affine=False)", "batch_size": 40, "lr": 0.1, "schedule": "step(epochs=(1,))",
    "epochs": 2, "pretrain_epochs": 1, "weight_decay": 0.0, "train_images": None, "test_images": None,
}  # fmt: skip


def test_networks_are_planned_by_two_presets_and_ask_for_a_data_folder(tmp_path):
    here = {"data_folder": str(tmp_path)}
    kinds = {preset: {task.kind for task in tasks(preset, here)} for preset in STUDY.presets}
    assert {"lenet5", "resnet20", "vgg11"} <= kinds["paper"]
    assert {"lenet5", "resnet20"} | kinds["quick"] == kinds["short"]
    assert not {"lenet5", "resnet20"} & (kinds["smoke"] | kinds["quick"])
    for preset in ("short", "paper"):
        for folder in (None, str(tmp_path / "none")):
            with pytest.raises(ValueError, match="say --data-folder FOLDER"):
                tasks(preset, {"data_folder": folder})


def test_where_the_data_lies_does_not_name_the_work(tmp_path):
    (tmp_path / "there").mkdir()
    here, there = (training.tasks("short", str(folder)) for folder in (tmp_path, tmp_path / "there"))
    assert [task.id for task in here] == [task.id for task in there]
    assert len({task.id for task in here}) == len(here) == 6


@pytest.mark.parametrize(
    ("preset", "network"), [(preset, name) for preset, found in training.NETWORKS.items() for name in found]
)
def test_the_plans_of_the_paper_can_be_read(preset, network):
    from coarsegrad.train.compare import Comparison

    settings = training.NETWORKS[preset][network]
    comparison = Comparison.of(
        {**{k: v for k, v in settings.items() if "images" not in k and "tiny" not in k},
         "activations": "instead_of_relus", "first": None, "last": None,
         "bits": tuple(training.BITS.values()), "surrogates": PAPERS, "seeds": 1}
    )  # fmt: skip
    plans = [comparison.plan(arm, 0) for arm in comparison.arms]
    assert len(plans) == 6
    recipe = plans[0].read_recipe()
    assert recipe.activations == "instead_of_relus" and recipe.first is recipe.last is None
    assert {plan.activation_surrogate for plan in plans} == set(PAPERS)


def test_table_one_trains_every_arm_then_lets_the_identity_go_on(tmp_path):
    rows = list(training.table_one({**TINY}, tmp_path))
    final = [(row["bits"], row["surrogate"]) for row in rows if row["what"] == "final"]
    assert sorted(final) == sorted([(32, "float"), *((bits, name) for bits in (2, 4) for name in PAPERS)])
    for name in ("relu", "clipped_relu"):
        run = [row for row in rows if row["what"] == "instability" and row["surrogate"] == name]
        assert [row["epoch"] for row in run] == [0, 1, 2]
        before = next(r for r in rows if r["what"] == "final" and (r["bits"], r["surrogate"]) == (4, name))
        assert run[0]["train_loss"] == before["train_loss"]
        assert abs(run[1]["train_loss"] - run[0]["train_loss"]) < 0.5  # it goes on, it does not start again
    again = list(training.table_one({**TINY}, tmp_path))
    assert again == rows  # from what stands in its place


def test_a_part_of_the_images_is_the_first_of_them(tmp_path):
    from coarsegrad.train import data

    few = {**TINY, "train_images": 50, "test_images": 20, "data_folder": None}
    found, whole = data.load(part(few, tmp_path)["data"]), data.load(TINY["data"])
    assert len(found.train_images) == 50 and (found.test_images == whole.test_images[:20]).all()
    assert (found.train_labels == whole.train_labels[:50]).all()
    rows = list(training.table_one(few, tmp_path))
    assert {row["surrogate"] for row in rows if row["what"] == "final"} == {"float", *PAPERS}


def finals(**accuracies):
    return [
        {"what": "final", "bits": 2, "surrogate": name, "seed": seed, "train_loss": 0.1, "test_accuracy": a}
        for name, by_seed in accuracies.items() for seed, a in enumerate(by_seed)
    ]  # fmt: skip


def test_gaps_are_paired_by_seed_and_orders_are_judged():
    rows = {
        "lenet5": finals(
            identity=[98.0, 98.5, 98.2], relu=[98.8, 99.2, 99.0], clipped_relu=[98.8, 99.3, 99.0]
        )
    }
    found = {c.id: judge(c, rows, "paper").verdict for c in training.CLAIMS}
    assert found["lenet5-2bit-relu-identity"] == found["lenet5-2bit-clipped-relu-relu"] == "confirmed"
    assert found["lenet5-4bit-clipped-relu-identity"] == found["lenet5-instability"] == "not run"
    rows = {"lenet5": finals(identity=[99.0, 99.2, 99.1], relu=[98.0, 98.1, 98.2])}
    assert judge(training.CLAIMS[0], rows, "paper").verdict == "refuted"
    assert (
        judge(training.CLAIMS[0], {"lenet5": finals(identity=[98.0], relu=[99.0])}, "paper").verdict
        == "not run"
    )


def test_a_rise_of_the_loss_is_from_before_to_the_last_epoch():
    at = {"what": "instability", "surrogate": "relu"}
    rows = [
        {**at, "seed": s, "epoch": e, "train_loss": 0.1 + (0.2 + 0.01 * s) * e}
        for s in range(3)
        for e in (2, 0, 1)
    ]
    found = training.climb("lenet5")({"lenet5": rows})
    assert abs(found.estimate - 0.42) < 1e-9 and found.low > 0


def test_the_papers_numbers_stand_beside_ours():
    table = training.table_rows({"lenet5": finals(relu=[99.0, 99.1, 99.2])})
    assert len(table) == 1 and table[0]["paper's accuracy"] == 99.24 and table[0]["seeds"] == 3
