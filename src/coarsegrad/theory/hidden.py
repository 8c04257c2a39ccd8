r"""One hidden layer, \(y = v^T \sigma(Zw)\), on Gaussian Z: loss, gradient, expected coarse gradient.

The model of Yin et al. 2019, arXiv:1903.05662: Z has independent N(0, 1) entries, v (``[..., m]``) and the
shared filter w (``[..., n]``) are trained on labels \(y^* = v^{*T} \sigma(Zw^*)\) with the loss
\(f = \frac12 E(y - y^*)^2\). By default \(\sigma\) is the paper's threshold \(1\{x>0\}\); any quantizer of
``core`` takes its place as a ``Staircase``. Formulas are those of the paper's lemmas on f, its gradient and
the coarse gradients of three slopes, in a form without 0/0; for other slopes and levels they are the same
expectations.

Leading axes are problems and broadcast. Work is done in float64 and returned in the dtype of the arguments.
Edges, the same everywhere: at w = 0 the activation is constant and the values are those of that constant, but
f is not continuous there, and its gradient in w is given as 0; at \(\theta = 0\) and \(\pi\) (angles below
2e-15 count as 0) f has a corner across w, and the part of the gradient across w is given as 0; w_star = 0 has
no direction and gives NaN.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.theory.gauss import (
    _away_from_zero,
    _density,
    _level_product,
    _levels_at,
    _normal,
    _positive,
    _slant,
    _slope_moments,
    level_moments,
    plain,
)
from coarsegrad.theory.plane import plane, quick
from coarsegrad.theory.staircase import THRESHOLD, Staircase

_BLOCK = 2**19  # numbers of a block of w, which stays in a cache between passes


def loss(
    v: Tensor, w: Tensor, v_star: Tensor, w_star: Tensor, *, activation: Staircase = THRESHOLD
) -> Tensor:
    r"""\(f(v, w) = \frac12 E(v^T\sigma(Zw) - v^{*T}\sigma(Zw^*))^2\), ``[...]``. Yin et al. 2019.

    For the threshold, with \(d = v - v^*\): \(f = \frac18(|d|^2 + (1^Td)^2) + \frac{\theta}{2\pi} v^Tv^*\),
    differentiable in every argument; its gradient is ``gradient``. For activations with thresholds other than
    0 by quadrature, and not differentiable.

    >>> v, w = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.0, 3.0]).double()
    >>> float(loss(v, w, v, torch.tensor([1.0, 0.0]).double())) == 5 / 4  # |v|^2 theta / 2 pi
    True
    """
    dtype = _dtype(v, w, v_star, w_star)
    v, w, v_star, w_star = _wide(v, w, v_star, w_star)
    levels, d = _levels(plane(w, w_star), activation), v - v_star
    lift, bias = levels.lift, levels.mean * levels.gap
    f = (_dot(d, d) * levels.variance + (d.sum(-1) * levels.mean).square()) / 2
    f = f + _dot(d, v_star) * (lift - bias) + d.sum(-1) * v_star.sum(-1) * bias
    f = f + _dot(v_star, v_star) * (levels.apart - levels.gap.square()) / 2
    return (f + (v_star.sum(-1) * levels.gap).square() / 2).to(dtype)


def gradient(
    v: Tensor, w: Tensor, v_star: Tensor, w_star: Tensor, *, activation: Staircase = THRESHOLD
) -> tuple[Tensor, Tensor]:
    r"""\((\partial f/\partial v, \partial f/\partial w)\), ``[..., m]`` and ``[..., n]``.

    For the threshold \(\partial_v f = \frac14(d + (1^Td) 1) + \frac{\theta}{2\pi} v^*\), \(d = v - v^*\), and
    \(\partial_w f = -\frac{v^Tv^*}{2\pi|w|} \frac{Pw^*}{|Pw^*|}\), P the projection across w
    (Yin et al. 2019). Other staircases: the same expectations with \(\sigma'\) a sum of point masses. Edges:
    see the head of this file.

    >>> v, w = torch.tensor([2.0]).double(), torch.tensor([0.0, 1.0]).double()
    >>> dv, dw = gradient(v, w, v, torch.tensor([1.0, 0.0]).double())
    >>> dv.tolist(), (dw * math.pi / 2).tolist()
    ([0.5], [-1.0, 0.0])
    """
    dtype = _dtype(v, w, v_star, w_star)
    v, w, v_star, w_star = _wide(v, w, v_star, w_star)
    here = plane(w, w_star)
    levels = _levels(here, activation)
    along, across = _true_direction(v, v_star, here, levels, activation)
    dw = along.unsqueeze(-1) * here.unit + across.unsqueeze(-1) * here.across
    return _dv(v, v_star, levels).to(dtype), dw.to(dtype)


def coarse_gradient(
    v: Tensor,
    w: Tensor,
    v_star: Tensor,
    w_star: Tensor,
    surrogate: Surrogate,
    *,
    activation: Staircase = THRESHOLD,
    out: Tensor | None = None,
) -> Tensor:
    r"""The expected coarse gradient \(E[Z^T(\mu'(Zw) \odot v)(y - y^*)]\), ``[..., n]``.

    With the ``SlopeMoments`` of the surrogate, unit vectors \(u, u^*\), \(s = 1^Tv\), \(s^* = 1^Tv^*\):
    \([|v|^2\,\text{own} + ((s^2 - |v|^2) E\sigma(r) - (s s^* - v^Tv^*) E\sigma(r^*))\,\text{lone}]\, u
    - v^Tv^* (\text{student}\, u + \text{teacher}\, u^*)\). For the threshold and the ReLU it is
    \(\frac{1}{2\sqrt{2\pi}} \{[|v|^2 + s(s - s^*)] u - v^Tv^* u^*\}\) (Yin et al. 2019; no 0/0 at any angle).

    The slope's argument is the pre-activation in units of the activation: (x - offset) / scale, x itself for
    the threshold. So ``ReLU()`` and ``ClippedReLU()`` are the paper's, and a surrogate stretched by
    ``.over(quantizer.window)`` acts as it does in training. Closed form and differentiable where the
    surrogate declares ``passes``; else by quadrature (see ``gauss.slope_moments``). At w = 0 it is
    \(-\mu'(0)\, v^Tv^* E[\sigma(r^*)z]\), as the sampled one is: 0 for the ReLU, not for the identity.

    ``out``, where given, is written over and returned: a loop over many steps saves making it each time.

    Raises ``ValueError`` for an estimator that looks at the upstream gradient (EWGS), and where quadrature
    reaches neither 1e-10 of its largest moment nor 1e-12.

    >>> from coarsegrad.core.surrogates import Identity
    >>> v, w = torch.tensor([1.0]).double(), torch.tensor([0.0, 1.0]).double()
    >>> g = coarse_gradient(v, w, v, torch.tensor([1.0, 0.0]).double(), Identity())
    >>> (g * math.sqrt(2 * math.pi)).tolist()
    [-1.0, 1.0]
    """
    dtype = _dtype(v, w, v_star, w_star)
    lead = torch.broadcast_shapes(*(t.shape[:-1] for t in (v, w, v_star, w_star)))
    if out is not None and (out.shape != (*lead, w.shape[-1]) or out.dtype != dtype):
        raise ValueError(
            f"out must be {dtype} of shape {(*lead, w.shape[-1])}, got {out.dtype}, {tuple(out.shape)}"
        )
    if _many(v, w, v_star, w_star, surrogate):
        out = torch.empty(*lead, w.shape[-1], dtype=dtype, device=w.device) if out is None else out
        return _in_blocks(v, w, v_star, w_star, plain(surrogate, activation), activation, out)
    v, w, v_star, w_star = _wide(v, w, v_star, w_star)
    here = plane(w, w_star)
    student, teacher = _coarse_direction(v, v_star, here[:4], plain(surrogate, activation), activation)
    g = (student.unsqueeze(-1) * here.unit + teacher.unsqueeze(-1) * here.unit_star).to(dtype)
    return g if out is None else out.copy_(g)


def correlation(
    v: Tensor,
    w: Tensor,
    v_star: Tensor,
    w_star: Tensor,
    surrogate: Surrogate,
    *,
    activation: Staircase = THRESHOLD,
) -> Tensor:
    r"""\(\langle E g, \partial f/\partial w\rangle\), ``[...]``: positive where -Eg leads downhill.

    Yin et al. 2019: for the threshold \(\sin\theta\,(v^Tv^*)^2\,\text{teacher} / (2\pi|w|)\), which is
    \(\sin\theta\,(v^Tv^*)^2 / ((2\pi)^{3/2}|w|)\) for the identity, half of it for the ReLU. 0 at the edges.

    >>> from coarsegrad.core.surrogates import ReLU
    >>> v, w = torch.tensor([1.0]).double(), torch.tensor([0.0, 1.0]).double()
    >>> found = correlation(v, w, v, torch.tensor([1.0, 0.0]).double(), ReLU())
    >>> round(float(found) * 2 * (2 * math.pi) ** 1.5, 14)
    1.0
    """
    dtype = _dtype(v, w, v_star, w_star)
    v, w, v_star, w_star = _wide(v, w, v_star, w_star)
    _, true, coarse = _both(v, w, v_star, w_star, surrogate, activation)
    return (true[0] * coarse[0] + true[1] * coarse[1]).to(dtype)


def descent_ratio(
    v: Tensor,
    w: Tensor,
    v_star: Tensor,
    w_star: Tensor,
    surrogate: Surrogate,
    *,
    activation: Staircase = THRESHOLD,
) -> Tensor:
    r"""\(|Eg|^2 / (|\partial_v f|^2 + \langle Eg, \partial_w f\rangle)\), ``[...]``.

    The descent inequality: Yin et al. 2019 bound it by a constant for ReLU and clipped ReLU (here
    ``descent_constant``). For the identity it has no bound near the spurious minimizer. Infinite where only
    the denominator is 0 or below, 0 where Eg is 0; within rounding of a point where both vanish it says
    nothing.
    """
    dtype = _dtype(v, w, v_star, w_star)
    v, w, v_star, w_star = _wide(v, w, v_star, w_star)
    levels, true, coarse = _both(v, w, v_star, w_star, surrogate, activation)
    length = coarse[0].square() + coarse[1].square()
    below = _dv(v, v_star, levels).square().sum(-1) + true[0] * coarse[0] + true[1] * coarse[1]
    ratio = torch.where(below > 0, length / _positive(below), torch.full_like(below, math.inf))
    return torch.where(length > 0, ratio, torch.zeros_like(ratio)).to(dtype)


def _both(v, w, v_star, w_star, surrogate, activation):
    """The levels' moments; the gradient in w and the coarse gradient, each along u and across it."""
    here = plane(w, w_star)
    levels = _levels(here, activation)
    true = _true_direction(v, v_star, here, levels, activation)
    student, teacher = _coarse_direction(v, v_star, here[:4], plain(surrogate, activation), activation)
    return levels, true, (student + here.cos * teacher, here.sin * teacher)


def descent_constant(surrogate: Surrogate, v_norm: Tensor | float, w_norm: Tensor | float) -> Tensor:
    r"""A with \(|Eg|^2 \le A (|\partial_v f|^2 + \langle Eg, \partial_w f\rangle)\) up to these \(|v|, |w|\).

    For the threshold activation and the slope \(1\{0<x<\text{top}\}\) (ReLU: top infinite), \(\rho = |w|\):
    \(A = \max(\tfrac4\pi |v|^2,\; 2\sqrt{2\pi}\,\rho\,(\Phi(\text{top}/\rho) - \tfrac12))\). The second term
    is \(\sqrt{2\pi}\,\rho\) for the ReLU; for the clipped ReLU it stays below 2 top: A needs no bound on w.
    Broadcasts to ``[...]``, float64.

    The inequality is that of Yin et al. 2019, the constant is ours: substitute \(|v|^2 + s(s - s^*) =
    4 v^T\partial_v f + (1 - 2\theta/\pi) v^Tv^*\) in Eg and use \((a+b)^2 \le 2a^2 + 2b^2\); the ratio that
    is left depends on \(\theta\) and top/\(\rho\) alone, and is largest at \(\theta = \pi/2\) (seen on a fine
    grid, in the tests). Infinite for the identity, which has none; ``ValueError`` for other surrogates.

    >>> from coarsegrad.core.surrogates import ReLU
    >>> float(descent_constant(ReLU(), 0.1, 2.0)) / math.sqrt(2 * math.pi)
    2.0
    """
    size = torch.as_tensor(w_norm, dtype=torch.float64)
    first = torch.as_tensor(v_norm, dtype=torch.float64, device=size.device).square() * (4 / math.pi)
    if surrogate.passes is not None and surrogate.passes[0] == 0:
        reach = _normal(surrogate.passes[1] / _positive(size)) - 0.5
        return torch.maximum(first, 2 * math.sqrt(2 * math.pi) * size * reach)
    if surrogate.passes == (-math.inf, math.inf):
        return torch.full_like(first + size, math.inf)
    raise ValueError(
        f"no constant is known for {type(surrogate).__name__}, only for ReLU and ClippedReLU; "
        "descent_ratio gives the ratio at a point"
    )


class _Levels(NamedTuple):
    """Moments of both activations: mean and variance of the student's, and how they differ."""

    mean: Tensor
    mean_star: Tensor
    gap: Tensor
    variance: Tensor
    lift: Tensor
    """E sigma (sigma - sigma_star)."""
    apart: Tensor
    """E (sigma - sigma_star)^2."""


def _levels(here, activation):
    size, c, s, size_star = here[:4]
    mean, square = level_moments(size, activation)
    mean_star, square_star = level_moments(size_star, activation)
    if activation.thresholds == (0.0,):
        apart = (activation.levels[1] - activation.levels[0]) ** 2 * torch.atan2(s, c) / math.pi
        lift = apart / 2
    else:
        product = _level_product(_positive(size), c, s, size_star, activation).value
        lift, apart = square - product, square + square_star - 2 * product
    still, gap = size == 0, mean - mean_star
    return _Levels(
        mean, mean_star, gap, square - mean.square(),
        torch.where(still, mean * gap, lift),
        torch.where(still, square_star - mean_star.square() + gap.square(), apart),
    )  # fmt: skip


def _dv(v, v_star, levels):
    d, bias = v - v_star, (levels.mean * levels.gap)
    both = d.sum(-1) * levels.mean.square() + v_star.sum(-1) * bias
    own = d * levels.variance.unsqueeze(-1) + v_star * (levels.lift - bias).unsqueeze(-1)
    return own + both.unsqueeze(-1)


def _true_direction(v, v_star, here, levels, activation):
    """The gradient in w as its parts along and across w."""
    cut, jump = activation.jumps(here.size)
    still, size = here.size == 0, _positive(here.size).unsqueeze(-1)
    h, tau = cut / size, cut / here.size_star.unsqueeze(-1)
    c, s = here.cos[..., None, None], here.sin[..., None, None]
    middle = torch.tensor(activation.levels, dtype=torch.float64, device=h.device)
    middle = (middle[1:] + middle[:-1]) / 2
    mass = _density(h) * jump / size
    place = _slant(h.unsqueeze(-1), tau.unsqueeze(-2), c, s)
    expected = _levels_at(place, activation, jump)
    lone, own, along = (mass * h).sum(-1), (mass * h * middle).sum(-1), (mass * h * expected).sum(-1)
    inner = _dot(v, v_star)
    across = -inner * (mass.unsqueeze(-1) * _density(place) * jump).sum((-1, -2))
    along = _row_sum(v, v_star, inner, levels.mean, levels.mean_star, lone, own) - inner * along
    nothing = torch.zeros_like(along)
    return torch.where(still, nothing, along), torch.where(still, nothing, across)


def _coarse_direction(v, v_star, sizes_and_angle, surrogate, activation, moments_of=_slope_moments):
    """The expected coarse gradient as its coefficients of the two unit vectors."""
    size, _, _, size_star = sizes_and_angle
    moments = moments_of(surrogate, *sizes_and_angle, activation)
    if surrogate.passes is None:
        _settled(moments, surrogate)
    if any(activation.thresholds):
        mean, mean_star = level_moments(size, activation).mean, level_moments(size_star, activation).mean
    else:
        mean = mean_star = (activation.levels[0] + activation.levels[-1]) / 2  # lone is 0 where w is
    inner = _dot(v, v_star)
    own = _row_sum(v, v_star, inner, mean, mean_star, moments.lone, moments.own)
    return own - inner * moments.student, -inner * moments.teacher


def _many(v, w, v_star, w_star, surrogate):
    """Whether to go by blocks: for closed forms without autograd, where w is large."""
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in (v, w, v_star, w_star))
    plain = not (graph or torch.compiler.is_compiling() or peek_interpreter_stack() is not None)
    return plain and surrogate.passes is not None and max(w.numel(), w_star.numel()) > _BLOCK // 8


def _in_blocks(v, w, v_star, w_star, surrogate, activation, out):
    """A block of rows at a time, read from memory once and written once."""
    *lead, n = out.shape
    number, target = math.prod(lead), out if out.is_contiguous() else torch.empty_like(out)
    rows = max(1, _BLOCK // n) if w.device.type == "cpu" else number
    flat = [
        t.reshape(1, -1) if t.shape[:-1].numel() == 1 else t.expand(*lead, -1).reshape(number, -1)
        for t in (v, w, v_star, w_star)
    ]
    wide = w.new_empty(min(rows, number), n, dtype=torch.float64) if out.dtype != torch.float64 else None
    angle = any(end for end in surrogate.passes if not math.isinf(end)) or activation.offset != 0
    angle = angle or any(activation.thresholds)
    for start in range(0, number, rows):
        part = target.reshape(number, n)[start : start + rows]
        v_, w_, v_star_, w_star_ = _wide(*(t[start : start + rows] if len(t) > 1 else t for t in flat))
        g = part if wide is None else wide[: len(part)]
        found = quick(w_, w_star_, angle=angle)
        if found is None:
            here = plane(w_, w_star_)
            w_, w_star_ = here.unit, here.unit_star
            student, teacher = _coarse_direction(v_, v_star_, here[:4], surrogate, activation)
        else:
            student, teacher = _coarse_direction(v_, v_star_, found, surrogate, activation, _away_from_zero)
            student, teacher = student / found[0], teacher / found[3]
        torch.mul(w_, student.unsqueeze(-1), out=g).addcmul_(w_star_, teacher.unsqueeze(-1))
        if wide is not None:
            part.copy_(g)
    return out if target is out else out.copy_(target)


def _row_sum(v, v_star, inner, mean, mean_star, lone, own):
    """The part along w: a row with itself, and with the other rows, of which it is independent."""
    ones = v.new_ones(v.shape[-1])
    total, total_star, length = v @ ones, v_star @ ones, _dot(v, v)
    others = (total.square() - length) * mean - (total * total_star - inner) * mean_star
    return length * own + others * lone


def _settled(moments, surrogate):
    largest = torch.stack([m.abs() for m in moments[:4]]).amax(0)
    missed = (moments.error > 1e-12) & (moments.error > 1e-10 * largest)
    if missed.any():
        raise ValueError(
            f"{type(surrogate).__name__}: quadrature reached only {float(moments.error[missed].max()):.1e}; "
            "declare its breaks, or take gauss.slope_moments and its error"
        )


def _dot(a, b):
    return (a * b) @ a.new_ones(a.shape[-1])


def _dtype(v, w, v_star, w_star):
    """The dtype of the answer. Raises ``ValueError`` for axes that do not fit."""
    for name, a, b in (("v", v, v_star), ("w", w, w_star)):
        for said, x in ((name, a), (f"{name}_star", b)):
            if not isinstance(x, Tensor):
                raise TypeError(
                    f"{said} must be a tensor, got {type(x).__name__}; torch.tensor(...) makes one"
                )
        if a.dim() == 0 or b.dim() == 0 or a.shape[-1] != b.shape[-1] or a.shape[-1] == 0:
            raise ValueError(
                f"{name} and {name}_star need the same last axis, at least 1, got {tuple(a.shape)} and "
                f"{tuple(b.shape)}"
            )
    try:
        torch.broadcast_shapes(*(t.shape[:-1] for t in (v, w, v_star, w_star)))
    except RuntimeError:
        shapes = ", ".join(str(tuple(t.shape)) for t in (v, w, v_star, w_star))
        raise ValueError(f"v, w, v_star, w_star have leading axes that do not broadcast: {shapes}") from None
    dtype = functools.reduce(torch.promote_types, (t.dtype for t in (v, w, v_star, w_star)))
    return dtype if dtype.is_floating_point else torch.float64


def floating(x: Tensor) -> Tensor:
    """Itself, or a whole-number tensor in float64."""
    return x if x.dtype.is_floating_point else x.to(torch.float64)


def _wide(*tensors):
    return tuple(t.to(torch.float64) for t in tensors)
