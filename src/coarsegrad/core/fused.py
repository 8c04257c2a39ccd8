"""The fast path on a CPU in eager mode: one pass forward, one bit of memory per element, one pass backward.

For evenly spaced levels, a window surrogate (slope 1 inside, 0 outside) and float32. Written with Numba as
LLVM vector code, so it needs no compiler and runs on any CPU. Values and gradients are those of the pure
torch path, bit for bit, but for two. The gradient of a trained scale: for weights it differs by the order of
its sum; for activations whose window is the range of the levels, each rounding residual is kept in a byte, in
steps of 1/252 of a level, instead of the whole activation in four: each term of the sum is off by at most
1/504 of its upstream gradient. And scales of least squares: their sums too have another order, and of two
candidates that lose alike another may be taken. Without Numba, nothing but speed and memory changes.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

from coarsegrad.core.ste import _Once

_on = contextvars.ContextVar("coarsegrad_fused", default=True)
_SMALL = 512
_SHARED = 2**17  # elements from which a second thread saves more than it costs


class Grid(NamedTuple):
    """Levels low, low + 1, ..., high (or -1 and 1 for a sign) and the open window where gradients pass."""

    low: float
    high: float
    sign: bool
    left: float
    right: float


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Without the fast path, for comparing the two."""
    token = _on.set(False)
    try:
        yield
    finally:
        _on.reset(token)


def ready(x: Tensor, scale: Tensor) -> bool:
    """Whether the fast path can take this tensor and this scale (one, or one per leading index)."""
    if (
        x.numel() < _SMALL
        or x.dtype is not torch.float32
        or x.device.type != "cpu"
        or torch.compiler.is_compiling()
    ):
        return False
    if type(x) not in (Tensor, torch.nn.Parameter) or peek_interpreter_stack() is not None:
        return False
    if (
        scale.dtype is not torch.float32
        or scale.device != x.device
        or torch._C._get_tracing_state() is not None
    ):
        return False
    if not x.is_contiguous() or not scale.is_contiguous() or x.is_neg() or scale.is_neg():
        return False
    if scale.numel() != 1 and not _leading(scale, x):
        return False
    return _on.get() and _kernels() is not None


def fake_quantize(x: Tensor, scale: Tensor, grid: Grid, factor: float) -> Tensor:
    """The quantized x. Call it only where ``ready`` says so."""
    if torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad):
        return _Fused.apply(x, scale, grid, factor)  # pyright: ignore
    return _forward(x, scale, grid, None)


def best_steps(
    x: Tensor, like: Tensor, low: float, high: float, rounds: Sequence[Sequence[float]], polishings: int
) -> Tensor:
    """The distances of levels low, low + 1, ..., high that lose least of x, shaped as ``like``.

    By the search of `coarsegrad.core.scales`. Call it only where ``ready`` says so.
    """
    best = torch.empty(like.numel(), dtype=torch.float64)
    ratios = tuple(np.array(ratio) for ratio in rounds)
    _kernels().best_steps(x.view(len(best), -1).numpy(), low, high, ratios, polishings, best.numpy())
    return best.to(x.dtype).view(like.shape)


def _leading(scale, x):
    d = scale.dim()
    while d and scale.shape[d - 1] == 1:
        d -= 1
    return scale.dim() == x.dim() and scale.shape[:d] == x.shape[:d]


class _Part(NamedTuple):
    """A share of the work: ``rows`` of ``width`` elements; where it begins, in elements, blocks, rows."""

    rows: int
    width: int
    element: int = 0
    block: int = 0
    row: int = 0


def _parts(rows: int, width: int) -> list[_Part]:
    """A share for each of torch's threads: whole blocks of 16 of a single row, or whole rows.

    Small work is a single share.
    """
    blocks = -(-width // 16)
    number = min(torch.get_num_threads(), rows if rows > 1 else blocks)
    if number == 1 or rows * width < _SHARED or _threads().possible() is None:
        return [_Part(rows, width)]
    at = [(rows if rows > 1 else blocks) * i // number for i in range(number + 1)]
    if rows > 1:
        return [_Part(b - a, width, a * width, a * blocks, a) for a, b in pairwise(at)]
    return [_Part(1, min(width, 16 * b) - 16 * a, 16 * a, a) for a, b in pairwise(at)]


def _forward(x, scale, grid, mask):
    y = torch.empty_like(x)
    rows = scale.numel()
    kernels, a, b, c = _kernels(), x.data_ptr(), y.data_ptr(), scale.data_ptr()
    m = 0 if mask is None else mask.data_ptr()
    tasks = [
        (a + 4 * p.element, b + 4 * p.element, m and m + 2 * p.block, c + 4 * p.row, p.rows, p.width)
        for p in _parts(rows, x.numel() // rows)
    ]
    _threads().run(kernels.forward, tasks, grid)
    return y


def _forward_residual(x, scale, grid):
    y, kept = torch.empty_like(x), torch.empty(-(-x.numel() // 16) * 16, dtype=torch.int8)
    kernels, a, b, k = _kernels(), x.data_ptr(), y.data_ptr(), kept.data_ptr()
    tasks = [
        (a + 4 * p.element, b + 4 * p.element, k + p.element, scale.data_ptr(), p.width)
        for p in _parts(1, x.numel())
    ]
    _threads().run(kernels.forward_residual, tasks, grid)
    return y, kept


def _backward(upstream, mask: Tensor, rows: int):
    gradient = torch.empty_like(upstream)
    kernels, a, b, m = _kernels(), upstream.data_ptr(), gradient.data_ptr(), mask.data_ptr()
    tasks = [
        (a + 4 * p.element, b + 4 * p.element, m + 2 * p.block, p.rows, p.width)
        for p in _parts(rows, upstream.numel() // rows)
    ]
    _threads().run(kernels.backward, tasks)
    return gradient


def _backward_residual(upstream, kept, grid):
    """The gradient of x, and the sum for the scale's."""
    gradient, parts = torch.empty_like(upstream), _parts(1, upstream.numel())
    total = torch.empty(len(parts), dtype=torch.float64)
    kernels, a, b, k, t = _kernels(), *(v.data_ptr() for v in (upstream, gradient, kept, total))
    tasks = [
        (a + 4 * p.element, b + 4 * p.element, k + p.element, t + 8 * i, p.width) for i, p in enumerate(parts)
    ]
    _threads().run(kernels.backward_residual, tasks, grid[:2])
    return gradient, total.sum() if len(parts) > 1 else total


def _backward_learned(upstream, x, scale, grid):
    """The gradient of x, and the sums for the scale's."""
    rows = scale.numel()
    gradient, parts = torch.empty_like(upstream), _parts(rows, upstream.numel() // rows)
    total = torch.empty(max(rows, len(parts)), dtype=torch.float64)
    kernels, a, b, c, s, t = _kernels(), *(v.data_ptr() for v in (upstream, gradient, x, scale, total))
    tasks = [
        (a + 4 * p.element, b + 4 * p.element, c + 4 * p.element, s + 4 * p.row,
         t + 8 * (p.row if rows > 1 else i), p.rows, p.width)
        for i, p in enumerate(parts)
    ]  # fmt: skip
    _threads().run(kernels.backward_learned, tasks, grid)
    return gradient, total.sum() if rows == 1 and len(parts) > 1 else total


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, scale, grid, factor):
        ctx.grid, ctx.factor, ctx.shape = grid, factor, scale.shape
        rows = scale.numel()
        if ctx.needs_input_grad[1]:
            window = (grid.left, grid.right) == (grid.low, grid.high)
            if rows == 1 and window and not grid.sign and not x.is_leaf:
                y, kept = _forward_residual(x, scale, grid)
                ctx.save_for_backward(kept)
                return y
            ctx.save_for_backward(x, scale)
            return _forward(x, scale, grid, None)
        if grid.left == -float("inf") and grid.right == float("inf"):
            return _forward(x, scale, grid, None)
        mask = torch.empty(rows * (-(-(x.numel() // rows) // 16)), dtype=torch.int16)
        ctx.save_for_backward(mask)
        return _forward(x, scale, grid, mask)

    @staticmethod
    def backward(ctx: Any, upstream):  # pyright: ignore
        saved: Any = ctx.saved_tensors
        total = None
        if not saved:
            gradient = upstream
        else:
            upstream = upstream.resolve_neg().contiguous()
            if not ctx.needs_input_grad[1]:
                gradient = _backward(upstream, saved[0], ctx.shape.numel())
            elif len(saved) == 1:
                gradient, total = _backward_residual(upstream, saved[0], ctx.grid)
            else:
                gradient, total = _backward_learned(upstream, saved[0], saved[1], ctx.grid)
        if total is not None:
            total = total.mul_(ctx.factor).to(torch.float32).reshape(ctx.shape)
        if torch.is_grad_enabled():
            gradient = _Once.apply(gradient, torch.empty(0, requires_grad=True))
        return gradient, total, None, None


@functools.cache
def _kernels() -> Any:
    """The compiled kernels, or None without Numba. Compiled at first use (about two seconds)."""
    try:
        from coarsegrad.core import kernels
    except ImportError:
        return None
    return kernels


@functools.cache
def _threads() -> Any:
    from coarsegrad.core import threads

    return threads
