"""A folded batch norm changes nothing but the names; where it would, it is left alone."""

import pytest
import torch
from torch import nn

from coarsegrad.nn import fold_bn, prepare


def lived_in(model):
    """The model with statistics and affine parts that are not the starting ones."""
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats:
            m.running_mean.normal_()
            m.running_var.uniform_(0.3, 3)
            if m.affine:
                nn.init.normal_(m.weight)
                nn.init.normal_(m.bias)
    return model


LAYERS = {
    "linear": (nn.Linear(4, 6), nn.BatchNorm1d(6), (5, 4)),
    "conv1d": (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), (5, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), (5, 4, 7, 7)),
    "conv2d without bias": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), (5, 4, 7, 7)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (5, 4, 7, 7)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), (5, 4, 7, 7)),
    "conv3d": (nn.Conv3d(4, 6, 2), nn.BatchNorm3d(6), (2, 4, 4, 4, 4)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "no affine part": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False), (2, 4, 5, 5)),
}


@pytest.mark.parametrize(("layer", "norm", "shape"), LAYERS.values(), ids=LAYERS)
def test_folding_is_exact_in_eval_mode(layer, norm, shape):
    net = lived_in(nn.Sequential(layer, norm, nn.ReLU())).double()
    x = torch.randn(shape, dtype=torch.float64)
    folded, names = fold_bn(net, x)
    assert names == ["1"] and isinstance(folded[1], nn.Identity) and not folded.training
    torch.testing.assert_close(folded(x), net.eval()(x), rtol=1e-12, atol=1e-12)
    other = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(folded(other), net(other), rtol=1e-12, atol=1e-12)
    single, _ = fold_bn(net.float(), x.float())
    torch.testing.assert_close(single(x.float()), net(x.float()), rtol=1e-4, atol=1e-4)


class Residual(nn.Module):
    """The output of ``a`` goes through its norm and round it; that of ``b`` only through its norm."""

    def __init__(self):
        super().__init__()
        self.a, self.norm_a = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.b, self.norm_b = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.a(x)
        return self.norm_b(self.b(self.norm_a(y))) + y


class PreActivation(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3)

    def forward(self, x):
        return self.conv(self.norm(x))


class Shared(nn.Module):
    """One norm behind two layers, and one layer before two norms."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.c, self.left, self.right = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.norm(self.a(x)) + self.norm(self.b(x))
        y = self.c(x)
        return self.left(y) - self.right(y)


class OnTokens(nn.Module):
    """The linear layer's channels are the last axis; the norm's are the second."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.linear(x))


LEFT_ALONE = {
    "used twice": (Residual(), (2, 3, 4, 4), ["norm_b"]),
    "norm before the layer": (PreActivation(), (2, 3, 4, 4), []),
    "shared": (Shared(), (2, 3, 4, 4), []),
    "other axis": (OnTokens(), (2, 4, 4), []),
    "other axis, other size": (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(3)), (2, 3, 4), []),
    "no statistics": (
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
        (2, 3, 4, 4),
        [],
    ),
    "something between": (nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)), (2, 3, 4, 4), []),
    "weight norm": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
        (2, 3, 4, 4),
        [],
    ),
}


@pytest.mark.parametrize("state", ["fresh", "lived in"])
@pytest.mark.parametrize(("net", "shape", "names"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_cannot_be_folded_exactly_is_left_alone(net, shape, names, state):
    x = torch.randn(shape)
    net = lived_in(net) if state == "lived in" else net
    folded, found = fold_bn(net, x)
    assert found == names
    torch.testing.assert_close(folded(x), net.eval()(x))


def test_the_argument_is_untouched(cnn):
    net, x = cnn
    before = {k: v.clone() for k, v in net.state_dict().items()}
    folded, names = fold_bn(net, x)
    assert names == ["1", "4"] and net.training and not net[0]._forward_hooks and not folded[0]._forward_hooks
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_forward_that_makes_float32_tensors_of_its_own_is_folded_too():
    class Stubborn(nn.Sequential):
        def forward(self, x):
            return super().forward(x) @ torch.ones(4, 2)

    net = lived_in(Stubborn(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    assert fold_bn(net, torch.randn(5, 3))[1] == ["1"]


def test_a_real_resnet_folds_whole():
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    net, batch = (
        lived_in(transformers.ResNetForImageClassification(config)),
        {"pixel_values": torch.randn(2, 3, 32, 32)},
    )
    folded, names = fold_bn(net, batch)
    assert len(names) == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    torch.testing.assert_close(folded(**batch).logits, net.eval()(**batch).logits, rtol=1e-4, atol=1e-4)


def test_a_prepared_model_is_refused(mlp):
    with pytest.raises(ValueError, match="fold before prepare"):
        fold_bn(prepare(mlp[0], "w2a2"), mlp[1])
