"""MultiheadAttention, which calls no submodule: weights and inputs are quantized, the rest listed."""

import pytest
import torch
from torch import nn

from coarsegrad.core import fused
from coarsegrad.nn import FakeQuantize, Recipe, calibrate, convert, plan, prepare, quantize

FORMS = {
    "packed": dict(embed_dim=8, num_heads=2),
    "packed, batch first": dict(embed_dim=8, num_heads=2, batch_first=True),
    "packed, no bias": dict(embed_dim=8, num_heads=2, bias=False),
    "packed, extra keys": dict(embed_dim=8, num_heads=2, add_bias_kv=True, add_zero_attn=True),
    "unpacked": dict(embed_dim=8, num_heads=2, kdim=6, vdim=4),
    "unpacked, batch first": dict(embed_dim=8, num_heads=2, kdim=6, vdim=4, batch_first=True),
}
any_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def inputs(form, cross):
    first = form.get("batch_first", False)
    own, other = ((3, 5), (3, 7)) if first else ((5, 3), (7, 3))
    query = torch.randn(*own, 8)
    if not cross and "kdim" not in form:
        return query, query, query
    return query, torch.randn(*other, form.get("kdim", 8)), 2 + torch.randn(*other, form.get("vdim", 8))


@any_form
@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
@pytest.mark.parametrize("keywords", [False, True], ids=["positions", "keywords"])
def test_attention_is_quantized_trained_and_converted(form, cross, keywords, train):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(**form)

        def forward(self, q, k, v):
            return self.attention(query=q, key=k, value=v)[0] if keywords else self.attention(q, k, v)[0]

    args = inputs(form, cross)
    net = Block()
    prepared = quantize(net, Recipe("w2a2", first=None, last=None), [args])
    names = {"in_proj_weight"} if "kdim" not in form else {"q_proj_weight", "k_proj_weight", "v_proj_weight"}
    assert set(prepared.attention.parametrizations) == names
    assert all(
        getattr(prepared.attention, n).unique().numel() <= 4 * len(getattr(prepared.attention, n))
        for n in names
    )
    train(prepared, *args)
    assert [n for n, p in prepared.named_parameters() if p.grad is None] == []
    converted = convert(prepared)
    assert torch.equal(converted.eval()(*args), prepared.eval()(*args))
    assert all(
        torch.equal(
            getattr(converted.attention, f"{n}_quantized").dequantize(), getattr(converted.attention, n)
        )
        for n in names
    )


def test_the_network_sees_the_quantized_query_key_and_value():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    q, k, v = torch.randn(2, 5, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    prepared = quantize(attention, Recipe("w32a2", first=None, last=None), [(q, k, v)])
    see = prepared.input_quantizer.quantize
    expected = attention.eval()(see(q), see(k), see(v))[0]
    torch.testing.assert_close(prepared.eval()(q, k, v)[0], expected)


def test_self_attention_stays_self_attention():
    """One tensor given three times is quantized once, and arrives as one: torch's packed path needs it."""
    attention, x = nn.MultiheadAttention(8, 2), torch.randn(5, 3, 8)
    prepared = quantize(attention, "w2a2", [(x, x, x)])
    calls, arrived = [], []
    prepared.input_quantizer.register_forward_hook(lambda *a: calls.append(1))
    prepared.register_forward_pre_hook(lambda module, args: arrived.append(args))
    prepared(x, x, x)
    assert len(calls) == 1 and arrived[0][0] is arrived[0][1] is arrived[0][2]


def test_the_first_batch_of_cross_attention_fits_query_key_and_value_together():
    attention, (q, k, v) = nn.MultiheadAttention(8, 2), inputs({}, True)
    prepared = prepare(attention, Recipe("w2a8", first=None, last=None))
    prepared(q, 10 * k, v)
    calibrated = prepare(attention, Recipe("w2a8", first=None, last=None))
    calibrate(calibrated, [(q, 10 * k, v)])
    first, second = (m.input_quantizer.scale for m in (prepared, calibrated))
    assert first.allclose(second, rtol=0.05)


@pytest.mark.parametrize("example", [True, False], ids=["with an example", "without"])
def test_the_output_projection_has_a_quantized_weight_and_a_listed_float_input(example):
    layer, x = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(3, 5, 8)
    made = plan(layer, "w2a2", x if example else None)
    row = next(r for r in made.rows if r.name == "self_attn.out_proj")
    assert row.weight.bits == 2 and row.activation is None
    assert row.activation_reason == "called functionally by MultiheadAttention: no hook reaches its input"
    assert "self_attn.out_proj: input stays float: called functionally by MultiheadAttention" in str(made)
    assert row.macs == (3 * 5 * 8 * 8 if example else None)


@pytest.mark.parametrize(
    "recipe",
    ["w2a2", "w2a32", "w32a4", Recipe("w2a2", activations="relus")],
    ids=["w2a2", "w2a32", "w32a4", "relus"],
)
@pytest.mark.parametrize("norm_first", [False, True])
def test_torchs_fused_path_in_eval_mode_does_not_get_round_the_quantizers(recipe, norm_first, monkeypatch):
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first),
        2,
        enable_nested_tensor=False,
    )
    x = torch.randn(3, 5, 8)
    if getattr(recipe, "activations", "") == "relus":
        for layer in encoder.layers:
            layer.activation = nn.ReLU()
    prepared = quantize(encoder, recipe, [x])
    with torch.no_grad():
        torch.testing.assert_close(prepared.eval()(x), prepared.train()(x), rtol=1e-5, atol=1e-5)
        converted = convert(prepared)
        torch.testing.assert_close(converted.eval()(x), prepared.train()(x), rtol=1e-5, atol=1e-5)
        assert torch.equal(converted.eval()(x), prepared.eval()(x))
    heard, quantized = set(), FakeQuantize._quantized
    monkeypatch.setattr(FakeQuantize, "_quantized", lambda q, *args: (heard.add(q), quantized(q, *args))[1])
    with torch.no_grad():
        prepared.eval()(x)
    assert heard == {m for m in prepared.modules() if isinstance(m, FakeQuantize)}


def test_the_fused_path_does_not_hide_layers_from_a_survey():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    rows = plan(layer, "w2a2", torch.randn(3, 5, 8)).rows
    assert {r.name: bool(r.activation) for r in rows} == {
        "self_attn": True, "self_attn.out_proj": False, "linear1": True, "linear2": True,
    }  # fmt: skip


def test_a_padding_mask_passes_through(train):
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(3, 5, 8)
    mask = torch.tensor([[False] * 3 + [True] * 2]).expand(3, 5)
    prepared = quantize(attention, "w4a4", [(x, x, x)])
    changed = x.clone()
    changed[:, 3:] += 1
    with torch.no_grad():
        a, b = (prepared.eval()(x, y, y, key_padding_mask=mask)[0] for y in (x, changed))
    torch.testing.assert_close(a, b)


def test_an_encoder_compiles_whole_and_trains_alike():
    layer, x = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), torch.randn(3, 5, 8)
    eager = quantize(layer, "w2a2", [x])
    whole = quantize(layer, "w2a2", [x])
    with fused.off():
        eager(x).square().mean().backward()
    torch.compile(whole, fullgraph=True, backend="aot_eager")(x).square().mean().backward()
    torch.testing.assert_close(
        [p.grad for p in whole.parameters()], [p.grad for p in eager.parameters()], rtol=1e-4, atol=1e-6
    )
