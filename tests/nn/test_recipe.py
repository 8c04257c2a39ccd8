"""A recipe is one frozen value with one written form; what it cannot mean is refused at the door."""

from dataclasses import FrozenInstanceError

import pytest

from coarsegrad import spec
from coarsegrad.core.learned import LSQ, PACT
from coarsegrad.core.quantizers import Binary, DoReFaWeight, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogates import EDE, ApproxSign, ClippedReLU
from coarsegrad.nn import Bits, Recipe, Rule
from coarsegrad.nn.recipe import on_axis

RECIPES = {
    "plain": Recipe("w2a2"),
    "surrogates": Recipe("w1a1", EDE(t_max=5.0), ApproxSign()),
    "objects": Recipe(Bits(Binary(), PACT(bits=3)), first=None, last=None, embeddings="float"),
    "rules": Recipe(
        "w4a4", rules=(Rule("a.*", "w8a8"), Rule(kind="Conv2d", bits="float")), activations="relus"
    ),
    "a rule with objects": Recipe("w4a4", rules=(Rule("a", Bits(DoReFaWeight(bits=2))),)),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_written_form_reads_back_equal(recipe):
    assert Recipe.read(spec.write(recipe)) == recipe
    assert Recipe.read(recipe) is recipe


def test_short_bits_read_as_the_defaults():
    two = Bits.read("W2A3")
    assert two.weight == LSQ(bits=2, signed=True, scale=Scale("mse", axis=0, learned=True))
    assert two.activation == LSQ(bits=3, signed=None, scale=Scale("mse", learned=True))
    assert Bits.read("w1a32") == Bits(Binary(scale=Scale("mean_abs", axis=0, live=True)))
    assert Bits.read("float") == Bits() == Bits.read("w32a0")
    assert Bits.read("weight=binary;activation=pact(bits=2)") == Bits(Binary(), PACT(bits=2))


def test_first_and_last_are_8_bits_unless_said_otherwise():
    assert (Recipe("w2a2").first, Recipe("w2a2").last) == ("w8a8", "w8a8")


def test_rules_match_names_as_file_patterns_and_types_exactly():
    assert Rule("layer?.*.conv").applies("layer1.0.conv", "Conv2d")
    assert not Rule("layer?").applies("layer1.0", "Conv2d") and Rule("layer*").applies("layer1.0", "Conv2d")
    assert Rule(kind="Linear").applies("anything", "Linear") and not Rule(kind="Linear").applies(
        "x", "Conv2d"
    )
    assert Rule.read("decoder.*:Linear=w4a8") == Rule("decoder.*", "w4a8", "Linear")
    assert Rule.read(":Conv2d = float") == Rule("*", "float", "Conv2d")


REFUSED = {
    "bits": (lambda: Recipe("two"), "cannot read bits 'two'; write w2a2, float, or weight="),
    "bits of the first": (lambda: Recipe("w2a2", first="8"), "cannot read bits '8'"),
    "places": (lambda: Recipe("w2a2", activations="outputs"), "activations='outputs'.* known: inputs, relus"),
    "text as a rule": (lambda: Recipe("w2a2", rules=("fc=w4a4",)), r"Rule\.read\('PATTERN=w4a8'\) makes one"),
    "rule without bits": (lambda: Rule.read("fc1"), "write PATTERN=w4a8, PATTERN:Type=w4a8 or PATTERN=float"),
    "rule with wrong bits": (lambda: Rule("fc1", "four"), "cannot read bits 'four'"),
    "per channel activation": (
        lambda: Bits(activation=LSQ(scale=Scale("mse", axis=0, learned=True))),
        "activations have one scale per tensor",
    ),
    "unknown name": (lambda: Bits.read("weight=binry"), "did you mean 'binary'"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_recipe_cannot_mean_is_refused_with_the_mend(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_recipe_is_frozen_and_can_be_a_key():
    with pytest.raises(FrozenInstanceError):
        Recipe("w2a2").bits = "w3a3"
    assert len({Recipe("w2a2"), Recipe("w2a2"), Recipe("w2a3")}) == 2


def test_a_per_channel_scale_moves_to_the_layers_own_axis_and_others_stay():
    assert on_axis(LSQ(scale=Scale("mse", axis=0, learned=True)), 1).scale.axis == 1
    for quantizer in (Uniform(), Uniform(scale=Scale("mse", group=4)), PACT()):
        assert on_axis(quantizer, 1) == quantizer


def test_the_surrogates_of_a_recipe_may_differ():
    recipe = Recipe("w1a2", activation_surrogate=ClippedReLU())
    assert recipe.weight_surrogate != recipe.activation_surrogate


def test_a_surrogate_may_be_given_by_its_written_form():
    from coarsegrad.core.surrogates import ClippedReLU

    assert Recipe("w1a1", activation_surrogate="clipped_relu(top=2)").activation_surrogate == ClippedReLU(2)
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        Recipe("w1a1", activation_surrogate="rellu")
    with pytest.raises(TypeError, match="takes a surrogate or its written form"):
        Recipe("w1a1", weight_surrogate=3)
