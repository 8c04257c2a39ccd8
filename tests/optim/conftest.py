"""A stand-in for the quantizers of `core`: what `optim` may ask of one, and nothing else."""

import pytest
import torch


class Grid:
    """Nearest of some levels, at a fixed scale; a tie goes up."""

    def __init__(self, levels, scale=1.0):
        self.levels = torch.tensor(levels, dtype=torch.float64)
        self.scale = torch.tensor(scale, dtype=torch.float64)
        self.relax = None

    def codes(self, x):
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        return torch.bucketize(x.double() / self.scale, middles, right=True)

    def dequantize(self, codes):
        return self.levels[codes] * self.scale

    def quantize(self, x):
        return self.dequantize(self.codes(x)).to(x.dtype)

    def forward(self, x):
        """What `nn` shows to the layer."""
        x = x.detach()
        return self.quantize(x) if self.relax is None else self.relax(x, self.quantize(x))


GRIDS = {
    "binary": ([-1.0, 1.0], 1.0),
    "ternary": ([-1.0, 0.0, 1.0], 0.5),
    "3bit": ([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0], 0.3),
    "uneven": ([-2.0, -0.5, 0.25, 3.0], 0.4),
}


@pytest.fixture(params=GRIDS)
def any_grid(request):
    return Grid(*GRIDS[request.param])


@pytest.fixture
def grid():
    """``grid(name)`` makes one of GRIDS; ``grid(levels, scale)`` another."""

    def make(levels, scale=1.0):
        return Grid(*GRIDS[levels]) if isinstance(levels, str) else Grid(levels, scale)

    return make


@pytest.fixture
def least_squares():
    """``gradient(v)`` of |Av - b|²/2 for v of shape [5], float64: a random problem with coupled weights."""
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    b = torch.randn(8, generator=generator, dtype=torch.float64)
    return lambda v: a.T @ (a @ v - b)


@pytest.fixture
def start():
    """The first latents: [5], float64."""
    return torch.tensor([0.9, -0.4, 0.05, -1.3, 0.6], dtype=torch.float64)
