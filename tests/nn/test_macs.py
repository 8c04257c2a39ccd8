"""The counter sees what happens, so it is held against formulas by hand, and torch's own counter."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from coarsegrad.nn.macs import MacCounter, plain_attention


def counted(model, *args):
    with torch.no_grad(), plain_attention(), MacCounter(model) as counter:
        model.eval()(*args)
    return {name: counter.macs[id(p)] for name, p in model.named_parameters() if id(p) in counter.macs}


LAYERS = {
    "linear": (nn.Linear(5, 7), (3, 4, 5), 3 * 4 * 5 * 7),
    "conv1d, stride 2": (nn.Conv1d(3, 6, 5, stride=2), (2, 3, 21), 2 * 9 * 6 * 3 * 5),
    "conv2d, groups": (nn.Conv2d(4, 8, 3, groups=2), (2, 4, 8, 8), 2 * 36 * 8 * 2 * 9),
    "conv2d, depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding=1), (1, 4, 8, 8), 64 * 4 * 9),
    "conv3d": (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), 27 * 3 * 2 * 8),
    "conv transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5), 2 * 25 * 4 * 6 * 9),
    "conv transposed, groups": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        (2, 4, 5, 5),
        2 * 25 * 4 * 3 * 9,
    ),
}


@pytest.mark.parametrize(("layer", "shape", "macs"), LAYERS.values(), ids=LAYERS)
def test_a_layer_costs_what_its_formula_says(layer, shape, macs):
    assert counted(layer, torch.randn(shape)) == {"weight": macs}


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_layer_costs_every_weight_once_per_step(bidirectional):
    lstm = nn.LSTM(4, 8, num_layers=2, bidirectional=bidirectional)
    steps = 5 * 3
    assert counted(lstm, torch.randn(5, 3, 4)) == {
        name: steps * p.numel() for name, p in lstm.named_parameters() if p.dim() == 2
    }


def test_attention_products_are_not_counted_and_its_projections_are():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    tokens = 3 * 5
    assert counted(layer, torch.randn(3, 5, 8)) == {
        "self_attn.in_proj_weight": tokens * 8 * 24,
        "self_attn.out_proj.weight": tokens * 8 * 8,
        "linear1.weight": tokens * 8 * 16,
        "linear2.weight": tokens * 16 * 8,
    }


class Raw(nn.Module):
    """Weights that no layer holds: in an einsum, cast before a product, normalized before a convolution."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(2, 4, 6))
        self.kernel = nn.Parameter(torch.randn(3, 1, 5))
        self.wide = nn.Parameter(torch.randn(6, 6, dtype=torch.float64))

    def forward(self, x):  # [batch, 2, 4]
        y = torch.einsum("bni,nij->bnj", x, self.mix)
        y = y @ self.wide.float()
        kernel = (self.kernel - self.kernel.mean()) / self.kernel.std()
        return F.conv1d(y.mean(1, keepdim=True), kernel) @ y.flatten(1).T.contiguous()[:2]


def test_a_weight_is_known_through_views_casts_and_normalization():
    x = torch.randn(7, 2, 4)
    assert counted(Raw(), x) == {"mix": 7 * 2 * 4 * 6, "wide": 7 * 2 * 36, "kernel": 7 * 3 * 2 * 5}


def test_all_weights_together_cost_what_torch_counts_less_the_products_of_activations():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(2), nn.TransformerEncoderLayer(36, 4, 8))
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad(), plain_attention(), FlopCounterMode(display=False) as flops:
        net.eval()(x)
    by_kind = flops.get_flop_counts()["Global"]
    products = sum(
        v
        for k, v in by_kind.items()
        if ("mm" in str(k) and str(k).startswith("aten.b")) or "attention" in str(k)
    )
    assert sum(counted(net, x).values()) == (flops.get_total_flops() - products) // 2


def test_experts_in_one_tensor_cost_the_tokens_that_reach_them():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 8, 16))

        def forward(self, x, ends):
            return torch._grouped_mm(x, self.weight, offs=ends)

    x, ends = torch.randn(6, 8).bfloat16(), torch.tensor([2, 6], dtype=torch.int32)
    assert counted(Experts().bfloat16(), x, ends) == {"weight": 6 * 8 * 16}


def test_the_setting_of_fused_attention_is_put_back_also_after_an_error():
    before = torch.backends.mha.get_fastpath_enabled()
    with plain_attention():
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == before
    with pytest.raises(TypeError), plain_attention():
        nn.Linear(2, 2)(None)
    assert torch.backends.mha.get_fastpath_enabled() == before
