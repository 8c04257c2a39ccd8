"""Trainings in lockstep on the same batches: how long are two of them the same run?"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coarsegrad.core.quantizers import Binary, QuantizedReLU, Quantizer, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import ClippedReLU, HardTanh, Identity, ReLU
from coarsegrad.nn import pairs, prepare
from coarsegrad.nn.recipe import Bits, Recipe
from coarsegrad.studies.verdict import Row
from coarsegrad.theory.disguise import disguise

Settings = Mapping[str, Any]


class _PerCell(Surrogate):
    """The same slope in every cell: it is not stretched over the levels."""

    def over(self, levels):
        """Itself."""
        return self


@dataclass(frozen=True)
class Wave(_PerCell):
    r"""Slope \(1 - a \cos 2\pi x\): for a > 0 steep at the borders, for a < 0 at the levels."""

    a: float = 0.8
    name: ClassVar[str] = "wave"

    def curve(self, x):
        """The integral of the slope."""
        return x - self.a * torch.sin(2 * math.pi * x) / (2 * math.pi)

    def slope(self, x):
        """Between 1 - |a| and 1 + |a|."""
        return 1 - self.a * torch.cos(2 * math.pi * x)


@dataclass(frozen=True)
class SoftSteps(_PerCell):
    """A tanh around every border, scaled to rise by 1 a cell. DSQ: Gong et al. 2019, arXiv:1908.05033."""

    k: float = 4.0
    name: ClassVar[str] = "soft_steps"

    def curve(self, x):
        """A smooth staircase."""
        return torch.floor(x) + 0.5 + torch.tanh(self.k * self._off(x)) / (2 * math.tanh(self.k / 2))

    def slope(self, x):
        """Greatest at the borders."""
        t = torch.tanh(self.k * self._off(x))
        return self.k * (1 - t * t) / (2 * math.tanh(self.k / 2))

    @staticmethod
    def _off(x):
        return x - torch.floor(x) - 0.5


ESTIMATORS: dict[str, Surrogate] = {
    "identity": Identity(), "wave": Wave(0.8), "inverse wave": Wave(-0.8), "soft steps": SoftSteps(4.0),
    "clipped": HardTanh(), "clipped_relu": ClippedReLU(), "relu": ReLU(),
}  # fmt: skip
COVERED = ("wave", "inverse wave", "soft steps")
"""Those whose slope lies between two positive bounds and is the same in every cell."""
WEIGHTS: dict[int, Quantizer] = {
    1: Binary(scale=Scale("mean_abs")), 2: Uniform(bits=2, scale=Scale("mse")),
    4: Uniform(bits=4, scale=Scale("mse")),
}  # fmt: skip

MEMORIES = {"adam": 0.999, "adam, short memory": 0.95}
"""Adam's second beta: how long it remembers the size of gradients, 1000 and 20 steps."""


@dataclass
class Run:
    """One training: a model, its optimizer, and which order of batches it sees."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    order: int

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One step on one batch; its loss."""
        loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def latents(self) -> list[Tensor]:
        """The quantized layers' latents, in units of their scales."""
        return [p.detach().clone() / q.scale for p, q in pairs(self.model)]

    def codes(self) -> Tensor:
        """The level of every quantized weight, in one vector."""
        return torch.cat([q.codes(p.detach()).flatten() for p, q in pairs(self.model)])


def twins(settings: Settings, place: Path) -> Iterator[Row]:
    """Train with an estimator, and beside it the runs it might be the same as; a row a run at the end.

    ``of`` says what the estimator is for: ``weights`` (activations are float) or ``activations`` (weights
    have the plain estimator). The runs beside it see the same batches: ``plain``, slope 1 and nothing else
    changed; ``mended`` (weights), slope 1 with the theorem's rate and start; ``rate only`` and ``start
    only``, with one of the two; ``rate c`` (activations), slope 1 with c times the rate. And ``other order``:
    the estimator again, its batches in another order, which is how far apart two runs of one method are.
    ``alone`` leaves all but the first away.

    ``agreement``: of the weights whose level changed since the start, in either run, the share at one level
    in the end. ``distance``: |a - b| / sqrt(|a|^2 + |b|^2) of how the latents moved, a in the estimator's run
    and b in the other: 0 for one run, 1 for moves at a right angle, and for a run that stays where it was.
    On weights all are measured under M, where the mended run lives.
    """
    from coarsegrad.train import data

    found = data.load(settings["data"], folder=settings["data_folder"])
    size, seed = settings["batch_size"], settings["seed"]
    orders = [found.train_batches(size, seed=seed + 7919 * k, augment=data.Augment()) for k in (0, 1)]
    runs = _runs(settings, found, next(iter(orders[0].epoch(0)))[0])
    first = runs["estimator"]
    levels, begun = first.codes(), _seen(settings, "estimator", first)
    losses: dict[str, float] = {}
    for epoch in range(settings["epochs"]):
        losses = dict.fromkeys(runs, 0.0)
        for batches in zip(*(order.epoch(epoch) for order in orders), strict=True):
            for name, run in runs.items():
                losses[name] += run.step(*batches[run.order]) / len(orders[0])
    test = list(found.test_batches(1000).epoch(0))
    truth = torch.cat([labels for _, labels in test])
    said = {name: _predictions(run.model, test) for name, run in runs.items()}
    for name, run in runs.items():
        yield {
            "run": name, "train_loss": losses[name],
            "accuracy": 100 * float((said[name] == truth).float().mean()),
            "same_answers": float((said[name] == said["estimator"]).float().mean()),
            **_agreement(first, run, levels),
            "distance": _distance(
                _seen(settings, "estimator", first), _seen(settings, name, run), begun
            ),
        }  # fmt: skip


def _runs(settings: Settings, found: Any, images: Tensor) -> dict[str, Run]:
    """The runs of a lockstep, all from one float model."""
    from coarsegrad.train import zoo

    shape, classes = found.in_shape, len(found.classes)
    net = zoo.build(settings["model"], in_shape=shape, classes=classes, seed=settings["seed"])
    weights, own = WEIGHTS[settings["bits"]], ESTIMATORS[settings["estimator"]]
    of_weights = settings["of"] == "weights"

    def model(surrogate: Surrogate) -> nn.Module:
        pair = (surrogate, Identity()) if of_weights else (Identity(), surrogate)
        activation = None if of_weights else QuantizedReLU(bits=2)
        recipe = Recipe(
            Bits(weights, activation), *pair, first=None, last=None, activations="instead_of_relus"
        )
        return prepare(net, recipe, images).train()

    def run(surrogate: Surrogate, *, rate: float = 1.0, warp: bool = False, order: int = 0) -> Run:
        made, factors = model(surrogate), {}
        for latent, quantizer in pairs(made):
            factors[latent] = rate
            if warp:
                with torch.no_grad():
                    scale = quantizer.scale
                    latent.copy_(scale * disguise(own, quantizer.quantizer).warp(latent / scale))
        return Run(made, _optimizer(settings, made, factors), order)

    runs = {"estimator": run(own)}
    if settings["alone"]:
        return runs
    runs["plain"] = run(Identity())
    if of_weights and settings["estimator"] in COVERED:
        rate = disguise(own, weights).rate
        runs["mended"] = run(Identity(), rate=rate, warp=True)
        runs["rate only"] = run(Identity(), rate=rate)
        runs["start only"] = run(Identity(), warp=True)
    for rate in settings["rates"]:
        runs[f"rate {rate:g}"] = run(Identity(), rate=rate)
    runs["other order"] = run(own, order=1)
    return runs


def _optimizer(settings: Settings, model: nn.Module, factors: dict[nn.Parameter, float]):
    """The rate of the latents is multiplied; everything else keeps the setting's."""
    lr = settings["lr"]
    groups = [{"params": [p], "lr": lr * factors.get(p, 1.0)} for p in model.parameters()]
    if settings["optimizer"] in MEMORIES:
        return torch.optim.Adam(groups, lr=lr, betas=(0.9, MEMORIES[settings["optimizer"]]))
    return torch.optim.SGD(groups, lr=lr, momentum=0.9 if settings["optimizer"] == "momentum" else 0.0)


@torch.no_grad()
def _predictions(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    model.eval()
    said = torch.cat([model(images).argmax(1) for images, _ in batches])
    model.train()
    return said


def _agreement(one: Run, other: Run, begun: Tensor) -> Row:
    a, b = one.codes(), other.codes()
    moved = (a != begun) | (b != begun)
    count = int(moved.sum())
    same = float((a == b)[moved].float().mean()) if count else None
    return {"moved": count, "weights": a.numel(), "agreement": same}


def _seen(settings: Settings, name: str, run: Run) -> list[Tensor]:
    """The latents where they are compared: under M, but for the runs that started there."""
    own = ESTIMATORS[settings["estimator"]]
    if (
        settings["of"] != "weights"
        or settings["estimator"] not in COVERED
        or name in ("mended", "start only")
    ):
        return run.latents()
    both = zip(run.latents(), pairs(run.model), strict=True)
    return [disguise(own, quantizer.quantizer).warp(u) for u, (_, quantizer) in both]


def _distance(one: list[Tensor], other: list[Tensor], begun: list[Tensor]) -> float:
    apart = gone = 0.0
    for a, b, start in zip(one, other, begun, strict=True):
        apart += float((a - b).square().sum())
        gone += float((a - start).square().sum() + (b - start).square().sum())
    return math.sqrt(apart / gone) if gone else 0.0


def formulas(settings: Settings, place: Path) -> Iterator[Row]:
    """The theorem without a network: the rate, the borders, and what one step leaves unexplained."""
    quantizer = WEIGHTS[settings["bits"]]
    random = torch.Generator().manual_seed(settings["seed"])
    u = 4 * torch.rand(20_000, generator=random, dtype=torch.float64) - 2
    g = torch.randn(u.shape, generator=random, dtype=torch.float64)
    for name in COVERED:
        own = ESTIMATORS[name]
        found = disguise(own, quantizer)
        borders = torch.tensor(found.borders, dtype=torch.float64)
        off = float((found.warp(borders) - borders).abs().max())
        crossed = int((quantizer.step(found.warp(u)) != quantizer.step(u)).sum())
        yield {
            "what": "rate", "estimator": name, "rate": found.rate, "least": found.least, "most": found.most,
            "border_off": off, "crossed": crossed, "tried": len(u),
        }  # fmt: skip
        for size in settings["sizes"]:
            one = found.warp(u - size * own.slope(u) * g)
            off = float((one - (found.warp(u) - size * found.rate * g)).abs().mean())
            yield {"what": "step", "estimator": name, "size": size, "off": off}
