"""Networks nobody here wrote go from float to trained levels: what each one is, `architectures.py` says."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("transformers", reason="needs transformers: pip install coarsegrad[test]")
pytest.importorskip("monai", reason="needs MONAI: pip install coarsegrad[test]")

from coarsegrad.nn import convert, plan, prepare, quantize
from coarsegrad.nn.macs import plain_attention
from nn.architectures import ARCHITECTURES, run

NEEDS_EINOPS = {"MONAI UNETR", "MONAI SwinUNETR", "MONAI DiffusionModelUNet"}
BELOW_95 = {"Mixtral": "MixtralExperts uses gate_up_proj, down_proj directly"}
"""Share of weight MACs below 0.95, with the reason that the plan gives."""

SIMILARITIES = {"CLIP": 3 * 3 * 16}
"""Products of two activations that torch counts as matrix products: every text with every image."""

UNCOUNTED = {"Mixtral": 3 * 36 * 32 * (96 + 48)}
"""Products with a weight that torch's own counter does not know: grouped, one group per expert."""

each = pytest.mark.parametrize("name", ARCHITECTURES)


@pytest.fixture
def built(name):
    if name in NEEDS_EINOPS:
        pytest.importorskip("einops", reason="needs einops: pip install coarsegrad[test]")
    model, batch = ARCHITECTURES[name]()
    return model.train(), batch


def latent(name):
    """The float model's name of a prepared model's parameter."""
    return (
        name.replace("parametrizations.", "").replace(".original", "") if name.endswith(".original") else name
    )


def step(model, batch):
    """One step of SGD; the names of the parameters that got a gradient."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sum(y.square().mean() for y in run(model, batch)).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    optimizer.step()
    return reached


@each
def test_it_is_quantized_trained_saved_loaded_and_converted(built):
    model, batch = built
    quantized = quantize(model, "w2a2", [batch])
    reached = {latent(name) for name in step(quantized, batch)}
    lost = {name for name in step(copy.deepcopy(model), batch) if latent(name) not in reached}
    assert lost == set()
    assert [n for n, _ in quantized.named_parameters() if "raw_" in n and n not in reached] == []

    loaded = prepare(model, "w2a2", batch)
    loaded.load_state_dict(quantized.state_dict(), strict=True)
    converted = convert(quantized)
    with torch.no_grad():
        outputs, again, plain = (run(m.eval(), batch) for m in (quantized, loaded, converted))
    assert outputs and all(y.isfinite().all() for y in outputs)
    assert all(torch.equal(a, b) for a, b in zip(outputs, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(outputs, plain, strict=True))
    ours = {id(p) for m in plain_modules(converted) for p in m.parameters(recurse=False)}
    theirs = {
        id(p) for n, p in model.named_parameters() if not n.endswith("original0")
    }  # weight norm makes one of two
    assert len(ours) == len(theirs)  # ties included


def plain_modules(model):
    return (m for m in model.modules() if type(m).__name__ != "FakeQuantize")


@each
def test_95_percent_of_its_weight_macs_are_quantized_or_the_exception_is_named(built, name):
    model, batch = built
    made = plan(model, "w2a2", batch)
    if name in BELOW_95:
        kept = [r for r in made.floats if r.reason.startswith(BELOW_95[name])]
        assert made.coverage < 0.95 and sum(r.macs for r in kept) >= 0.95 * made.macs * (1 - made.coverage)
    else:
        assert made.coverage >= 0.95
    named = {row.name for row in (*made.rows, *made.floats)}
    for place, module in model.named_modules():  # no module with parameters of its own is left unsaid
        assert place in named or not list(module.parameters(recurse=False)) or "parametrizations" in place


@each
def test_the_plan_counts_the_macs_that_torch_counts(built, name):
    model, batch = built
    made = plan(model, "w2a2", batch)
    with plain_attention(), FlopCounterMode(display=False) as flops:
        run(model.eval(), batch)
    kinds = {str(kind): number // 2 for kind, number in flops.get_flop_counts()["Global"].items()}
    with_weights = sum(
        n for kind, n in kinds.items() if "attention" not in kind and kind not in ("aten.bmm", "aten.baddbmm")
    )
    assert made.macs == with_weights - SIMILARITIES.get(name, 0) + UNCOUNTED.get(name, 0)


@pytest.mark.parametrize("name", ["BERT", "GPT-2", "MONAI UNet", "ResNet"])
def test_at_eight_bits_it_computes_nearly_what_it_did(built):
    model, batch = built
    with torch.no_grad():
        expected = run(model.eval(), batch)
        got = run(quantize(model, "w8a8", [batch]).eval(), batch)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).norm() < 0.05 * b.norm()


@pytest.mark.parametrize("name", ["GPT-2", "T5", "BERT", "OPT"])
def test_a_tied_embedding_and_head_share_one_quantizer(built, name):
    model, batch = built
    ids = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    quantized = quantize(model, "w4a4", [batch])
    again = [id(p) for n, p in quantized.named_parameters(remove_duplicate=False) if "raw_" not in n]
    assert len(ids) - len(set(ids)) == len(again) - len(set(again)) >= 1
    embedding, head = quantized.get_input_embeddings(), quantized.get_output_embeddings()
    assert embedding.parametrizations.weight[0] is head.parametrizations.weight[0]
    assert embedding.weight.equal(head.weight)


def test_conv1d_of_transformers_has_its_channels_on_the_last_axis():
    model, batch = ARCHITECTURES["GPT-2"]()
    quantized = quantize(model, "w1a32", [batch])
    layer = quantized.transformer.h[0].mlp.c_fc
    assert layer.parametrizations.weight[0].scale.shape == (1, layer.nf)
    assert layer.weight.abs().sub(layer.weight.abs()[:1]).abs().max() == 0


@pytest.mark.parametrize(
    "name", ["MONAI UNet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ResNet", "ViT (sdpa)"))]
)
def test_it_compiles_whole(built):
    model, batch = built
    quantized = quantize(model, "w2a2", [batch])
    outputs = run(torch.compile(quantized, fullgraph=True, backend="aot_eager"), batch)
    sum(y.square().mean() for y in outputs).backward()
    assert all(p.grad is not None for p in quantized.parameters())
    assert isinstance(quantized, nn.Module)
