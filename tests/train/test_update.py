import pytest
import torch

from coarsegrad.nn import pairs
from coarsegrad.optim import RULES, Bop, Latent, Together
from coarsegrad.train.build import build
from coarsegrad.train.plan import OPTIMIZERS, TrainPlan
from coarsegrad.train.update import make_optimizer, set_rate

SMALL = {"model": "mlp(widths=(8,8))"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("recipe", [None, "w1a2", "w2a2"])
def test_every_parameter_is_held_once(optimizer, recipe):
    plan = TrainPlan(**SMALL, recipe=recipe, optimizer=optimizer)
    model, _ = build(plan)
    held = [id(p) for group in make_optimizer(plan, model).param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_scales_do_not_decay_and_latents_do():
    plan = TrainPlan(**SMALL, weight_decay=0.1)
    model, _ = build(plan)
    decay = {id(p): g["weight_decay"] for g in make_optimizer(plan, model).param_groups for p in g["params"]}
    assert {decay[id(p)] for n, p in model.named_parameters() if "raw_" in n} == {0.0}
    assert {decay[id(p)] for n, p in model.named_parameters() if "raw_" not in n} == {0.1}


@pytest.mark.parametrize("name", RULES)
def test_every_latent_rule_reaches_the_optimizer(name):
    required = {"binary_relax": "(switch=3)", "parq": "(end=3)", "dampen": "(strength=0.1)"}
    plan = TrainPlan(**SMALL, latent=(name + required.get(name, ""),))
    model, _ = build(plan)
    optimizer = make_optimizer(plan, model)
    assert isinstance(optimizer, Latent)
    assert isinstance(optimizer.rules[0], RULES[name])


def test_bop_takes_the_binary_weights_and_nothing_else():
    plan = TrainPlan(**SMALL, recipe="w1a2", latent=("bop(threshold=1e-6,lr=0.01)",))
    model, _ = build(plan)
    optimizer = make_optimizer(plan, model)
    assert isinstance(optimizer, Together) and isinstance(optimizer.optimizers[0], Bop)
    binary = [id(p) for p, q in pairs(model) if len(q.quantizer.levels) == 2]
    assert [id(p) for p in optimizer.optimizers[0].param_groups[0]["params"]] == binary
    assert optimizer.optimizers[0].param_groups[0]["threshold"] == 1e-6


def test_bop_without_binary_weights_says_what_to_do():
    plan = TrainPlan(**SMALL, recipe="w2a2", latent=("bop",))
    with pytest.raises(ValueError, match="try w1a2"):
        make_optimizer(plan, build(plan)[0])


def test_the_rate_of_every_group_follows_its_own_start():
    plan = TrainPlan(**SMALL, recipe="w1a2", latent=("bop(lr=0.01)",), lr=0.5)
    optimizer = make_optimizer(plan, build(plan)[0])
    set_rate(optimizer, 0.1)
    set_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.005, 0.25, 0.25])


def test_adams_betas_begin_with_the_plans_momentum():
    plan = TrainPlan(**SMALL, optimizer="adam", momentum=0.8)
    optimizer = make_optimizer(plan, build(plan)[0])
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
