import pytest
import torch

from coarsegrad.studies.long2021 import STUDY, grid, tasks, training
from coarsegrad.studies.verdict import judge

TINY = {
    "seed": 0, "data": "gaussian(samples=120,test_samples=60)", "model": "mlp(widths=(8,),affine=False)",
    "batch_size": 40, "lr": 0.1, "schedule": "step(epochs=(1,))", "epochs": 1, "pretrain_epochs": 1,
    "weight_decay": 0.0,
}  # fmt: skip


def test_networks_are_planned_by_two_presets_and_ask_for_a_data_folder(tmp_path):
    here = {"data_folder": str(tmp_path)}
    for preset in STUDY.presets:
        planned = [task for task in tasks(preset, here) if task.kind == "lenet5"]
        assert len(planned) == (3 if preset in ("short", "paper") else 0)
        if planned:
            with pytest.raises(ValueError, match="say --data-folder FOLDER"):
                tasks(preset, {"data_folder": str(tmp_path / "none")})


@pytest.mark.parametrize("preset", training.NETWORKS)
def test_the_plans_can_be_read(preset):
    from coarsegrad.train.compare import Comparison

    comparison = Comparison.of(
        {**training.NETWORKS[preset], "activations": "instead_of_relus", "first": None, "last": None,
         "bits": tuple(training.RECIPES), "surrogates": grid.PAPERS, "seeds": 1}
    )  # fmt: skip
    plans = [comparison.plan(arm, 0) for arm in comparison.arms]
    assert {plan.activation_surrogate for plan in plans} == set(grid.PAPERS) and len(plans) == 12


def test_every_arm_is_trained_and_its_features_are_looked_at(tmp_path):
    rows = list(training.networks(TINY, tmp_path))
    final = [row for row in rows if row["what"] == "final"]
    arms = [(w, b, name) for w in training.WEIGHTS for b in (2, 4) for name in grid.PAPERS]
    said = [(row["weights"], row["bits"], row["surrogate"]) for row in final]
    assert sorted(said) == sorted(
        [*(("float", 32, name) for name in ("images", "untrained", "float")), *arms]
    )
    assert all(0 < row["captured"] <= 1 and 0 <= row["angle"] <= row["mean_angle"] <= 90 for row in final)
    drawn = {(training.name(row), row["view"]) for row in rows if row["what"] == "point"}
    assert drawn == {(net, "nearest") for net in training.DRAWN} | {
        (net, "all") for net in ("untrained", "float weights, 2 bits, relu")
    }
    assert list(training.networks(TINY, tmp_path)) == rows


def test_images_of_whole_numbers_are_normalized_as_in_training(tmp_path):
    import numpy as np

    draw, file = np.random.default_rng(0), tmp_path / "bytes.npz"
    images = draw.integers(0, 256, (40, 1, 6, 6), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels, classes=["a", "b"])
    rows = list(training.networks({**TINY, "data": f"npz:{file}"}, tmp_path / "place"))
    assert sum(row["what"] == "final" for row in rows) == 15


def test_binary_weights_are_mean_times_sign_in_every_layer():
    from coarsegrad.nn import Recipe, prepare
    from coarsegrad.train import zoo

    model = zoo.build("mlp(widths=(8,),affine=False)", in_shape=(4,), classes=2, seed=0)
    (text,) = (text for text, arm in training.RECIPES.items() if arm == ("binary", 2))
    recipe = Recipe(text, first=None, last=None, activations="instead_of_relus")
    before = [model.fc1.weight.detach().clone(), model.fc.weight.detach().clone()]
    quantized = prepare(model, recipe, torch.zeros(2, 4))
    for w, layer in zip(before, (quantized.fc1, quantized.fc), strict=True):
        torch.testing.assert_close(layer.weight, w.abs().mean(1, keepdim=True) * w.sign())


def finals(weights="float", **accuracies):
    scores = {"train_loss": 0.1, "captured": 0.9, "angle": 40.0, "conditioned": 0.2}
    return [
        {"what": "final", "weights": weights, "bits": 2, "surrogate": name, "seed": seed, "test_accuracy": a,
         **scores} for name, by_seed in accuracies.items() for seed, a in enumerate(by_seed)
    ]  # fmt: skip


def verdict(name, *rows):
    claim = next(c for c in training.CLAIMS if c.id == name)
    return judge(claim, {"lenet5": [row for part in rows for row in part]}, "paper").verdict


@pytest.mark.parametrize(
    ("weights", "name"), [("float", "lenet5-2bit-reverse-exponential-relu"),
                          ("binary", "lenet5-binary-2bit-reverse-exponential-relu")],
)  # fmt: skip
def test_gaps_are_paired_by_seed(weights, name):
    near = finals(weights, relu=[99.0, 99.2, 99.1], reverse_exponential=[99.1, 99.3, 99.2])
    far = finals(weights, relu=[99.0, 99.2, 99.1], reverse_exponential=[97.0, 97.1, 97.2])
    few = finals(weights, relu=[99.0], reverse_exponential=[99.0])
    assert [verdict(name, rows) for rows in (near, far, few)] == ["confirmed", "refuted", "not run"]


def test_what_binary_weights_cost_is_paired_by_seed_too():
    whole, name = finals(relu=[99.0, 99.2, 99.1]), "lenet5-binary-2bit-costs"
    assert verdict(name, whole, finals("binary", relu=[98.5, 98.7, 98.7])) == "confirmed"
    assert verdict(name, whole, finals("binary", relu=[97.5, 97.7, 97.6])) == "refuted"


@pytest.mark.parametrize(
    ("name", "key", "good", "bad"),
    [("features-near-subspaces", "captured", 0.9, 0.5), ("features-nearer-by-training", "captured", 0.9, 0.5),
     ("features-independent", "conditioned", 0.2, 0.01), ("features-apart-by-training", "angle", 40.0, 20.0)],
)  # fmt: skip
def test_features_are_judged_by_the_worst_network(name, key, good, bad):
    def row(surrogate, seed, value):
        return {"what": "final", "weights": "float", "bits": 32, "surrogate": surrogate, "seed": seed,
                key: value + 0.001 * seed}  # fmt: skip

    untrained = {"captured": 0.45, "conditioned": 0.005, "angle": 25.0}[key]
    before = [row("untrained", seed, untrained) for seed in range(3)]
    trained = [row("float", seed, good) for seed in range(3)]
    worse = [{**row("relu", seed, bad), "bits": 2} for seed in range(3)]
    assert verdict(name, before, trained) == "confirmed"
    assert verdict(name, before, trained, worse) == "refuted"


def test_a_network_whose_numbers_stopped_being_finite_is_left_out():
    lost = {"what": "final", "weights": "float", "bits": 2, "surrogate": "relu", "seed": 0, "failed": "loss",
            "test_accuracy": None, "captured": None}  # fmt: skip
    assert training.finals({"lenet5": [lost]}, "test_accuracy") == {}


@pytest.mark.parametrize("name", ["lenet5-2bit-reverse-exponential-relu", "features-near-subspaces"])
@pytest.mark.parametrize("gone", ["relu", "reverse_exponential"])
def test_and_leaves_the_claims_about_it_open(name, gone):
    found = finals(relu=[99.0, 99.2, 99.1, 99.1], reverse_exponential=[99.1, 99.3, 99.2, 99.2])
    assert verdict(name, found) == "confirmed"
    lost = {"test_accuracy": None, "captured": None, "failed": "the loss"}
    once = [{**row, **lost} if (row["surrogate"], row["seed"]) == (gone, 3) else row for row in found]
    all_of_it = [{**row, **lost} if row["surrogate"] == gone else row for row in found]
    assert verdict(name, once) == verdict(name, all_of_it) == "unresolved"
