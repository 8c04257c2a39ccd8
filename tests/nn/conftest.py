"""Small networks in which each kind of layer stands once."""

import pytest
import torch
from torch import nn


class Everything(nn.Module):
    """Every supported layer type once, and each with its own input: a name here is a name in the tests."""

    def __init__(self):
        from transformers.pytorch_utils import Conv1D

        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.conv1 = nn.Conv1d(4, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, (1, 3), padding=(0, 1))
        self.depthwise = nn.Conv2d(6, 6, (1, 3), padding=(0, 1), groups=6)
        self.conv3 = nn.Conv3d(6, 6, 1)
        self.up = nn.ConvTranspose1d(6, 4, 3, padding=1)
        self.up_grouped = nn.ConvTranspose1d(4, 6, 3, padding=1, groups=2)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.gpt = Conv1D(8, 6)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        x = self.conv1(self.embedding(ids).transpose(1, 2))
        x = self.depthwise(self.conv2(x[:, :, None]))
        x = self.conv3(x[..., None])[:, :, 0, :, 0]
        x = self.up_grouped(self.up(x)).transpose(1, 2)
        x = self.norm(x + self.attention(x, x, x)[0])
        return self.head(self.act(self.gpt(x)))


@pytest.fixture
def everything():
    """(a network with every supported layer, a batch)."""
    return Everything(), torch.randint(0, 11, (4, 9))


@pytest.fixture
def cnn():
    """(conv, BN, ReLU twice, and a head; a batch)."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 5),
    )  # fmt: skip
    return net, torch.randn(8, 3, 8, 8)


@pytest.fixture
def mlp():
    """(three linear layers; a batch)."""
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    return net, torch.randn(32, 6)


@pytest.fixture
def train():
    """``train(model, *args)``: one step of SGD on the mean square of the output."""

    def train(model, *args, rate=0.05):
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        optimizer.zero_grad()
        output = model(*args)
        output = output[0] if isinstance(output, tuple) else output
        output.square().mean().backward()
        optimizer.step()
        return model

    return train
