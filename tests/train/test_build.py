from dataclasses import replace

import pytest
import torch
from torch import nn

from coarsegrad.nn import FakeQuantize
from coarsegrad.train import zoo
from coarsegrad.train.build import (
    build,
    float_model,
    load_run,
    load_weights,
    quantized,
    start_scales,
    training_mode,
)
from coarsegrad.train.checkpoint import CheckpointError
from coarsegrad.train.loop import train
from coarsegrad.train.plan import TrainPlan

torch.set_num_threads(1)
SMALL = TrainPlan(model="mlp(widths=(8,8))", epochs=1, batch_size=256)


def quantizers(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, FakeQuantize)}


def test_a_float_plan_builds_the_zoo_model_itself():
    model, data = build(replace(SMALL, recipe=None))
    same = zoo.build(SMALL.model, in_shape=data.in_shape, classes=10, seed=0)
    assert not quantizers(model)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), same.state_dict().values(), strict=True)
    )


def test_first_and_last_layer_get_their_own_bits():
    model, _ = build(replace(SMALL, recipe="w2a4", first="w8a8", last="float"))
    bits = {n: q.quantizer.bits for n, q in quantizers(model).items()}
    assert bits == {
        "fc1.parametrizations.weight.0": 8, "fc1.input_quantizer": 8,
        "fc2.parametrizations.weight.0": 2, "fc2.input_quantizer": 4,
    }  # fmt: skip


def test_first_scales_of_an_untrained_model_are_those_of_its_first_training_batch():
    model, data = build(SMALL)
    lazy, _ = build(SMALL)
    batch = next(data.train_batches(64).epoch(0))
    stats = {n: b.clone() for n, b in model.named_buffers() if "running" in n}
    start_scales(training_mode(SMALL, model), [batch], trained=False)
    lazy.train()(batch[0])
    for name, q in quantizers(model).items():
        assert torch.equal(q.scale, quantizers(lazy)[name].scale)
    assert all(torch.equal(b, stats[n]) for n, b in model.named_buffers() if n in stats)
    model.eval()(batch[0])


def test_first_scales_of_a_trained_model_are_calibrated_in_eval_mode():
    model, data = build(SMALL)
    start_scales(model, data.train_batches(64).epoch(0), trained=True)
    model.eval()(data.test_images)


def test_start_loads_float_weights_from_a_file(tmp_path):
    plan = replace(SMALL, seed=5)
    source = zoo.build(plan.model, in_shape=(1, 8, 8), classes=10, seed=9)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    model = float_model(replace(plan, start=str(tmp_path / "w.pt")), (1, 8, 8), 10)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), source.parameters(), strict=True))


def test_weights_that_do_not_fit_are_one_error_that_names_them():
    model = nn.Linear(3, 2)
    wrong = {"weight": torch.zeros(2, 4), "gain": torch.zeros(1)}
    with pytest.raises(
        ValueError, match=r"bias is missing; gain is unknown; weight has shape \[2, 4\], here \[2, 3\]"
    ):
        load_weights(model, wrong, "w.pt")


def test_a_run_comes_back_as_it_ended(tmp_path):
    rows = list(train(SMALL, tmp_path))
    plan, model, again = load_run(tmp_path)
    assert plan == SMALL and again == rows and not model.training
    from coarsegrad.train.loop import evaluate

    _, data = build(plan)
    found = evaluate(model, data.test_batches().epoch(0))
    assert found["accuracy"] == rows[-1]["test_accuracy"]
    assert found["loss"] == rows[-1]["test_loss"]


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run folder"):
        load_run(tmp_path)


def test_a_checkpoint_of_another_recipe_is_one_clear_error(tmp_path):
    list(train(SMALL, tmp_path))
    (tmp_path / "plan.toml").write_text(replace(SMALL, recipe="w4a4").write())
    with pytest.raises(
        CheckpointError, match=r"another plan \(recipe='w2a2' there, 'w4a4' here\).*plan\.toml was changed"
    ):
        load_run(tmp_path)


def test_quantizing_leaves_the_float_model_alone():
    model = float_model(SMALL, (1, 8, 8), 10)
    keys = list(model.state_dict())
    assert quantizers(quantized(SMALL, model, (1, 8, 8)))
    assert list(model.state_dict()) == keys
