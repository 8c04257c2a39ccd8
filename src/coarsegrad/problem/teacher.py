r"""A student learns a teacher: the one problem that ``theory`` predicts and ``sim`` samples.

The network is \(y(Z; v, w) = v^T \sigma(Zw)\): one filter w over the m rows (patches) of Z, a hard
threshold \(\sigma(x) = 1\{x > 0\}\), a second layer v. A teacher \((v^*, w^*)\) labels random Z; the
student's loss is half the squared error. Yin et al. 2019, arXiv:1903.05662; Jeong, Xin & Yin 2025,
arXiv:2505.18113.
"""

import math
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coarsegrad.problem.law import Law, checked_law
from coarsegrad.problem.laws import STANDARD

TRAINED = ("both", "w")
WEIGHTS = ("float", "binary")
STREAMS = ("teacher", "start", "data", "noise", "batch")


class Activation(Protocol):
    """What a problem asks of a quantizer of ``core``: its rule for the scale, its fit, and the call."""

    @property
    def scale(self) -> Any:
        """A ``core.scales.Scale``."""
        ...

    def fit(self, x: Tensor) -> dict[str, Tensor]:
        """Its fitted values."""
        ...

    def __call__(self, x: Tensor, surrogate: Any = None) -> Tensor:
        """The quantized x, differentiable through the surrogate."""
        ...


@dataclass(frozen=True, eq=False)
class Problem:
    r"""A teacher, what is learned of it, and from how many samples.

    Args:
        v_star: the teacher's second layer, ``[m]``, or ``[runs, m]`` for a teacher per run; not zero.
        w_star: its filter, ``[n]`` or ``[runs, n]``, of length 1, n at least 2. dtype and device are theirs.
        trained: ``both`` layers, or ``w`` alone: then the student is given v and it stays.
        weights: ``float``, or ``binary``: the forward pass sees sign(w)/sqrt(n), the steps move a latent w.
        activation: a quantizer in place of the threshold; its scale must not depend on the data.
        samples: N of the finite-sample problem; None for the population, where Z is averaged out.
        noise: standard deviation of the Gaussian label noise (samples only: it has mean zero).
        inputs: the law of Z's entries, of ``problem.laws``; the population is known for the standard normal.
        batch_norm: put a batch norm, without scale and shift, before the threshold, the teacher's too: Zw at
            mean 0 and variance 1 over all the rows of the samples at hand.

    Raises ``ValueError`` with the mend for anything else.

    >>> Problem(torch.ones(3), torch.tensor([3.0, 4.0]))
    Traceback (most recent call last):
    ...
    ValueError: Problem(w_star=...) must have length 1, got 5; divide it by its norm
    >>> problem = Problem.drawn(m=3, n=5, seed=0)
    >>> problem.m, problem.n, problem.weights
    (3, 5, 'float')
    """

    v_star: Tensor
    w_star: Tensor
    trained: str = "both"
    weights: str = "float"
    activation: Activation | None = None
    samples: int | None = None
    noise: float = 0.0
    inputs: Law = STANDARD
    batch_norm: bool = False

    def __post_init__(self):
        for name, known in (("trained", TRAINED), ("weights", WEIGHTS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Problem({name}={getattr(self, name)!r}) is unknown; known: {', '.join(known)}"
                )
        self._check_teacher()
        if self.samples is not None and (type(self.samples) is not int or self.samples < 1):
            raise ValueError(
                f"Problem(samples=...) is a whole number of at least 1, or None for the population; "
                f"got {self.samples!r}"
            )
        if not isinstance(self.noise, int | float) or not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ValueError(
                f"Problem(noise=...) is a standard deviation, so not negative and finite; got {self.noise!r}"
            )
        if self.noise and self.samples is None:
            raise ValueError(
                "Problem(noise=...) is averaged out of the population's gradients; say samples=... too"
            )
        checked_law(self.inputs)
        if self.batch_norm and (self.samples or 0) * self.m < 2:
            raise ValueError(
                "Problem(batch_norm=True) needs two rows of samples for a variance; say samples=2 or more"
            )
        scale = None if self.activation is None else self.activation.scale
        if scale is not None and (scale.statistic not in ("one", "half_gaussian") or scale.learned):
            raise ValueError(
                f"Problem(activation={self.activation}): its scale would be fitted to each run's data; "
                'use scale=Scale("one") or Scale("half_gaussian")'
            )

    def _check_teacher(self):
        v, w = self.v_star, self.w_star
        for name, tensor in (("v_star", v), ("w_star", w)):
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dim() not in (1, 2):
                raise ValueError(
                    f"Problem({name}=...) is a float tensor of shape [{name[0]}] or [runs, {name[0]}]"
                )
            if tensor.numel() == 0 or not torch.isfinite(tensor).all():
                raise ValueError(f"Problem({name}=...) must be finite and not empty, got {tensor}")
        if (v.dtype, v.device) != (w.dtype, w.device):
            raise ValueError(
                f"Problem needs v_star and w_star alike, got {v.dtype} on {v.device} "
                f"and {w.dtype} on {w.device}"
            )
        if v.dim() == w.dim() == 2 and 1 not in (len(v), len(w)) and len(v) != len(w):
            raise ValueError(
                f"Problem: {len(v)} teachers in v_star, {len(w)} in w_star; give as many of each"
            )
        if w.shape[-1] < 2:
            raise ValueError(
                "Problem(w_star=...) needs n >= 2: with n = 1 a filter has no direction to learn"
            )
        if not v.ne(0).any(-1).all():
            raise ValueError(
                "Problem(v_star=...) must not be zero: a teacher that says nothing teaches nothing"
            )
        length = torch.linalg.vector_norm(w, dim=-1)
        if (length - 1).abs().max() > 100 * torch.finfo(w.dtype).eps * math.sqrt(w.shape[-1]):
            worst = length.flatten()[(length - 1).abs().flatten().argmax()].item()
            raise ValueError(
                f"Problem(w_star=...) must have length 1, got {worst:.6g}; divide it by its norm"
            )

    @classmethod
    def drawn(cls, *, m: int, n: int, seed: int, teachers: int | None = None, **more) -> "Problem":
        """A random problem: v_star standard normal, w_star uniform on the sphere (binary: on its corners).

        ``teachers`` puts that many in a leading axis; teacher k depends on ``seed`` and k alone. ``more`` are
        fields of the problem. float64.
        """
        if not all(
            type(size) is int and size >= least for size, least in ((m, 1), (n, 2), (teachers or 1, 1))
        ):
            raise ValueError(
                f"m, n and teachers are whole numbers, n 2 at least; got {m}, {n} and {teachers}"
            )
        binary = more.get("weights") == "binary"
        v, w = zip(
            *(_teacher(stream(seed, "teacher", k), m, n, binary) for k in range(teachers or 1)), strict=True
        )
        v, w = torch.from_numpy(np.stack(v)), torch.from_numpy(np.stack(w))
        return cls(v, w, **more) if teachers else cls(v[0], w[0], **more)

    @property
    def m(self) -> int:
        """Rows of Z, and units of the second layer."""
        return self.v_star.shape[-1]

    @property
    def n(self) -> int:
        """Columns of Z, and weights of the filter."""
        return self.w_star.shape[-1]

    @property
    def teachers(self) -> int | None:
        """How many teachers stand in the leading axis; None for one teacher of every run."""
        sizes = [len(t) for t in (self.v_star, self.w_star) if t.dim() == 2]
        return max(sizes) if sizes else None

    def starts(self, runs: int, seed: int) -> tuple[Tensor, Tensor]:
        """Random starts (v ``[runs, m]``, w ``[runs, n]``); run k depends on ``seed`` and k alone.

        v is standard normal, or the teacher's where it is not trained. w is uniform on the unit sphere; a
        latent of binary weights is normal with variance 1/n.
        """
        self.check_runs(runs)
        v, w = np.empty((runs, self.m)), np.empty((runs, self.n))
        for k in range(runs):
            draw = stream(seed, "start", k)
            v[k], w[k] = draw.standard_normal(self.m), draw.standard_normal(self.n)
        w /= math.sqrt(self.n) if self.weights == "binary" else np.linalg.norm(w, axis=1, keepdims=True)
        start = torch.from_numpy(v).to(self.v_star), torch.from_numpy(w).to(self.w_star)
        return start if self.trained == "both" else (self.v_star.expand(runs, self.m).clone(), start[1])

    def shown(self, w: Tensor) -> Tensor:
        """What the forward pass sees of w: itself, or its signs over sqrt(n); the sign of 0 is +1."""
        return w if self.weights == "float" else _signs(w) / math.sqrt(self.n)

    def some(self, runs: slice) -> "Problem":
        """The problem of these runs alone: their teachers, where each run has its own."""
        v, w = (t[runs] if t.dim() == 2 and len(t) > 1 else t for t in (self.v_star, self.w_star))
        return replace(self, v_star=v, w_star=w)

    def of(self, run: int) -> "Problem":
        """The problem of one run, its teacher ``[m]`` and ``[n]``; what was checked is not checked again."""
        one = copy(self)
        for name in ("v_star", "w_star"):
            t = getattr(self, name)
            object.__setattr__(one, name, t[run] if t.dim() == 2 and len(t) > 1 else t.reshape(-1))
        return one

    def check_runs(self, runs: int) -> None:
        """Raise ``ValueError`` unless so many runs can be had: at least 1, and one for each teacher."""
        if type(runs) is not int or runs < 1:
            raise ValueError(f"runs=... is a whole number of at least 1, got {runs!r}")
        if self.teachers not in (None, 1, runs):
            raise ValueError(
                f"runs={runs}, but the problem has {self.teachers} teachers; ask for as many runs"
            )


def stream(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Random numbers for one purpose (``STREAMS``) of one run: the same whatever else is drawn, and where.

    A Philox counter keyed by a hash of its three names.

    >>> int(stream(0, "start", 7).integers(100)), int(stream(0, "start", 7).integers(100))
    (17, 17)
    """
    return np.random.Generator(np.random.Philox(hashed(seed, purpose, number)))


def hashed(seed: int, purpose: str, number: int) -> np.random.SeedSequence:
    """A key of the three names of a ``stream``, for a counter of one's own."""
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise ValueError(f"seed=... is a whole number that is not negative and below 2^64, got {seed!r}")
    high = [seed >> 32] if seed >> 32 else []  # last, as words that are missing count as 0
    return np.random.SeedSequence([seed % 2**32, STREAMS.index(purpose), number, *high])


def _teacher(draw: np.random.Generator, m: int, n: int, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    v, w = draw.standard_normal(m), draw.standard_normal(n)
    return v, np.where(w < 0, -1, 1) / math.sqrt(n) if binary else w / np.linalg.norm(w)


def _signs(w: Tensor) -> Tensor:
    return 1 - 2 * (w < 0).to(w.dtype)
