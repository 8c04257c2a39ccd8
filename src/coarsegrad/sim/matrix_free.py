r"""Gradients without data: of a Gaussian Z only the images that the descent looks at are drawn.

Given \(ZQ = F\) and \(Z^TP = B\) for orthonormal Q and P, the rest of Z is still a fresh Gaussian matrix:
\(Z = FQ^T + PB^T - P(P^TF)Q^T + (I - PP^T)\,G\,(I - QQ^T)\). So a new image needs one fresh Gaussian vector,
for the part of its direction outside the span of those seen, and none for a direction inside. What is seen
has exactly the distribution it has with stored data (Lu 2021, Householder dice, arXiv:2101.07464).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.problem import Problem
from coarsegrad.sim import kernels
from coarsegrad.sim.events import send
from coarsegrad.sim.normals import Each, Normals
from coarsegrad.sim.samples import noise
from coarsegrad.sim.vectors import combine, dots

_CHUNK = 2**13  # entries that a thread takes at a time, at least


class Deferred:
    """A matrix ``[rows, n]`` of independent standard normal numbers, of which only images are decided.

    ``most``: directions that may be seen on each side; ``seen`` and ``sent`` of them are.

    >>> z = Deferred(5, 3, most=3, draw=Normals(0, "data", 0))
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
        draw: Normals,
        kind: Any = np.float64,
        each: Each = map,
        hands: int = 1,
    ):
        self.draw, self.each, self.hands, self.rows = draw, each, hands, rows
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
        size, image = np.linalg.norm(rest), np.zeros(self.rows, self.f.dtype)
        new, back = image, np.empty(0, image.dtype)  # nothing is added to it
        if size > 1e-9 * np.linalg.norm(w):
            if self.seen == len(self.q):
                return None
            rest, new = rest / size, self.f[self.seen]
            self.draw.fill(new, self.each)
            back = (b @ rest - self._dots(new, (self.p, self.sent))[0]).astype(image.dtype)
            self.q[self.seen] = rest
            self.seen, along = self.seen + 1, np.append(along, size)
        along = along.astype(image.dtype)

        def one(k: int) -> None:
            combine(self.p, back, new, *self.chunks[k])
            combine(self.f, along, image, *self.chunks[k])

        self._on_chunks(one)
        return image

    def backward(self, c: np.ndarray) -> np.ndarray | None:
        """Z^T c ``[n]``, float64; None where its direction is new and there is no room for it."""
        b, q, sent, seen = self.b[: self.sent], self.q[: self.seen], (self.p, self.sent), (self.f, self.seen)
        along, forth, (square,) = self._dots(c, sent, seen, (c[None], 1))
        rest, length = c.copy(), math.sqrt(square)
        size, image = self._add(self.p, -along, rest), along @ b
        forth = forth - q @ image  # as F P^T is q b^T
        if size < 0.1 * length:  # most was taken away: once more, so that it is orthogonal to rounding
            again, forth = self._dots(rest, sent, seen)
            size, more = self._add(self.p, -again, rest), again @ b
            forth, image = forth - q @ more, image + more
        if size > self.inside * length:
            if self.sent == len(self.p):
                return None
            np.divide(rest, rest.dtype.type(size), out=self.p[self.sent])
            fresh = np.empty(len(image))
            self.draw.fill(fresh)
            fresh += (forth / size - q @ fresh) @ q
            self.b[self.sent] = fresh
            self.sent += 1
            image = image + size * fresh
        return image

    def _dots(self, x: np.ndarray, *kept: tuple[np.ndarray, int]) -> list[np.ndarray]:
        """Products of x with the first vectors of each."""
        parts = [np.empty((len(self.chunks), count), x.dtype) for _, count in kept]

        def one(k: int) -> None:
            for (vectors, count), part in zip(kept, parts, strict=True):
                dots(vectors, count, x, *self.chunks[k], part[k])

        self._on_chunks(one)
        return [part.sum(0, dtype=np.float64) for part in parts]

    def _add(self, vectors: np.ndarray, factors: np.ndarray, x: np.ndarray) -> float:
        """Add the first vectors, each times its factor, to x; returns its length then."""
        factors, squares = factors.astype(x.dtype), np.empty((len(self.chunks), 1), x.dtype)

        def one(k: int) -> None:
            combine(vectors, factors, x, *self.chunks[k])
            dots(x[None], 1, x, *self.chunks[k], squares[k])

        self._on_chunks(one)
        return math.sqrt(squares.sum(dtype=np.float64))

    def _on_chunks(self, one: Callable[[int], None]) -> None:
        """A share of the chunks for each hand; what comes out does not depend on who does which."""
        shares = [range(k, len(self.chunks), self.hands) for k in range(self.hands)]
        list(self.each(lambda share: [one(k) for k in share], shares))


class MatrixFree:
    """A ``Source`` for standard normal inputs and a fixed v. ``problem`` is of one teacher."""

    compiled = None

    def __init__(
        self,
        problem: Problem,
        surrogate: Surrogate,
        seed: int,
        run: int,
        most: int,
        each: Each = map,
        hands: int = 1,
    ):
        self.surrogate, self.close, self.samples = surrogate, 0, problem.samples or 0
        self.v, self.w_star = problem.v_star.numpy(), problem.w_star.numpy()
        kind, rows = self.v.dtype, self.samples * problem.m
        draw = Normals(seed, "data", run)
        self.z = Deferred(rows, problem.n, most=most, draw=draw, kind=kind, each=each, hands=hands)
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
