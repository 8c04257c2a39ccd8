r"""Gradients without data: of a Gaussian Z only the images that the descent looks at are drawn.

Given \(ZQ = F\) and \(Z^TP = B\) for orthonormal Q and P, the rest of Z is still a fresh Gaussian matrix:
\(Z = FQ^T + PB^T - P(P^TF)Q^T + (I - PP^T)\,G\,(I - QQ^T)\). So a new image needs one fresh Gaussian vector,
for the part of its direction outside the span of those seen, and none for a direction inside. What is seen
has exactly the distribution it has with stored data (Lu 2021, Householder dice, arXiv:2101.07464).
"""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem import Problem, stream
from coarsegrad.sim import kernels
from coarsegrad.sim.events import send
from coarsegrad.sim.samples import noise
from coarsegrad.sim.vectors import combine, dots

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""``map``, or a pool's: the same results in the same order."""
_CHUNK = 2**13  # entries that a thread takes at a time, at least


class Deferred:
    """A matrix ``[rows, n]`` of independent standard normal numbers, of which only images are decided.

    ``most``: directions that may be seen on each side; ``seen`` and ``sent`` of them are.

    >>> z = Deferred(5, 3, most=3, draw=np.random.default_rng(0))
    >>> a, b = z.forward(np.array([1.0, 0, 0])), z.forward(np.array([0, 1.0, 0]))
    >>> bool(np.allclose(z.forward(np.array([1.0, 1.0, 0])), a + b)), z.seen
    (True, 2)
    """

    def __init__(
        self,
        rows: int,
        n: int,
        *,
        most: int,
        draw: np.random.Generator,
        kind: Any = np.float64,
        each: Each = map,
    ):
        self.draw, self.each, self.rows = draw, each, rows
        right, left = min(most, n), min(most, rows)
        self.q, self.f = np.empty((right, n)), np.empty((right, rows), kind)
        self.p, self.b = np.empty((left, rows), kind), np.empty((left, n))
        self.seen = self.sent = 0
        self.inside = math.sqrt(np.finfo(kind).eps)
        self.chunks = list(pairwise([*range(0, rows, max(_CHUNK, -(-rows // 16))), rows]))

    def forward(self, w: np.ndarray) -> np.ndarray | None:
        """Z w ``[rows]``; None where its direction is new and there is no room for it."""
        q, b = self.q[: self.seen], self.b[: self.sent]
        along = q @ w
        rest = w - along @ q
        again = q @ rest
        along, rest = along + again, rest - again @ q
        size, new = np.linalg.norm(rest), np.zeros(self.rows, self.f.dtype)
        if size > 1e-9 * np.linalg.norm(w):
            if self.seen == len(self.q):
                return None
            rest /= size
            self.draw.standard_normal(out=new, dtype=new.dtype)
            self._combine(self.p, b @ rest - self._dots(self.p, self.sent, new), new)
            self.q[self.seen], self.f[self.seen] = rest, new
            self.seen += 1
            new *= new.dtype.type(size)
        self._combine(self.f, along, new)
        return new

    def backward(self, c: np.ndarray) -> np.ndarray | None:
        """Z^T c ``[n]``, float64; None where its direction is new and there is no room for it."""
        b, q = self.b[: self.sent], self.q[: self.seen]
        length = self._norm(c)
        along, rest = self._dots(self.p, self.sent, c), c.copy()
        self._combine(self.p, -along, rest)
        size = self._norm(rest)
        if size < 0.1 * length:  # most was taken away: once more, so that it is orthogonal to rounding
            again = self._dots(self.p, self.sent, rest)
            self._combine(self.p, -again, rest)
            along, size = along + again, self._norm(rest)
        image = along @ b
        if size > self.inside * length:
            if self.sent == len(self.p):
                return None
            rest *= rest.dtype.type(1 / size)
            fresh = self.draw.standard_normal(len(image))
            fresh += (self._dots(self.f, self.seen, rest) - q @ fresh) @ q
            self.p[self.sent], self.b[self.sent] = rest, fresh
            self.sent += 1
            image = image + size * fresh
        return image

    def _dots(self, vectors: np.ndarray, count: int, x: np.ndarray) -> np.ndarray:
        parts = np.empty((len(self.chunks), count), x.dtype)

        def one(k: int) -> None:
            begin, end = self.chunks[k]
            dots(vectors, count, x, begin, end, parts[k])

        list(self.each(one, range(len(parts))))
        return parts.sum(0, dtype=np.float64)

    def _combine(self, vectors: np.ndarray, factors: np.ndarray, x: np.ndarray) -> None:
        factors = factors.astype(x.dtype)
        list(self.each(lambda c: combine(vectors, factors, x, *c), self.chunks))

    def _norm(self, x: np.ndarray) -> float:
        return math.sqrt(float(self._dots(x[None], 1, x)[0]))


class MatrixFree:
    """A ``Source`` for standard normal inputs and a fixed v. ``problem`` is of one teacher."""

    compiled = None

    def __init__(
        self, problem: Problem, surrogate: Surrogate, seed: int, run: int, most: int, each: Each = map
    ):
        self.surrogate, self.close, self.samples = surrogate, 0, problem.samples or 0
        self.v, self.w_star = problem.v_star.numpy(), problem.w_star.numpy()
        kind, rows = self.v.dtype, self.samples * problem.m
        draw = stream(seed, "data", run)
        self.z = Deferred(rows, problem.n, most=most, draw=draw, kind=kind, each=each)
        self.x_star = self.z.forward(self.w_star.astype(np.float64))
        assert self.x_star is not None
        self.labels, self.rest = np.empty((2, self.samples), kind)
        kernels.heads(self.x_star, self.v, noise(problem, seed, run).astype(kind), self.labels)
        self.sent = np.empty(rows, kind)

    def value(self, negative: np.ndarray) -> np.ndarray | None:
        """The coarse gradient at these signs."""
        w = np.where(negative, -1.0, 1.0) / math.sqrt(len(negative))
        at_teacher = np.allclose(w, self.w_star, rtol=1e-6, atol=0)
        x = self.x_star if at_teacher else self.z.forward(w)
        if x is None:
            return None
        self.close += kernels.residuals(x, self.v, self.labels, self.rest)
        send(self.surrogate, x, self.v, self.rest, self.sent)
        if not self.sent.any():
            return np.zeros_like(self.w_star)
        image = self.z.backward(self.sent)
        return None if image is None else (image / self.samples).astype(self.v.dtype)
