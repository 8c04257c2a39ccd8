import math
from itertools import product

import pytest
import torch

from coarsegrad import spec
from coarsegrad.nn import FakeQuantize
from coarsegrad.studies.optimizers import STUDY, nets, runs
from coarsegrad.studies.optimizers.nets import net_of, text_id

DIGITS = {
    "data": "digits", "steps": 20, "batch_size": 32, "bits": "w1a2", "optimizer": "adam",
    "estimator": "window", "lr": 0.003, "seed": 5, "data_folder": None,
}  # fmt: skip
TEXT = {**DIGITS, "data": "text", "width": 16, "text": text_id(), "batch_size": 8, "lr": 0.01}


def one(**settings):
    (row,) = runs.trained(settings, None)
    return row


@pytest.mark.parametrize("optimizer", runs.OPTIMIZERS)
def test_twenty_steps_are_better_than_guessing_and_the_same_each_time(optimizer):
    settings = {**DIGITS, "optimizer": optimizer, "lr": 0.05 if optimizer == "sgd" else 0.003}
    row = one(**settings)
    assert row == one(**settings)
    assert not row["guessed"] and max(row["loss"], row["held_out"]) < 0.9 * math.log2(10)
    assert row["loss"] != row["held_out"] and row["accuracy"] > 30


@pytest.mark.parametrize("name", runs.ESTIMATORS)
def test_every_estimator_trains_the_transformer(name):
    row = one(**{**TEXT, "estimator": name})
    assert row["loss"] < math.log2(net_of("text", width=16).classes) - 0.5


def test_a_training_that_breaks_counts_as_guessing():
    row = one(**{**DIGITS, "optimizer": "sgd", "lr": 1e30})
    assert row["guessed"] and row["loss"] == row["held_out"] == math.log2(10) and row["accuracy"] == 10


def test_estimators_get_where_they_are_said_to_be():
    found = {}
    for name in runs.ESTIMATORS:
        model = net_of("digits").model(runs.recipe_of({**DIGITS, "estimator": name}), 0)
        kinds = {(m.role, type(m.surrogate).__name__) for m in model.modules() if isinstance(m, FakeQuantize)}
        found[name] = {role: {s for r, s in kinds if r == role} for role in ("weight", "activation")}
    usual = {"Identity"}
    assert found["steep"] == {"weight": usual, "activation": {"EDE"}}
    assert found["smooth weights"] == {"weight": {"Tanh"}, "activation": {"HardTanh"}}
    assert found["identity"] == {"weight": usual, "activation": {"Identity"}}


@pytest.mark.parametrize("data", ["digits", "text"])
@pytest.mark.parametrize("bits", ["w1a2", "w4a4"])
def test_no_step_between_levels_is_trained_and_the_ends_have_float_weights(data, bits):
    net = net_of(data, width=16)
    model = net.model(runs.recipe_of({"data": data, "bits": bits, "estimator": "window"}), 0)
    assert not [name for name, _ in model.named_parameters() if "raw_" in name]
    held = {m.place.split(".")[0]: m.quantizer for m in model.modules()
            if isinstance(m, FakeQuantize) and m.role == "weight"}  # fmt: skip
    assert held and not {"conv1", "fc", "characters", "head"} & held.keys()
    assert {len(q.levels) for q in held.values()} == {2 if bits == "w1a2" else 16}


def test_recipes_are_those_of_the_stored_runs():
    """Where this fails another recipe is meant by the same settings: raise the version of the tasks."""
    held = product(("digits", "text"), ("w1a2", "w4a4"), runs.ESTIMATORS)
    recipes = [spec.write(runs.recipe_of({"data": d, "bits": b, "estimator": e})) for d, b, e in held]
    assert spec.content_id(recipes) == "2e2c4862bf87186e"


def test_the_scheduled_estimator_is_told_of_the_time():
    net = net_of("digits")
    recipe = runs.recipe_of({**DIGITS, "estimator": "steep"})
    model = runs.fit(net, {**DIGITS, "steps": 4}, recipe, 1e-3, 0)
    assert {float(m.progress) for m in model.modules() if hasattr(m, "progress")} == {0.75}


def test_lion_and_muon_see_no_multiple_and_sgd_does():
    settings = {"data": "digits", "steps": 6, "batch_size": 32, "lr": 0.01, "seed": 1}
    found = {
        name: {row["run"]: row for row in runs.twins({**settings, "optimizer": name}, None)}
        for name in ("sgd", "lion", "muon")
    }
    for name in ("lion", "muon"):
        assert found[name]["times 8"]["distance"] == found[name]["over 8"]["distance"] == 0
        assert found[name]["wave"]["distance"] > 0 and found[name]["times 8"]["same"] == 1
        assert found[name]["times 8"]["loss"] == found[name]["plain"]["loss"]
    assert found["sgd"]["times 8"]["distance"] > 0.5
    assert all(by["other order"]["distance"] > 0 for by in found.values())


def test_a_twin_that_breaks_is_a_row(monkeypatch):
    settings = {"data": "digits", "steps": 3, "batch_size": 32, "lr": 0.01, "seed": 1, "optimizer": "sgd"}
    monkeypatch.setitem(runs.BESIDE, "over 8", runs.Multiple(math.inf))
    found = {row["run"]: row for row in runs.twins(settings, None)}
    assert list(found) == ["plain", "other order", "times 8", "over 8", "wave"]
    assert [name for name, row in found.items() if row["broke"]] == ["over 8"]
    assert found["over 8"]["distance"] is None and found["wave"]["distance"] > 0
    rows = list(runs.twins({**settings, "lr": 1e30}, None))
    assert len(rows) == 5 and all(row["broke"] for row in rows)


def test_a_multiple_is_its_factor_everywhere():
    x = torch.linspace(-3, 3, 7)
    own = runs.Multiple(8.0)
    assert torch.equal(own.slope(x), torch.full((7,), 8.0)) and torch.equal(own.curve(x), 8 * x)
    assert own.over((-2, 1)) is own


def test_distances_are_between_moves():
    a, b, still = [torch.tensor([3.0, 0.0])], [torch.tensor([0.0, 4.0])], [torch.zeros(2)]
    assert runs.distance(a, a) == runs.distance(still, still) == 0
    assert runs.distance(a, b) == runs.distance(a, still) == 1


def test_every_cell_of_a_plan_gets_the_same_steps_rates_and_seeds(tmp_path):
    for preset in STUDY.presets:
        cells = {}
        for task in STUDY.planned(preset, {"data_folder": str(tmp_path)} if preset == "paper" else {}):
            if task.kind == "train":
                s = task.settings
                cell = cells.setdefault((s["data"], s["bits"], s["optimizer"], s["estimator"]), [])
                cell.append((s["lr"], s["seed"], s["steps"], s["batch_size"]))
        for data in {key[0] for key in cells}:
            mine = [cell for key, cell in cells.items() if key[0] == data]
            assert len({len(cell) for cell in mine}) == 1
            assert len({tuple(sorted((seed, *rest) for _, seed, *rest in cell)) for cell in mine}) == 1


def test_the_paper_preset_asks_for_the_folder_of_its_images():
    with pytest.raises(ValueError, match="Fashion-MNIST"):
        STUDY.planned("paper")


def test_what_a_name_stands_for_is_settled():
    """Ids of tasks hold names: whoever changes what they stand for raises the tasks' version."""
    assert (nets.CONTEXT, nets.HELD_OUT, nets.WINDOWS, runs.WARMUP) == (64, 2000, 256, 0.05)
    assert {name: repr(pair) for name, pair in runs.ESTIMATORS.items()} == {
        "window": "(None, HardTanh(low=-1.0, high=1.0))", "identity": "(None, Identity())",
        "steep": "(None, EDE(t_min=0.1, t_max=10.0, progress=0.0))",
        "smooth weights": "(Tanh(k=1.0), HardTanh(low=-1.0, high=1.0))",
    }  # fmt: skip
    assert runs.OPTIMIZERS == {
        "sgd": {"momentum": 0.9, "weight_decay": 1e-4}, "adam": {"momentum": 0.9, "weight_decay": 0.0},
        "adamw": {"momentum": 0.9, "weight_decay": 0.1}, "lion": {"momentum": 0.9, "weight_decay": 0.5},
        "muon": {"momentum": 0.95, "weight_decay": 0.1},
    }  # fmt: skip
    assert {name: repr(own) for name, own in runs.BESIDE.items()} == {
        "plain": "Identity()", "times 8": "Multiple(factor=8.0)", "over 8": "Multiple(factor=0.125)",
        "wave": "Wave(a=0.8)",
    }  # fmt: skip
