import pytest
import torch

from coarsegrad.nn import pairs
from coarsegrad.optim import RULES, Bop, Latent, Lion, Muon, Together
from coarsegrad.train.build import build as built
from coarsegrad.train.plan import OPTIMIZERS, TrainPlan
from coarsegrad.train.update import hidden_weights, make_optimizer, set_rate

SMALL = {"model": "mlp(widths=(8,8))"}


def build(plan):
    """Its model and data, every scale started."""
    model, data = built(plan)
    model.train()(data.train_images[:64].float())
    return model, data


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


def test_lions_first_beta_is_the_plans_momentum():
    plan = TrainPlan(**SMALL, optimizer="lion", momentum=0.8)
    optimizer = make_optimizer(plan, build(plan)[0])
    assert type(optimizer) is Lion and optimizer.param_groups[0]["betas"] == (0.8, 0.99)


@pytest.mark.parametrize("recipe", [None, "w2a2"])
def test_muon_takes_the_weights_of_hidden_layers_and_adamw_the_rest(recipe):
    plan = TrainPlan(model="lenet5", recipe=recipe, optimizer="muon", momentum=0.95, weight_decay=0.1)
    model, _ = build(plan)
    optimizer = make_optimizer(plan, model)
    assert isinstance(optimizer, Together)
    muon, adamw = optimizer.optimizers
    assert isinstance(muon, Muon) and type(adamw) is torch.optim.AdamW
    names = {id(p): n for n, p in model.named_parameters()}
    taken = {names[id(p)].split(".")[0] for p in muon.param_groups[0]["params"]}
    assert taken == {"conv2", "fc1"} and len(muon.param_groups[0]["params"]) == 2
    assert muon.param_groups[0]["momentum"] == 0.95 and adamw.param_groups[0]["betas"] == (0.9, 0.999)
    steps = sum("raw_" in name for name in names.values())
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0.1] + steps * [0.0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trained_steps_have_rates_of_their_own_but_under_sgd(optimizer):
    model, _ = build(plan := TrainPlan(**SMALL, recipe="w4a4", optimizer=optimizer, lr=0.01))
    rates = {
        id(p): group["lr"] for group in make_optimizer(plan, model).param_groups for p in group["params"]
    }
    own = {rates[id(p)] for name, p in model.named_parameters() if "raw_" in name}
    assert own == {0.01} if optimizer == "sgd" else 0.01 not in own
    assert {rates[id(p)] for name, p in model.named_parameters() if "raw_" not in name} == {0.01}


def test_embeddings_are_layers_and_never_hidden_ones():
    model = torch.nn.Sequential(
        torch.nn.Embedding(9, 4), torch.nn.Linear(4, 4), torch.nn.Embedding(9, 4), torch.nn.Linear(4, 9)
    )
    assert [id(p) for p in hidden_weights(model)] == [id(model[1].weight)]


@pytest.mark.parametrize("optimizer", ["lion", "muon"])
def test_latent_rules_and_bop_work_with_the_newer_optimizers(optimizer):
    plan = TrainPlan(**SMALL, optimizer=optimizer, latent=("clip(low=-0.01,high=0.01)",))
    model, data = build(plan)
    made = make_optimizer(plan, model)
    assert isinstance(made, Latent)
    images, labels = next(data.train_batches(64).epoch(0))
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    made.step()
    assert max(p.abs().max() for p, _ in pairs(model)) <= 0.01
    some = {"model": "mlp(widths=(8,8,8))", "recipe": "w1a2", "rules": ("fc2=w2a2",)}
    plan = TrainPlan(**some, optimizer=optimizer, latent=("bop",))
    made = make_optimizer(plan, build(plan)[0])
    kinds = [type(part).__name__ for part in made.optimizers]
    assert kinds == ["Bop", *{"lion": ["Lion"], "muon": ["Muon", "AdamW"]}[optimizer]]


@pytest.mark.parametrize("changes", [{"model": "mlp(widths=(8,))"}, {"recipe": "w1a2", "latent": ("bop",)}],
                         ids=["two layers", "bop took them"])  # fmt: skip
def test_muon_without_hidden_layers_says_what_to_do(changes):
    plan = TrainPlan(**{**SMALL, "optimizer": "muon", **changes})
    with pytest.raises(ValueError, match=r"hidden layers.*try 'adamw'"):
        make_optimizer(plan, build(plan)[0])
