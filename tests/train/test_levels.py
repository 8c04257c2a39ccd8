import pytest
import torch
from torch import nn

from coarsegrad.nn import Recipe, quantize
from coarsegrad.train.levels import in_units, values_seen


@pytest.mark.parametrize("activations", ["inputs", "relus"])
@pytest.mark.parametrize("bits", ["w1a2", "w2a2", "weight=twn;activation=lsq_plus(bits=3)"])
def test_rounding_what_is_seen_gives_what_the_network_uses(activations, bits):
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    images = torch.randn(64, 6)
    model = quantize(net, Recipe(bits, first=None, last=None, activations=activations), [images]).eval()
    found = values_seen(model, images)
    assert len(found) == len({id(q) for q, _ in found}) == (6 if activations == "inputs" else 5)
    for q, x in found:
        u, levels = in_units(q, x), torch.tensor(q.quantizer.levels)
        nearest = levels[(u.flatten()[:, None] - levels).abs().argmin(1)]
        if "twn" not in bits or q.role == "activation":
            agree = nearest == levels[q.codes(x).flatten()]
            assert agree.float().mean() > 0.999  # ties may round either way


def test_the_hooks_are_gone_afterwards():
    model = quantize(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), "w2a2", [torch.randn(8, 4)])
    before = [len(m._forward_pre_hooks) for m in model.modules()]
    values_seen(model, torch.randn(8, 4))
    assert [len(m._forward_pre_hooks) for m in model.modules()] == before
