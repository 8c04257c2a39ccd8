"""The plan says what is quantized, what is not, and why; the numbers in it are those of the network."""

import pytest
import torch
from torch import nn

from coarsegrad.core.learned import LSQ
from coarsegrad.core.quantizers import TWN, Binary, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.nn import Bits, Recipe, Rule, convert, plan, prepare, quantize
from coarsegrad.train.zoo import LeNet5


def bits(made):
    return {r.name: (r.weight and r.weight.bits, r.activation and r.activation.bits) for r in made.rows}


def test_every_layer_has_its_row_and_everything_else_its_reason(everything):
    net, x = everything
    made = plan(net, "w2a2", x)
    assert bits(made) == {
        "embedding": (8, None),
        "conv1": (8, 8),
        "conv2": (2, 2),
        "depthwise": (2, 2),
        "conv3": (2, 2),
        "up": (2, 2),
        "up_grouped": (2, 2),
        "attention": (2, 2),
        "attention.out_proj": (2, None),
        "gpt": (2, 2),
        "head": (8, 8),
    }
    assert [(r.name, r.parameters, r.macs) for r in made.floats] == [("norm", 12, 0)]
    assert {r.name: r.activation_reason for r in made.rows if r.activation_reason} == {
        "attention.out_proj": "called functionally by MultiheadAttention: no hook reaches its input"
    }


def test_every_module_with_parameters_is_in_the_plan(everything):
    net, x = everything
    made = plan(net, "w2a2", x)
    named = {r.name for r in (*made.rows, *made.floats)}
    assert {n for n, m in net.named_modules() if list(m.parameters(recurse=False))} <= named


def test_the_printed_plan_says_bits_shapes_macs_memory_and_reasons(everything):
    net, x = everything
    made = plan(net, Recipe("w2a2", rules=(Rule("conv3"),)), x)
    text = str(made)
    line = next(line for line in text.splitlines() if line.startswith("conv2 "))
    assert line.split() == [
        "conv2",
        "Conv2d",
        "6x6x1x3",
        "4x6x1x9",
        "2b",
        "lsq/ch",
        "signed",
        "2b",
        "lsq",
        "sign?",
        "3.89k",
        "0.4",
        "0.0",
    ]
    assert "norm   LayerNorm          12      0  normalization: a scale and a shift per channel" in text
    assert "conv3  Conv3d             36  1.30k  float by the recipe" in text
    assert "attention: the products of queries, keys and values stay float" in text
    share = 1 - 4 * 9 * 36 / made.macs
    assert f"weight MACs quantized: {100 * share:.1f} %; weights 2.4 -> 0.7 KiB (3.4x smaller)" in text


def test_ranges_and_signs_come_from_calibration(mlp):
    net, x = mlp
    prepared = prepare(net, "w2a2", x)
    assert {r.ranges for r in plan(prepared).rows} == {"not calibrated"}
    rows = plan(quantize(net, "w2a2", [x])).rows
    assert [r.activation.signed for r in rows] == [True, False, False]
    low, high = (float(v) for v in rows[0].ranges.strip("[]").split(","))
    assert low < 0 < high <= x.abs().max() * 1.3
    assert rows[1].ranges.startswith("[0, ")
    assert "8b lsq signed" in str(plan(quantize(net, "w2a2", [x]))) and "2b lsq unsigned" in str(
        plan(quantize(net, "w2a2", [x]))
    )


@pytest.mark.parametrize("stage", [lambda m: m, convert], ids=["prepared", "converted"])
def test_of_a_prepared_model_the_plan_says_what_was_done(everything, stage):
    net, x = everything
    recipe = Recipe("w3a2", rules=(Rule("conv3"), Rule("up", "w4a32")))
    before = plan(net, recipe, x)
    after = plan(stage(quantize(net, recipe, [x])), None, x)
    assert bits(after) == bits(before)
    assert after.macs == before.macs and after.coverage == before.coverage
    assert (after.bytes_before, after.bytes_after) == (before.bytes_before, before.bytes_after)
    assert [r.name for r in after.floats] == ["norm"]


def test_a_float_model_needs_a_recipe(mlp):
    with pytest.raises(ValueError, match=r"needs the recipe, as in plan\(model, 'w2a2'\)"):
        plan(mlp[0])


MEMORY = {
    "lsq per channel": (LSQ(bits=3, scale=Scale("mse", axis=0, learned=True)), 10 * 7 * 3 / 8 + 4 * 10),
    "binary": (Binary(), 10 * 7 / 8 + 4),
    "groups of 7": (Uniform(bits=2, scale=Scale("mse", group=7)), 10 * 7 * 2 / 8 + 4 * 10),
    "twn, two values": (TWN(), 10 * 7 * 2 / 8 + 8),
}


@pytest.mark.parametrize(("quantizer", "expected"), MEMORY.values(), ids=MEMORY)
def test_memory_is_packed_codes_and_scales(quantizer, expected):
    made = plan(nn.Linear(7, 10), Recipe(Bits(quantizer), first=None, last=None))
    assert made.bytes_before == 4 * 70 and made.bytes_after == -(-expected // 1)


def test_lenet_costs_what_the_papers_say():
    made = plan(LeNet5().build(in_shape=(1, 28, 28), classes=10), "w2a2", torch.randn(1, 1, 28, 28))
    by_layer = [r.macs for r in made.rows]
    shapes = [(r.shape, r.out_shape) for r in made.rows]
    for macs, (weight, output) in zip(by_layer, shapes, strict=True):
        assert macs == torch.Size(output).numel() * torch.Size(weight[1:]).numel()
    assert made.macs == sum(by_layer) and made.coverage == 1.0


def test_unsupported_layers_are_listed_with_macs_and_count_against_the_share():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head, self.mix = (
                nn.LSTM(4, 8, batch_first=True),
                nn.Linear(8, 2),
                nn.Parameter(torch.randn(4, 4)),
            )

        def forward(self, x):
            return self.head(self.lstm(x @ self.mix)[0])

    made = plan(Net(), "w2a2", torch.randn(3, 5, 4))
    steps = 15
    assert {r.name: (r.kind, r.macs, r.parameters) for r in made.floats} == {
        "": ("Net", steps * 16, 16),
        "lstm": ("LSTM", steps * 32 * 12, 32 * 14),
    }
    assert made.coverage == steps * 16 / (steps * (16 + 16 + 384))
    text = str(made)
    assert "recurrent layers are not supported" in text and "Net uses mix directly in its forward" in text


def test_relus_are_listed_with_their_bits_and_the_inputs_with_the_reason(cnn):
    net, x = cnn
    recipe = Recipe("w2a2", rules=(Rule("5", "w2a4"),), activations="relus")
    made = plan(net, recipe, x)
    assert {r.name: r.activation.bits for r in made.outputs} == {"2": 2, "5": 4}
    assert "quantized outputs:" in str(made)
    assert "0, 3, 7: input stays float: the recipe quantizes at the outputs of ReLU-like modules" in str(made)
    done = plan(quantize(net, recipe, [x]))
    assert [(r.name, r.kind) for r in done.outputs] == [("2", "ReLUThenQuantize"), ("5", "ReLUThenQuantize")]
    assert all(r.ranges.startswith("[0, ") for r in done.outputs)


def test_without_an_example_nothing_is_claimed_about_calls(mlp):
    made = plan(mlp[0], "w2a2")
    assert made.macs is None and made.coverage is None and "unknown without an example" in str(made)


def test_a_relu_used_twice_is_said_to_share_its_scale():
    class Reuses(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.relu = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2), nn.ReLU()

        def forward(self, x):
            return self.c(self.relu(self.b(self.relu(self.a(x)))))

    made = plan(Reuses(), Recipe("w2a2", activations="relus"), torch.randn(3, 4))
    assert "called 2 times: all share one scale" in made.outputs[0].note
    assert "relu: called 2 times" in str(made)


def test_a_model_without_layers_has_a_plan_that_says_so():
    assert str(plan(nn.Flatten(), "w2a2")) == "nothing to quantize: this model has no layer and no parameter"
