"""The straight-through estimator: an exact value forward, a surrogate's slope backward."""

from collections.abc import Callable

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate

ScaleRule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(upstream, u, level, gradient at u) -> the gradient of the scale, elementwise, before it is summed."""


def through(
    x: Tensor,
    y: Tensor,
    surrogate: Surrogate,
    *,
    at: Tensor | None = None,
    scale: Tensor | None = None,
    scale_rule: ScaleRule | None = None,
    scale_factor: float = 1.0,
) -> Tensor:
    r"""The value y, with the gradient of x taken through a surrogate.

    Forward: y, bit for bit. Backward: ``surrogate.pullback(upstream, at)`` arrives at x, where ``at``
    (default x) is the same point in the surrogate's own units. With ``scale`` given, y must be
    ``scale * level`` and the scale receives what autograd would give it for
    ``scale * through(x / scale, level)``, that is \(\sum g\,(q - u\,\mu'(u))\), the gradient of LSQ (Esser et
    al. 2020, arXiv:1902.08153); a ``scale_rule`` replaces that term (PACT) and ``scale_factor`` multiplies
    the sum.

    Shapes: x, y, at ``[...]`` alike; scale broadcasts against them. Works under
    ``torch.func.vmap(grad(...))``, ``torch.compile(fullgraph=True)`` and autocast. Differentiating the
    gradient again raises ``RuntimeError``: a slope that was chosen, not derived, has no derivative that would
    mean anything.

    >>> from coarsegrad.core.surrogates import ClippedReLU
    >>> x = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    >>> through(x, (x > 0).float(), ClippedReLU()).sum().backward()
    >>> x.grad
    tensor([0., 1., 0.])
    """
    if x.shape != y.shape:
        raise ValueError(
            f"through(x, y, ...) needs x and y of one shape, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    point = x if at is None else at
    return _Through.apply(x, y.detach(), point.detach(), scale, surrogate, scale_rule, scale_factor)  # pyright: ignore


class _Through(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, y, at, scale, surrogate, scale_rule, scale_factor):
        return y.view_as(y)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, y, at, scale, ctx.surrogate, ctx.scale_rule, ctx.scale_factor = inputs
        ctx.learned = scale is not None and scale.requires_grad
        if ctx.learned:
            ctx.save_for_backward(at, y, scale)
        else:
            ctx.save_for_backward(at)

    @staticmethod
    def backward(ctx, upstream):
        at, *rest = ctx.saved_tensors
        gradient = ctx.surrogate.pullback(upstream, at)
        scale_gradient = None
        if rest:
            y, scale = rest
            if ctx.scale_rule is None:
                scale_gradient = _scale_gradient(upstream, y, scale, gradient, at)
            else:
                scale_gradient = _sum_to(ctx.scale_rule(upstream, at, y / scale, gradient), scale.shape)
            scale_gradient = (scale_gradient * ctx.scale_factor).to(scale.dtype)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            gradient = _Once.apply(gradient, torch.empty(0, requires_grad=True))
        return gradient, None, None, scale_gradient, None, None, None


class _Once(torch.autograd.Function):
    """The identity on a gradient; its backward refuses, also if nothing upstream needs one (``token``)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient, token):
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *upstream):
        raise RuntimeError(
            "a straight-through gradient cannot be differentiated again: its slope was chosen, not derived. "
            "For second derivatives, differentiate the surrogate's curve instead"
        )


class _Slowed(torch.autograd.Function):
    """The identity; its gradient is multiplied by ``factor``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, factor):
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx, upstream):
        return upstream * ctx.factor, None


def slowed(x: Tensor, factor: float) -> Tensor:
    """The value x, whose gradient is multiplied by ``factor``."""
    return _Slowed.apply(x, factor)  # pyright: ignore


def _sum_to(x: Tensor, shape: torch.Size) -> Tensor:
    if len(shape) == 0:
        return x.sum()
    return x.sum_to_size(shape)


def _scale_gradient(upstream, y, scale, gradient, at):
    """The sum of g q - g' u.

    In half precision term by term in float32, for its two sums would nearly cancel; compiled, term by term in
    one pass.
    """
    half = at.dtype in (torch.float16, torch.bfloat16)
    if half or torch.compiler.is_compiling():
        terms = upstream, y / scale, gradient, _finite(at)
        upstream, level, gradient, at = (t.float() for t in terms) if half else terms
        return _sum_to(upstream * level - gradient * at, scale.shape)
    return _sum_to(upstream * y, scale.shape) / scale - _sum_to(gradient * _finite(at), scale.shape)


def _finite(x: Tensor) -> Tensor:
    """X kept from infinity, so that a gradient of 0 times it is 0."""
    largest = torch.finfo(x.dtype).max
    return x.clamp(-largest, largest)
