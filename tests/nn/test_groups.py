"""A group for what a user trains, and one for each quantizer's own; their rates."""

import pytest
import torch
from torch import nn

from coarsegrad.nn import pairs, parameter_groups, prepare


def prepared(recipe, **more):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    model = prepare(model, recipe, **more).train()
    model(torch.randn(64, 8))
    return model


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("recipe", ["w1a2", "w2a2", "activation=pact(bits=2)", "activation=lsq_plus(bits=4)"])
def test_every_parameter_is_in_one_group_and_only_those_of_layers_decay(recipe, adaptive):
    model = prepared(recipe)
    groups = parameter_groups(model, lr=0.1, weight_decay=0.01, adaptive=adaptive)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert all(decay[id(p)] == 0.01 * ("raw_" not in name) for name, p in model.named_parameters())


def test_what_is_frozen_and_what_has_no_quantizer():
    model = prepared("w2a2")
    model[0].bias.requires_grad_(False)
    assert id(model[0].bias) not in {
        id(p) for g in parameter_groups(model, 0.1, adaptive=True) for p in g["params"]
    }
    assert len(parameter_groups(nn.Linear(2, 2), 0.1, adaptive=True)) == 1


def test_for_sgd_all_have_one_rate():
    assert {group["lr"] for group in parameter_groups(prepared("w2a2"), 0.1, adaptive=False)} == {0.1}


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
@pytest.mark.parametrize("recipe", ["w2a2", "w8a8", "activation=pact(bits=2)", "activation=lsq_plus(bits=4)"])
def test_a_step_moves_as_its_weights_do_each_in_units_of_itself(optimizer, recipe):
    model = prepared(recipe)
    held = optimizer(parameter_groups(model, lr=0.01, adaptive=True))
    weights = {q.raw_scale: p.detach().abs().mean() for p, q in pairs(model) if hasattr(q, "raw_scale")}
    steps = [p for name, p in model.named_parameters() if name.endswith(("raw_scale", "raw_clip"))]
    before = [p.detach().clone() for p in steps]
    model(torch.randn(64, 8)).square().mean().backward()
    held.step()
    most = 0.1 if optimizer is torch.optim.RMSprop else 0.0101  # its first step is ten times as long
    assert steps and any((p != old).any() for p, old in zip(steps, before, strict=True))
    for p, old in zip(steps, before, strict=True):
        assert (p - old).abs().max() / old.abs().mean() <= most / weights.get(p, 1.0) * 1.01


def test_without_a_decay_of_its_own_it_is_the_optimizers_for_layers_alone():
    held = torch.optim.AdamW(parameter_groups(prepared("w2a2"), lr=0.1, adaptive=True), weight_decay=0.05)
    assert [group["weight_decay"] for group in held.param_groups][:2] == [0.05, 0.0]


def test_steps_that_have_not_started_have_no_size_yet():
    model = prepare(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), "w2a2")
    with pytest.raises(ValueError, match=r"no scale yet: calibrate\(model, batches\)"):
        parameter_groups(model, 0.1, adaptive=True)
    assert len(parameter_groups(model, 0.1, adaptive=False)) == 2
