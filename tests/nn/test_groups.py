"""A group for what a user trains, and one for each quantizer's own; their rates."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from coarsegrad.nn import FakeQuantize, Recipe, pairs, parameter_groups, prepare


def prepared(recipe, *, size=1.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    model = prepare(model, recipe).train()
    model(size * torch.randn(64, 8))
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


LEARNED = [
    "w2a2",
    "w8a8",
    "activation=pact(bits=2)",
    "activation=lsq_plus(bits=4)",
    "activation=n2uq(bits=2)",
]


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
@pytest.mark.parametrize("recipe", LEARNED)
def test_each_moves_by_its_rate_in_units_of_itself_and_a_weights_step_as_its_weights(optimizer, recipe, size):
    model = prepared(recipe, size=size)
    held = optimizer(parameter_groups(model, lr=0.01, adaptive=True))
    weights = {q: p.detach().abs().mean() for p, q in pairs(model)}
    own = [
        (q, name, p) for q in model.modules() if isinstance(q, FakeQuantize)
        for name, p in q.named_parameters(recurse=False)
    ]  # fmt: skip
    before = [p.detach().clone() for _, _, p in own]
    sizes = [(q.raw_scale if n == "raw_offset" else p).detach().abs().mean() for q, n, p in own]
    units = [size / weights.get(q, 1.0) for size, (q, _, _) in zip(sizes, own, strict=True)]
    model(size * torch.randn(64, 8)).square().mean().backward()
    held.step()
    once = 0.1 if optimizer is torch.optim.RMSprop else 0.01  # its first step is ten times as long
    moved = 0
    for (_, _, p), old, unit in zip(own, before, units, strict=True):
        sure = p.grad.abs() > 1e-3  # beside the optimizers' epsilon
        moved += int(sure.sum())
        assert torch.allclose((p - old).abs()[sure], once * unit, rtol=0.02)
    assert moved


def test_weights_without_a_latent_have_a_size_too():
    model = nn.Sequential(weight_norm(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 64))
    model = prepare(model, Recipe("weight=lsq(bits=4)", first=None, last=None))
    model(torch.randn(9, 64))
    *_, normed, plain = parameter_groups(model, 1e-3, adaptive=True)
    rates = [group["lr"] / group["params"][0].mean().item() for group in (normed, plain)]
    assert rates[0] == pytest.approx(rates[1], rel=0.2) and rates[0] > 5e-3


def test_without_a_decay_of_its_own_it_is_the_optimizers_for_layers_alone():
    held = torch.optim.AdamW(parameter_groups(prepared("w2a2"), lr=0.1, adaptive=True), weight_decay=0.05)
    assert [group["weight_decay"] for group in held.param_groups][:2] == [0.05, 0.0]


def test_steps_that_have_not_started_have_no_size_yet():
    model = prepare(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), "w2a2")
    with pytest.raises(ValueError, match=r"no scale yet: calibrate\(model, batches\)"):
        parameter_groups(model, 0.1, adaptive=True)
    assert len(parameter_groups(model, 0.1, adaptive=False)) == 2


class Aside(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.aside = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.used(x)


def test_a_module_that_is_never_called_is_named_with_a_mend_that_works():
    model = prepare(Aside(), "w2a2")
    model(torch.randn(4, 8))
    with pytest.raises(ValueError, match=r"aside.*prepare\(model, recipe, example\) sees that"):
        parameter_groups(model, 0.1, adaptive=True)
    model = prepare(Aside(), "w2a2", torch.randn(4, 8))
    model(torch.randn(4, 8))
    assert parameter_groups(model, 0.1, adaptive=True)
