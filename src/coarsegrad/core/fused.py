"""The fast path on a CPU in eager mode: one pass forward, one bit of memory per element, one pass backward.

For evenly spaced levels, a window surrogate (slope 1 inside, 0 outside) and float32. Written with Numba as
LLVM vector code, so it needs no compiler and runs on any CPU. Values and gradients are those of the pure
torch path, bit for bit, but for one: the gradient of a trained scale. For weights it differs by the order of
its sum. For activations whose window is the range of the levels, each rounding residual is kept in a byte, in
steps of 1/252 of a level, instead of the whole activation in four: each term of the sum is off by at most
1/504 of its upstream gradient. Without Numba, nothing but speed and memory changes.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

from coarsegrad.core.ste import _Once

_on = contextvars.ContextVar("coarsegrad_fused", default=True)
_SMALL = 512


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


def _leading(scale, x):
    d = scale.dim()
    while d and scale.shape[d - 1] == 1:
        d -= 1
    return scale.dim() == x.dim() and scale.shape[:d] == x.shape[:d]


def _forward(x, scale, grid, mask):
    y = torch.empty_like(x)
    rows = scale.numel()
    _kernels().forward(  # pyright: ignore
        x.data_ptr(),
        y.data_ptr(),
        0 if mask is None else mask.data_ptr(),
        scale.data_ptr(),
        rows,
        x.numel() // rows,
        *grid,
    )
    return y


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, scale, grid, factor):
        ctx.grid, ctx.factor, ctx.shape = grid, factor, scale.shape
        rows = scale.numel()
        if ctx.needs_input_grad[1]:
            window = (grid.left, grid.right) == (grid.low, grid.high)
            if rows == 1 and window and not grid.sign and not x.is_leaf:
                y, kept = torch.empty_like(x), torch.empty(-(-x.numel() // 16) * 16, dtype=torch.int8)
                where = (x.data_ptr(), y.data_ptr(), kept.data_ptr(), scale.data_ptr())
                _kernels().forward_residual(*where, x.numel(), *grid)
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
        saved, scale_gradient = ctx.saved_tensors, None
        if not saved:
            gradient = upstream
        else:
            upstream = upstream.resolve_neg().contiguous()
            gradient = torch.empty_like(upstream)
            rows = ctx.shape.numel()
            where = (upstream.data_ptr(), gradient.data_ptr())
            total = torch.zeros(rows, dtype=torch.float64) if ctx.needs_input_grad[1] else None
            if total is None:
                _kernels().backward(*where, saved[0].data_ptr(), rows, upstream.numel() // rows)
            elif len(saved) == 1:
                _kernels().backward_residual(
                    *where, saved[0].data_ptr(), total.data_ptr(), upstream.numel(), *ctx.grid[:2]
                )
            else:
                x, scale = saved
                _kernels().backward_learned(
                    *where,
                    x.data_ptr(),
                    scale.data_ptr(),
                    total.data_ptr(),
                    rows,
                    upstream.numel() // rows,
                    *ctx.grid,
                )
            if total is not None:
                scale_gradient = total.mul_(ctx.factor).to(torch.float32).reshape(ctx.shape)
        if torch.is_grad_enabled():
            gradient = _Once.apply(gradient, torch.empty(0, requires_grad=True))
        return gradient, scale_gradient, None, None


@functools.cache
def _kernels() -> Any:
    """The compiled kernels, or None without Numba. Compiled at first use (about two seconds)."""
    try:
        from coarsegrad.core import kernels
    except ImportError:
        return None
    return kernels
