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
         "bits": tuple(training.BITS.values()), "surrogates": grid.PAPERS, "seeds": 1}
    )  # fmt: skip
    plans = [comparison.plan(arm, 0) for arm in comparison.arms]
    assert {plan.activation_surrogate for plan in plans} == set(grid.PAPERS) and len(plans) == 6


def test_every_arm_is_trained_and_its_features_are_looked_at(tmp_path):
    rows = list(training.networks(TINY, tmp_path))
    final = [row for row in rows if row["what"] == "final"]
    arms = {(32, "float"), *((bits, name) for bits in (2, 4) for name in grid.PAPERS)}
    assert {(row["bits"], row["surrogate"]) for row in final} == arms and len(final) == 7
    assert all(0 < row["captured"] <= 1 and 0 <= row["angle"] <= row["mean_angle"] <= 90 for row in final)
    assert {row["class"] for row in rows if row["what"] == "point"} <= {0, 1, 2}
    assert list(training.networks(TINY, tmp_path)) == rows


def test_features_are_what_the_last_layer_is_given_and_the_model_is_left_alone():
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    images = torch.randn(7, 3)
    assert torch.equal(training.features(model, images, batch=3), model[:2](images).detach().double())
    assert not model[2]._forward_pre_hooks


def test_angles_of_two_planes_that_meet_at_thirty_degrees():
    draw, labels = torch.Generator().manual_seed(0), torch.tensor([0] * 50 + [1] * 50)
    tilted = torch.tensor([[0.75**0.5, 0, 0.5, 0], [0, 0, 0, 1.0]]).double()
    plane = torch.eye(4).double()[:2]
    found = torch.cat([torch.randn(50, 2, generator=draw).double() @ basis for basis in (plane, tilted)])
    seen = training.lie(found, labels, size=2)
    assert seen["captured"] == pytest.approx(1) and seen["angle"] == pytest.approx(30)
    assert seen["conditioned"] == pytest.approx((1 - 0.75**0.5) ** 0.5)


def finals(**accuracies):
    scores = {"train_loss": 0.1, "captured": 0.9, "angle": 40.0, "conditioned": 0.2}
    return [
        {"what": "final", "bits": 2, "surrogate": name, "seed": seed, "test_accuracy": a, **scores}
        for name, by_seed in accuracies.items() for seed, a in enumerate(by_seed)
    ]  # fmt: skip


def test_gaps_are_paired_by_seed():
    claim = next(c for c in training.CLAIMS if c.id == "lenet5-2bit-reverse-exponential-relu")
    near = {"lenet5": finals(relu=[99.0, 99.2, 99.1], reverse_exponential=[99.1, 99.3, 99.2])}
    far = {"lenet5": finals(relu=[99.0, 99.2, 99.1], reverse_exponential=[98.0, 98.1, 98.2])}
    few = {"lenet5": finals(relu=[99.0], reverse_exponential=[99.0])}
    assert [judge(claim, r, "paper").verdict for r in (near, far, few)] == ["confirmed", "refuted", "not run"]
    assert training.table_rows(near)[0]["seeds"] == 3
