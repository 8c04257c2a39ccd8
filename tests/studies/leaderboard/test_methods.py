import pytest
import torch

from coarsegrad.nn import pairs, prepare
from coarsegrad.optim import Latent
from coarsegrad.studies.leaderboard.methods import (
    BITS,
    METHODS,
    MODELS,
    cells,
    plan_values,
    quantizers,
    trials,
    widths,
)
from coarsegrad.train import TrainPlan
from coarsegrad.train.update import make_optimizer
from coarsegrad.train.zoo import build

CELLS = [f"{bits} {method}" for bits, method in cells(BITS)]


def plan(cell, data="digits", steps=120):
    bits, method = cell.split()
    values = plan_values(data, bits, method, trials(method)[0], steps)
    return TrainPlan.of({**TrainPlan(data="digits").values(), **values})


@pytest.mark.parametrize("cell", CELLS)
def test_every_valid_cell_is_a_plan_whose_model_has_its_bits(cell):
    found = plan(cell)
    model = build(found.model, in_shape=(1, 8, 8), classes=10)
    if cell == "float float":
        assert not found.quantized
        return
    weights, activations = widths(cell.split()[0])
    prepared = prepare(model, found.read_recipe(), torch.randn(4, 1, 8, 8)).train()
    prepared(torch.randn(16, 1, 8, 8))
    held = list(pairs(prepared))
    inner = set() if weights == 32 else {"conv2", "fc1", "fc2"}
    assert {q.place.split(".")[0] for _, q in held} == inner
    assert all(len(q.quantizer.levels) == 2**weights for _, q in held)
    seen = {n: m for n, m in prepared.named_modules() if n.endswith("input_quantizer")}
    assert set(seen) == {f"{name}.input_quantizer" for name in ("conv2", "fc1", "fc2", "fc")}
    assert all(len(q.quantizer.levels) == 2**activations for q in seen.values())
    make_optimizer(found, prepared)  # refuses what does not go together


def test_methods_have_as_many_trials_each():
    assert {len(trials(method)) for method in ("float", *METHODS)} == {4}
    assert all(len(set(trials(method))) == 4 for method in METHODS)


def test_a_rule_that_lasts_takes_its_share_of_the_steps():
    (rule,) = plan("w1a1 binary_relax", steps=1000).read_latent()
    assert rule.switch == 800
    assert rule.weight(799) == pytest.approx(10 / 11, abs=1e-3)  # lambda is 10 when it switches
    (rule,) = plan("w1a1 prox_quant", steps=900).read_latent()
    assert rule.freeze_at == 600
    assert sum(rule.rate * step for step in range(600)) == pytest.approx(0.015, rel=1e-2)
    (rule,) = plan("w2a2 bcgd", steps=500).read_latent()
    assert rule.rho * 500 == pytest.approx(0.15)


def test_all_methods_but_those_that_bring_their_own_share_the_quantizers():
    for cell in CELLS[1:]:
        bits, method = cell.split()
        weight, activation = quantizers(bits)
        shared = f"weight={weight};activation={activation}" if weight else f"activation={activation}"
        assert (plan(cell).recipe == shared) == (method not in ("lsq", "pact"))


def test_the_two_settings_of_a_method_are_two_methods():
    for name, method in METHODS.items():
        bits = method.valid[0]
        made = {str(plan_values("digits", bits, name, trial, 900)) for trial in method.trials}
        assert len(made) == 4


def test_signs_leave_no_other_activation():
    assert "identity" in plan("w1a1 ste").model and "identity" not in plan("w1a2 ste").model
    assert "pool_first" in plan("w1a1 ste").model and "pool_first" not in plan("w1a2 ste").model
    assert plan("w1a1 ste", "cifar10").model == "resnet20(activation='identity')"
    assert plan("w2a2 ste", "cifar10").model == "resnet20()" and set(MODELS) > {"cifar10"}


def test_bop_has_no_latents():
    model = prepare(
        build(plan("w1a1 bop").model, in_shape=(1, 8, 8), classes=10), plan("w1a1 bop").read_recipe()
    )
    assert not isinstance(make_optimizer(plan("w1a1 bop"), model), Latent)
