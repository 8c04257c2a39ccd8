import tomllib
from dataclasses import fields, replace

import pytest

from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.nn import Recipe
from coarsegrad.train.plan import PLACES, SCHEDULES, Constant, Cosine, Step, TrainPlan, read_config

FULL = TrainPlan(
    model="mlp(widths=(8,))",
    recipe="w1a2",
    activation_surrogate="clipped_relu(top=3.0)",
    first=None,
    rules=("fc1=w4a8", "*:Linear=w2a2"),
    latent=("clip", "blend(rho=0.001)"),
    grad_clip=1.5,
    schedule="step(epochs=(2,4),factor=0.5)",
    start='a "quoted" päth.pt',
    epochs=7,
)


@pytest.mark.parametrize(
    "plan", [TrainPlan(), TrainPlan(recipe=None), FULL], ids=["default", "float", "full"]
)
def test_a_plan_survives_its_file(plan, tmp_path):
    (tmp_path / "plan.toml").write_text(plan.write(), encoding="utf-8")
    assert TrainPlan.read(tmp_path / "plan.toml") == plan
    assert set(tomllib.loads(plan.write())) == {f.name for f in fields(TrainPlan)}


def test_yaml_and_overrides_say_the_same_as_toml(tmp_path):
    (tmp_path / "plan.yaml").write_text("recipe: w1a2\nepochs: 7\nlr: 1\nrules: [fc1=w4a8]\n")
    assert TrainPlan.read(tmp_path / "plan.yaml", epochs=3) == TrainPlan(
        recipe="w1a2", epochs=3, lr=1.0, rules=("fc1=w4a8",)
    )


def test_a_configuration_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"none\.toml: no such file; give the path"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "epochs = ", "not valid TOML"),
        ("a.yaml", "a: [", "not valid YAML"),
        ("a.yaml", "- 1", "table of KEY: VALUE"),
        ("a.json", "{}", r"\.toml, \.yaml or \.yml"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / name)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"epochs": "3"}, "epochs takes a value of type int"),
        ({"epochs": True}, "type int"),
        ({"amp": 1}, "type bool"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"lr": float("nan")}, "lr must be finite"),
        ({"optimizer": "sdg"}, "known: sgd, adam, adamw"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"schedule": "step(epochs=3)"}, "whole numbers"),
        ({"recipe": "w9a2"}, "1 to 8"),
        ({"recipe": "2bits"}, "cannot read"),
        ({"activation_surrogate": "hartanh"}, "did you mean 'hardtanh'"),
        ({"model": "lenet"}, "did you mean 'lenet5'"),
        ({"data": "minst"}, "did you mean 'mnist'"),
        ({"latent": ("clipp",)}, "did you mean 'clip'"),
        ({"latent": ("bop", "clip")}, "give it alone"),
        ({"latent": ("bop(lr=5.0)",)}, "adaptivity rate"),
        ({"latent": ("bop(threshold=-1.0)",)}, "cannot be negative"),
        ({"latent": ("clip",), "recipe": None}, "need a quantized model"),
        ({"rules": ("fc1",)}, "write PATTERN=w4a8"),
        ({"rules": 3}, "list of texts"),
        ({"pretrain_epochs": 2, "recipe": None}, "give them all as epochs"),
        ({"distill": 1.5}, "distill must be in"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"batch_norm": "synch"}, "known: train, frozen, sync"),
        ({"batch_norm": "sync"}, "CUDA only"),
        ({"activations": "outputs"}, "known: inputs, relus"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_a_wrong_field_is_refused_at_the_door(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainPlan(**wrong)


def test_an_unknown_field_gets_the_closest_name():
    with pytest.raises(ValueError, match="did you mean 'batch_size'"):
        TrainPlan.of({"batchsize": 3})


def test_the_work_says_where_quantizers_have_rates_of_their_own():
    said = {
        (recipe, optimizer): "quantizer_rates" in TrainPlan(recipe=recipe, optimizer=optimizer).work()
        for recipe in ("w2a2", None) for optimizer in ("sgd", "adam")
    }  # fmt: skip
    assert [about for about, relative in said.items() if relative] == [("w2a2", "adam")]


def test_the_id_depends_on_every_field_but_where_the_run_happens():
    others = {
        "data": "gaussian",
        "model": "mlp",
        "recipe": "w1a1",
        "activations": "relus",
        "optimizer": "adam",
    }
    others |= {"weight_surrogate": "identity", "activation_surrogate": "identity", "schedule": "constant"}
    others |= {"batch_norm": "frozen", "latent": ("clip",), "rules": ("a=w4a8",), "first": None, "last": None}
    others |= {"grad_clip": 1.0, "start": "a.pt", "teacher": "b", "distill": 0.5, "momentum": 0.5}
    ids = {TrainPlan().id()}
    for field in fields(TrainPlan):
        if field.name in PLACES:
            other = replace(TrainPlan(), **{field.name: "cuda" if field.name == "device" else "x"})
            assert other.id() == TrainPlan().id()
            continue
        value = others.get(field.name)
        if field.name not in others:
            value = (not field.default) if isinstance(field.default, bool) else field.default + 1
        ids.add(replace(TrainPlan(), **{field.name: value}).id())
    assert len(ids) == len(fields(TrainPlan)) - len(PLACES) + 1


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_reaches_the_recipe(name):
    recipe = TrainPlan(activation_surrogate=name).read_recipe()
    assert recipe is not None
    assert isinstance(recipe.activation_surrogate, SURROGATES[name])


def test_a_full_recipe_stands_for_itself():
    plan = TrainPlan(recipe="recipe(bits='w1a1',first=None)", activation_surrogate="identity")
    assert plan.read_recipe() == Recipe("w1a1", first=None)


def test_schedules_begin_at_one_and_end_where_they_should():
    assert set(SCHEDULES) == {"cosine", "constant", "step"}
    assert [Cosine().at(e, 10) for e in (0, 5, 10)] == pytest.approx([1, 0.5, 0], abs=1e-15)
    assert [Constant().at(e, 10) for e in (0, 5, 10)] == [1, 1, 1]
    assert [Step((2, 4), 0.1).at(e, 10) for e in (0, 1.99, 2, 3, 4, 9)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_warmup_climbs_from_near_zero_to_the_schedule():
    plan = TrainPlan(warmup=2.0, schedule="constant")
    assert 0 < plan.factor(0, 10) < 1e-3
    assert plan.factor(1, 10) == pytest.approx(0.5, abs=1e-3)
    assert plan.factor(2, 10) == 1
