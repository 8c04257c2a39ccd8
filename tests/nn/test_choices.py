"""Bits go to layers by default, then by place, then by rules in order; a shared weight gets one choice."""

import pytest
import torch
from torch import nn

from coarsegrad.core.quantizers import Uniform
from coarsegrad.nn import Bits, Recipe, Rule, plan


def bits(made):
    return {r.name: (r.weight and r.weight.bits, r.activation and r.activation.bits) for r in made.rows}


def test_first_and_last_are_found_by_call_order_not_by_name():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.a_last, self.b_middle, self.c_first = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            return self.a_last(self.b_middle(self.c_first(x)))

    net, x = Backwards(), torch.randn(2, 4)
    assert {n: b for n, (b, _) in bits(plan(net, "w2a2", x)).items()} == {
        "a_last": 8,
        "b_middle": 2,
        "c_first": 8,
    }
    assert {n: b for n, (b, _) in bits(plan(net, "w2a2")).items()} == {
        "a_last": 8,
        "b_middle": 2,
        "c_first": 8,
    }


def test_a_module_called_twice_is_last_by_its_last_call_and_one_never_called_is_neither():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.middle, self.spare = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            return self.shared(self.middle(self.shared(x)))

    made = plan(Loop(), Recipe("w2a2", first="w7a7", last="w6a6"), torch.randn(2, 4))
    assert bits(made) == {"shared": (7, 7), "middle": (2, 2), "spare": (2, None)}
    assert "spare: input stays float: never called on the example: no hook sees an input" in str(made)
    assert [r.macs for r in made.rows] == [64, 32, 0]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [("w8a8", "w4a4", 8), (None, "w4a4", 4), ("w7a7", None, 7), (None, None, 2)],
)
def test_a_lone_layer_is_first_and_last(first, last, expected):
    made = plan(nn.Linear(4, 4), Recipe("w2a2", first=first, last=last), torch.randn(2, 4))
    assert bits(made) == {"": (expected, expected)}


def test_the_last_matching_rule_wins_over_first_last_and_embeddings(everything):
    net, x = everything
    rules = (
        Rule("conv*", "w3a3"),
        Rule(kind="Conv2d", bits="w4a4"),
        Rule("depth*", "w5a32"),
        Rule("head", "w6a6"),
        Rule("emb*"),
    )
    found = bits(plan(net, Recipe("w2a2", rules=rules), x))
    assert found["conv1"] == (3, 3) and found["conv2"] == (4, 4) and found["depthwise"] == (5, None)
    assert found["head"] == (6, 6) and found["embedding"] == (None, None) and found["up"] == (2, 2)
    assert bits(plan(net, Recipe("w2a2", rules=rules[::-1]), x))["conv2"] == (3, 3)


UNMATCHED = {
    "fc9": (Rule("fc9", "w4a4"), r"rule 'fc9' names no module; this model has: 0, 2, 4"),
    "Conv2d": (Rule(kind="Conv2d", bits="w4a4"), r"rule '\*' of type Conv2d names no module"),
}


@pytest.mark.parametrize(("rule", "message"), UNMATCHED.values(), ids=UNMATCHED)
def test_a_rule_that_names_nothing_is_an_error(mlp, rule, message):
    with pytest.raises(ValueError, match=message):
        plan(mlp[0], Recipe("w2a2", rules=(rule,)))


def test_a_rule_for_a_container_is_told_how_to_name_what_it_holds():
    net = nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(2, 2)), "head": nn.Linear(2, 2)})
    with pytest.raises(
        ValueError, match=r"rule 'encoder' names no module; it holds such modules: write encoder\.\*"
    ):
        plan(net, Recipe("w2a2", rules=(Rule("encoder"),)))


def tied():
    net = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})
    net["c"].weight = net["a"].weight
    return net


def test_conflicting_rules_on_a_tied_weight_raise():
    rules = (Rule("a", "w4a4"), Rule("c", "w3a4"))
    with pytest.raises(
        ValueError, match="a and c share one weight but get different bits; give them the same in one rule"
    ):
        plan(tied(), Recipe("w2a2", rules=rules))
    with pytest.raises(ValueError, match="a and c share one weight"):
        plan(tied(), Recipe("w2a2", first="w8a8", last="w4a4"))


def test_a_rule_on_one_side_of_a_tie_holds_for_the_weight_and_only_there_for_the_input():
    made = plan(tied(), Recipe("w2a2", rules=(Rule("c", "w5a5"),)))
    assert bits(made) == {"a": (5, 8), "b": (2, 2), "c": (5, 5)}
    assert "c: weight tied to an earlier layer: one quantizer serves both" in str(made)
    assert made.bytes_before == 4 * 2 * 16


def test_a_weight_tied_over_different_channel_axes_needs_a_scale_per_tensor():
    net = nn.ModuleDict({"a": nn.Conv2d(4, 4, 1), "b": nn.ConvTranspose2d(4, 4, 1)})
    net["b"].weight = net["a"].weight
    with pytest.raises(
        ValueError,
        match="a and b share one weight, with channels on different axes; give it a scale per tensor",
    ):
        plan(net, "w2a2")
    assert plan(net, Recipe(Bits(Uniform(bits=2)), first=None, last=None)).rows[1].weight.bits == 2


def test_relus_in_a_model_without_such_modules_are_refused():
    with pytest.raises(ValueError, match=r"finds no ReLU-like module .*: use 'inputs'"):
        plan(nn.Linear(2, 2), Recipe("w2a2", activations="relus"))
