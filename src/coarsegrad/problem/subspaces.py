r"""Classes on subspaces: what a network with a staircase learns to tell apart.

Class r's inputs lie on a subspace V_r. The network has k hidden units \(h_j = \langle w_j, x\rangle\), a
staircase \(\sigma\) of b bits, and a second layer that is given: output \(o_i\) is v times the sum of
\(\sigma(h_j)\) over the neurons that serve class i. Loss: the hinge \(\max(0, 1 - o_y + \max_{i\ne y} o_i)\).
Long, Yin & Xin 2021, arXiv:2011.11256.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coarsegrad.problem.teacher import WEIGHTS, stream

ROUNDED = {"ceil": torch.ceil, "floor": torch.floor}


@dataclass(frozen=True)
class Subspaces:
    r"""The data, the network's fixed part, and how the labels err.

    Args:
        classes: how many, n; each has a subspace.
        size: dimension d of each subspace.
        angle: in degrees, between the first directions of any two subspaces; the others are orthogonal. From
            0, where they share a line, to \(\arccos(-1/(n-1))\), where the first directions of all are
            linearly dependent although any two are not; the subspaces are independent in between.
        shared: how many of the d directions have this angle in place of only the first.
        neurons: k; class i is served by neurons \(\lceil ik/n\rceil\) to \(\lceil(i+1)k/n\rceil - 1\).
        bits: b; the levels are 0, 1, ..., 2^b - 1.
        rounding: ``ceil`` (a level begins right above a whole number, the first above 0) or ``floor``.
        v: what each neuron adds to its class.
        weights: ``float``; or ``binary``, where the forward pass sees mean|w| sign(w) of each neuron.
        dimension: of the space around, n d or more; the subspaces lie in it at random. None: n d, along axes.
        directions: how many in each subspace, an even number: evenly around the circle for d = 2, both for
            d = 1, else random, opposite in pairs.
        radii: the lengths; every direction has a point at each.
        noise: share of points, drawn without replacement, whose label is that of another class.
        seed: of random directions, embedding and noise.

    Raises ``ValueError`` with the mend for anything else.

    >>> problem = Subspaces(classes=3, angle=60)
    >>> problem.points, problem.x.shape, problem.independent
    (2640, torch.Size([240, 6]), True)
    """

    classes: int = 2
    size: int = 2
    angle: float = 90.0
    shared: int = 1
    neurons: int = 24
    bits: int = 2
    rounding: str = "ceil"
    v: float = 0.5
    weights: str = "float"
    dimension: int | None = None
    directions: int = 80
    radii: tuple[float, ...] = tuple(round(1 + 0.1 * i, 1) for i in range(11))
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self):
        numbers = {name: getattr(self, name) for name in ("angle", "v", "noise")}
        if not all(isinstance(value, int | float) for value in numbers.values()):
            raise ValueError(f"Subspaces needs numbers for angle, v and noise, got {numbers}")
        if isinstance(self.radii, int | float | str):
            raise ValueError(f"Subspaces(radii=...) are several lengths, as in (1.0,), got {self.radii!r}")
        object.__setattr__(self, "radii", tuple(self.radii))
        for name, least in (("classes", 2), ("size", 1), ("shared", 1), ("neurons", 1), ("bits", 1)):
            _whole(name, getattr(self, name), least)
        if self.shared > self.size or self.bits > 8:
            raise ValueError(
                f"Subspaces needs shared <= size and bits <= 8, got {self.shared}, {self.size}, {self.bits}"
            )
        if not 0 <= self.angle <= self.widest + 1e-9:
            raise ValueError(
                f"Subspaces(angle=...) is in degrees, from 0 to {self.widest:.6g} for {self.classes} "
                f"classes; got {self.angle}"
            )
        if self.rounding not in ROUNDED or self.weights not in WEIGHTS:
            raise ValueError(
                f"Subspaces(rounding={self.rounding!r}, weights={self.weights!r}) is unknown; known: "
                f"{', '.join(ROUNDED)}; {', '.join(WEIGHTS)}"
            )
        if self.dimension is not None:
            _whole("dimension", self.dimension, self.classes * self.size)
        _whole("directions", self.directions, 2)
        if self.directions % 2:
            raise ValueError(f"Subspaces(directions=...) is even: they come in pairs; got {self.directions}")
        if not self.radii or not all(r > 0 and math.isfinite(r) for r in self.radii):
            raise ValueError(f"Subspaces(radii=...) are positive and finite, got {self.radii}")
        if not (self.v > 0 and math.isfinite(self.v)):
            raise ValueError(f"Subspaces(v=...) must be positive and finite, got {self.v}")
        if not 0 <= self.noise < 1:
            raise ValueError(f"Subspaces(noise=...) is a share, from 0 to below 1; got {self.noise}")
        stream(self.seed, "data", 0)

    @property
    def widest(self) -> float:
        """The largest ``angle``, in degrees."""
        return math.degrees(math.acos(-1 / (self.classes - 1)))

    @property
    def independent(self) -> bool:
        """Whether the subspaces are linearly independent; the theorem asks for more, 90 degrees."""
        return 1e-9 < self.angle < self.widest - 1e-9

    @property
    def width(self) -> int:
        """Entries of an input."""
        return self.dimension or self.classes * self.size

    @property
    def points(self) -> int:
        """How many data points there are."""
        return len(self.x) * len(self.radii)

    @property
    def top(self) -> float:
        """The highest level."""
        return 2.0**self.bits - 1

    @property
    def served(self) -> Tensor:
        """The class that each neuron serves, ``[neurons]``, ascending."""
        return torch.arange(self.neurons) * self.classes // self.neurons

    @cached_property
    def basis(self) -> Tensor:
        """Orthonormal rows that span each subspace, ``[classes, size, width]``, float64."""
        n, d = self.classes, self.size
        cosine = math.sin(math.radians(90 - self.angle))  # exactly 0 at 90 degrees
        even, common = math.sqrt(max(0.0, 1 - cosine)), math.sqrt(max(0.0, 1 + (n - 1) * cosine))
        tilted = even * torch.eye(n, dtype=torch.float64) + (common - even) / n
        basis = torch.zeros(n, d, d, n, dtype=torch.float64)
        for t in range(d):
            basis[:, t, t] = tilted if t < self.shared else torch.eye(n, dtype=torch.float64)
        basis = basis.reshape(n, d, n * d)
        if self.dimension is None:
            return basis
        gauss = stream(self.seed, "teacher", 0).standard_normal((self.dimension, n * d))
        around, signs = np.linalg.qr(gauss)
        return basis @ torch.from_numpy((around * np.sign(np.diagonal(signs))).T.copy())

    @cached_property
    def x(self) -> Tensor:
        """The directions, of length 1, class after class, ``[classes * directions, width]``, float64."""
        d, many = self.size, 2 if self.size == 1 else self.directions
        within = np.empty((self.classes, many, d))
        if d == 1:
            within[:] = [[1.0], [-1.0]]
        elif d == 2:
            turn = 2 * np.pi * np.arange(many // 2) / many
            within[:, : many // 2] = np.stack([np.cos(turn), np.sin(turn)], -1)
        else:
            half = stream(self.seed, "data", 0).standard_normal((self.classes, many // 2, d))
            within[:, : many // 2] = half / np.linalg.norm(half, axis=-1, keepdims=True)
        within[:, many // 2 :] = -within[:, : many // 2]  # opposite bit for bit
        return (torch.from_numpy(within) @ self.basis).flatten(0, 1)

    @property
    def true(self) -> Tensor:
        """The class of each direction, ``[classes * directions]``."""
        return torch.arange(self.classes).repeat_interleave(len(self.x) // self.classes)

    @cached_property
    def labels(self) -> Tensor:
        """What each point is said to be, ``[classes * directions, radii]``; by noise not always the truth."""
        labels = self.true[:, None].repeat(1, len(self.radii))
        wrong = round(self.noise * labels.numel())
        if wrong:
            draw = stream(self.seed, "noise", 0)
            which = torch.from_numpy(draw.permutation(labels.numel())[:wrong])
            by = torch.from_numpy(draw.integers(1, self.classes, wrong))
            labels.view(-1)[which] = (labels.view(-1)[which] + by) % self.classes
        return labels

    def starts(self, runs: int, seed: int) -> Tensor:
        """Standard normal weights, ``[runs, neurons, width]``; run k depends on ``seed`` and k alone."""
        _whole("runs", runs, 1)
        w = [stream(seed, "start", run).standard_normal((self.neurons, self.width)) for run in range(runs)]
        return torch.from_numpy(np.stack(w))

    def projected(self, w: Tensor) -> Tensor:
        """The components of ``[..., neurons, width]`` on each subspace, ``[..., neurons, classes, size]``."""
        return torch.einsum("...kw,rdw->...krd", w, self.basis)

    def without(self, w: Tensor, subspace: int, neurons: slice = slice(None)) -> Tensor:
        """The weights, less some neurons' projection on one subspace."""
        w, basis = w.clone(), self.basis[subspace]
        w[..., neurons, :] -= torch.einsum(
            "...kd,dw->...kw", self.projected(w)[..., neurons, subspace, :], basis
        )
        return w

    def shown(self, w: Tensor) -> Tensor:
        """What the forward pass sees of w: itself, or mean|w| sign(w) of each neuron; the sign of 0 is +1."""
        if self.weights == "float":
            return w
        return w.abs().mean(-1, keepdim=True) * torch.where(w < 0, -1.0, 1.0).to(w)

    def level(self, h: Tensor) -> Tensor:
        """The staircase, ``[...]`` -> ``[...]``."""
        return ROUNDED[self.rounding](h).clamp(0, self.top)


def _whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"Subspaces: {name}=... is a whole number of at least {least}, got {value!r}")
