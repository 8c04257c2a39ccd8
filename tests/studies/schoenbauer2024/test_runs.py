import pytest
import torch

from coarsegrad.studies.schoenbauer2024 import STUDY, runs

SETTINGS = {
    "seed": 5, "data": "digits", "data_folder": None, "model": "mlp(widths=(16,),affine=False)",
    "batch_size": 64, "bits": 2, "of": "weights", "estimator": "wave", "optimizer": "sgd", "lr": 0.01,
    "epochs": 1, "rates": (), "alone": False,
}  # fmt: skip


def test_presets_plan_what_they_say():
    kinds = {p: {t.kind for t in STUDY.planned(p)} for p in STUDY.presets}
    assert all(found == {"formulas", "twins", "choice"} for found in kinds.values())
    datas = {t.settings.get("data") for t in STUDY.planned("paper", {"data_folder": "x"})}
    assert "mnist" in datas and "mnist" not in {t.settings.get("data") for t in STUDY.planned("paper")}


def told(**more):
    return {row["run"]: row for row in runs.twins({**SETTINGS, **more}, None)}


def test_a_lockstep_with_the_plain_estimator_is_three_times_the_same_run():
    found = told(estimator="identity", alone=False)
    assert found["plain"]["distance"] == 0.0 and found["plain"]["agreement"] == 1.0
    assert found["plain"]["train_loss"] == found["estimator"]["train_loss"]
    assert found["other order"]["distance"] > 0.05


def test_mended_and_estimator_start_from_the_same_network():
    found = told(lr=1e-12)
    for name in ("mended", "plain", "rate only", "start only"):
        assert found[name]["moved"] == 0 and found[name]["same_answers"] == 1.0
        assert found[name]["agreement"] is None


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adam, short memory"])
def test_small_steps_are_told_apart_by_the_theorem(optimizer):
    """One epoch of small steps: SGD asks for the mend, Adam for none."""
    lr = {"sgd": 1e-3, "momentum": 1e-4, "adam": 1e-5}[optimizer.split(",")[0]]
    found = told(optimizer=optimizer, lr=lr)
    near, far = ("plain", "mended") if optimizer.startswith("adam") else ("mended", "plain")
    assert found[near]["distance"] < 0.5 * found[far]["distance"]


def test_activations_get_other_rates_and_no_mend():
    found = told(of="activations", rates=(0.5, 2.0))
    assert set(found) == {"estimator", "plain", "rate 0.5", "rate 2", "other order"}
    assert set(told(alone=True)) == {"estimator"}


@pytest.mark.parametrize("name", runs.COVERED)
def test_curves_integrate_their_slopes(name):
    own, h = runs.ESTIMATORS[name], 1e-6
    x = torch.linspace(-2.03, 1.97, 401, dtype=torch.float64)
    slope = (own.curve(x + h) - own.curve(x - h)) / (2 * h)
    assert (slope - own.slope(x)).abs().max() < 1e-6
    assert own.curve(x + 1).sub(own.curve(x) + 1).abs().max() < 1e-12
    assert own.over([-2, 1]) is own


def test_distances_are_between_moves():
    start = [torch.zeros(2), torch.zeros(1)]
    a = [torch.tensor([1.0, 0.0]), torch.zeros(1)]
    b = [torch.tensor([0.0, 1.0]), torch.zeros(1)]
    assert runs._distance(a, a, start) == 0 and runs._distance(start, start, start) == 0
    assert runs._distance(a, b, start) == runs._distance(a, start, start) == 1
    assert runs._distance(a, [0.5 * t for t in a], start) == pytest.approx(0.5 / 1.25**0.5)


def test_what_a_name_stands_for_is_settled():
    """Ids of tasks hold names: whoever changes what they stand for raises the tasks' version."""
    assert {name: repr(own) for name, own in runs.ESTIMATORS.items()} == {
        "identity": "Identity()", "wave": "Wave(a=0.8)", "inverse wave": "Wave(a=-0.8)",
        "soft steps": "SoftSteps(k=4.0)", "clipped": "HardTanh(low=-1.0, high=1.0)",
        "clipped_relu": "ClippedReLU(top=1.0)", "relu": "ReLU()",
    }  # fmt: skip
    assert runs.MEMORIES == {"adam": 0.999, "adam, short memory": 0.95}
    assert {bits: type(q).__name__ for bits, q in runs.WEIGHTS.items()} == {
        1: "Binary", 2: "Uniform", 4: "Uniform",
    }  # fmt: skip
