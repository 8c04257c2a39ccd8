r"""Expectations of slopes and levels of Gaussian variables, from which every coarse gradient is made.

Throughout \(r = |w| X\) is what the student's neuron sees and \(r^* = |w^*| (\cos\theta\,X + \sin\theta\,Y)\)
what the teacher's sees, X and Y independent N(0, 1); \(\sigma\) is the activation, a ``Staircase``, and
\(\mu'\) the slope of a surrogate. The model is that of Yin et al. 2019, arXiv:1903.05662.

A staircase makes the teacher's half of every expectation a sum over its jumps, in closed form. What is left
is one integral over X: closed where the slope is a window (``Surrogate.passes``), else by quadrature.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import HardTanh, MagnitudeAwareSign
from coarsegrad.theory.quadrature import Estimate, integrate, octaves, pieces
from coarsegrad.theory.staircase import THRESHOLD, Staircase

_PEAK = 1 / math.sqrt(2 * math.pi)
_SMALL = 1e-75  # its square and that of its inverse are floats


class LevelMoments(NamedTuple):
    r"""\(E\,\sigma(r)\) and \(E\,\sigma(r)^2\)."""

    mean: Tensor
    square: Tensor


class SlopeMoments(NamedTuple):
    r"""What a slope meets in the expected coarse gradient; ``error`` bounds the error of each of them.

    ``lone`` \(= E[\mu'(r) X]\), ``own`` \(= E[\mu'(r)\sigma(r) X]\), and, with unit vectors \(u\) along w and
    \(u^*\) along w*, \(E[\mu'(z^Tw)\,\sigma(z^Tw^*)\,z]\) = ``student`` \(u\) + ``teacher`` \(u^*\). So
    \(E[\mu'(r)\sigma(r^*)X]\) = ``student`` + \(\cos\theta\) ``teacher``.
    """

    lone: Tensor
    own: Tensor
    student: Tensor
    teacher: Tensor
    error: Tensor


def level_moments(size: Tensor, activation: Staircase = THRESHOLD) -> LevelMoments:
    r"""\(E\,\sigma(r)\) and \(E\,\sigma(r)^2\) for \(r = \text{size}\cdot X\), ``[...]`` -> ``[...]``.

    \(l_0 + \sum_k (l_k - l_{k-1}) \Phi(-t_k/\text{size})\), levels l, thresholds t; at size 0 the value at 0.
    """
    cut, jump = activation.jumps(size)
    squares = torch.tensor([level**2 for level in activation.levels], dtype=torch.float64, device=size.device)
    above = _normal(-cut / _positive(size).unsqueeze(-1)) if any(activation.thresholds) else 0.5
    mean = activation.levels[0] + (above * jump).sum(-1)
    square = activation.levels[0] ** 2 + (above * squares.diff()).sum(-1)
    zero = size == 0
    return LevelMoments(
        torch.where(zero, activation.zero, mean), torch.where(zero, activation.zero**2, square)
    )


def level_product(
    size: Tensor, angle: Tensor, size_star: Tensor | float = 1.0, activation: Staircase = THRESHOLD
) -> Estimate:
    r"""\(E[\sigma(r)\,\sigma(r^*)]\); sizes and angle broadcast to ``[...]``, sizes positive.

    Where the only threshold is 0, in closed form \((l_0^2 + l_1^2)/2 - (l_1 - l_0)^2\,\theta/2\pi\); else by
    quadrature over X, which is not differentiable.

    >>> right = torch.tensor(math.pi / 2, dtype=torch.float64)
    >>> float(level_product(torch.ones_like(right), right).value)
    0.25
    """
    size, angle, size_star = _together(size, angle, size_star)
    return _level_product(size, angle.cos(), _sine(angle), size_star, activation)


def _level_product(size, c, s, size_star, activation):
    """The same from cosine and sine."""
    if activation.thresholds == (0.0,):
        low, high = activation.levels
        value = (low**2 + high**2) / 2 - (high - low) ** 2 * torch.atan2(s, c) / (2 * math.pi)
        return Estimate(value, torch.zeros_like(value))
    _refuse_gradients("level_product with thresholds other than (0.0,)", size, c, s, size_star)
    shape, (rho, c, s, rho_star) = size.shape, (t.flatten() for t in (size, c, s, size_star))
    cut, jump = activation.jumps(size)
    h, tau = cut / rho.unsqueeze(-1), cut / rho_star.unsqueeze(-1)

    def integrand(x, p):
        own = _levels_at(x.unsqueeze(-1) - h[p], activation, jump, step=True)
        place = _slant(x.unsqueeze(-1), tau[p], c[p].unsqueeze(-1), s[p].unsqueeze(-1))
        return (_density(x) * own * _levels_at(place, activation, jump)).unsqueeze(-1)

    with torch.no_grad():
        value, error = integrate(integrand, pieces(h, _transitions(c, s, tau)), width=2 * len(jump))
    return Estimate(value.reshape(shape), error.reshape(shape))


def slope_moments(
    surrogate: Surrogate,
    size: Tensor,
    angle: Tensor,
    size_star: Tensor | float = 1.0,
    activation: Staircase = THRESHOLD,
) -> SlopeMoments:
    r"""The ``SlopeMoments`` for \(|w|\) = size, \(\theta\) = angle, \(|w^*|\) = size_star > 0.

    Shapes broadcast to ``[...]``; float64. At size 0, where w has no direction, only ``teacher`` is not 0: it
    is \(\mu'(0)\,E[\sigma(r^*) z]\) along w*. At angle 0 and pi, where u and u* are one direction up to sign,
    only ``student`` + cos(angle) ``teacher`` is determined.

    The closed form where ``surrogate.passes`` is declared (error 0, differentiable): by Stein's identity
    \(E[\mu'\sigma^* z] = w E[\mu''(r)\sigma(r^*)] + w^* E[\mu'(r)\sigma'(r^*)]\), where \(\mu''\) and
    \(\sigma'\) are sums of point masses. Else quadrature, split at ``surrogate.breaks``; where those are
    None, jumps are closed in by halving and ``error`` says how far. A scheduled surrogate is taken as it
    stands: pass ``surrogate.at(progress)``. The magnitude of ``MagnitudeAwareSign`` is that of infinitely
    many inputs, \(E|r|\).

    Raises ``ValueError`` for an estimator that looks at the upstream gradient: it has no slope, so no such
    expectations; ``sim`` samples it.

    >>> from coarsegrad.core.surrogates import ReLU
    >>> one = torch.ones((), dtype=torch.float64)
    >>> slope_moments(ReLU(), one, one).lone * math.sqrt(2 * math.pi)
    tensor(1., dtype=torch.float64)
    """
    size, angle, size_star = _together(size, angle, size_star)
    moments = _slope_moments(
        plain(surrogate, activation), size, angle.cos(), _sine(angle), size_star, activation
    )
    return SlopeMoments(*(size.new_tensor(m).expand_as(size) if isinstance(m, float) else m for m in moments))


def _slope_moments(surrogate, size, c, s, size_star, activation):
    """The same for a plain surrogate, from cosine and sine, which keep their digits near pi."""
    moments = _away_from_zero(surrogate, size, c, s, size_star, activation)
    zero = size == 0
    if zero.any():
        cut, jump = activation.jumps(size)
        slope = surrogate.slope(size.new_tensor([-activation.offset / activation.scale])).squeeze(0)
        slope = slope * getattr(surrogate, "factor", torch.ones_like)(size)
        teacher = slope * (_density(cut / size_star.unsqueeze(-1)) * jump).sum(-1)
        nothing = torch.zeros_like(size)
        literal = nothing, nothing, nothing, teacher, nothing
        moments = SlopeMoments(*(torch.where(zero, a, b) for a, b in zip(literal, moments, strict=True)))
    return moments


def _away_from_zero(surrogate, size, c, s, size_star, activation):
    """The same where no size is 0. What does not depend on the problem may come as a number."""
    if surrogate.passes is not None:
        window = _windowed if any(activation.thresholds) else _windowed_at_zero
        moments = window(surrogate.passes, size, c, s, size_star, activation)
    else:
        _refuse_gradients(f"{type(surrogate).__name__}, which declares no passes", size, c, s, size_star)
        with torch.no_grad():
            moments = _integrated(surrogate, size, c, s, size_star, activation)
    factor = getattr(surrogate, "factor", None)
    return moments if factor is None else SlopeMoments(*(factor(size) * m for m in moments))


def _windowed(passes, size, c, s, size_star, activation):
    """Closed forms for slope 1 on an interval: a point mass +1 at its left, -1 at its right end."""
    cut, jump = activation.jumps(size)
    c, s, base, rho = c.unsqueeze(-1), s.unsqueeze(-1), activation.levels[0], _positive(size).unsqueeze(-1)
    h, tau = cut / rho, cut / size_star.unsqueeze(-1)
    front = _density(tau) * jump
    lone = own = student = teacher = torch.zeros_like(size)
    for sign, end in zip((1.0, -1.0), passes, strict=True):
        if math.isinf(end):
            if sign > 0:
                own, teacher = own + (_density(h) * jump).sum(-1), teacher + front.sum(-1)
            continue
        a = (activation.offset + activation.scale * end) / rho
        mass = sign * _density(a).squeeze(-1)
        beyond = sign * _density(torch.maximum(a, h))
        chance, back = _normal(_slant(a, tau, c, s)), _normal(_slant(tau, a, c, s))
        lone = lone + mass
        own = own + base * mass + (beyond * jump).sum(-1)
        student = student + mass * (base + (chance * jump).sum(-1))
        teacher = teacher + sign * (front * back).sum(-1)
    return SlopeMoments(lone, own, student, teacher, torch.zeros_like(lone))


def _windowed_at_zero(passes, size, c, s, size_star, activation):
    """The same for thresholds that are all 0: they stay there at every size, so few numbers hang on it."""
    base, jump = activation.levels[0], activation.levels[-1] - activation.levels[0]
    lone = own = student = teacher = 0.0
    for sign, end in zip((1.0, -1.0), passes, strict=True):  # the two 1/2 of both ends cancel: left out
        at = activation.offset + activation.scale * end
        if math.isinf(end):
            less, chance, back = -1.0, 0.0, math.copysign(1.0, end)
        elif at:
            a = at / _positive(size)
            far = _ratio(a, s)
            less, chance, back = torch.expm1(-a.square() / 2), _erf(c * far), _erf(far)
        else:
            less = chance = back = 0.0
        lone = lone + sign * less
        own = own + (sign * less if at >= 0 else 0.0)
        student = student + (sign / 2) * (less + chance + less * chance)
        teacher = teacher - (sign / 2) * back
    own, student = base * lone + jump * own, base * lone + jump * student
    return SlopeMoments(*(_PEAK * m for m in (lone, own, student, jump * teacher)), 0.0)  # pyright: ignore


def _integrated(surrogate, size, c, s, size_star, activation):
    """Quadrature: one integral over X for three of them, one for each jump of the teacher for the last."""
    shape = size.shape
    size, c, s, size_star = (t.flatten() for t in (_positive(size), c, s, size_star))
    cut, jump = activation.jumps(size)
    h, tau = cut / size.unsqueeze(-1), cut / size_star.unsqueeze(-1)
    unit, shift = activation.scale / size, activation.offset / size
    bends = torch.tensor(surrogate.breaks or (), dtype=torch.float64, device=size.device)
    bends = torch.cat(
        [shift.unsqueeze(-1) + unit.unsqueeze(-1) * bends, shift.unsqueeze(-1) + octaves(unit)], 1
    )

    def slope(x, p):
        return surrogate.slope((x - shift[p]) / unit[p]).to(torch.float64)

    def along(x, p):
        m = slope(x, p) * _density(x) * x
        own = _levels_at(x.unsqueeze(-1) - h[p], activation, jump, step=True)
        place = _slant(x.unsqueeze(-1), tau[p], c[p].unsqueeze(-1), s[p].unsqueeze(-1))
        return torch.stack([m, m * own, m * _levels_at(place, activation, jump)], -1)

    def across(x, q):
        p, k = q // len(jump), q % len(jump)
        return (_density(x) * slope(c[p] * tau[p, k] + s[p] * x, p)).unsqueeze(-1)

    known = surrogate.breaks is not None
    edges = pieces(bends, h, _transitions(c, s, tau))
    first, error = integrate(along, edges, 3, declared=known, width=2 * len(jump))
    places = _ratio(bends.unsqueeze(1) - (c.unsqueeze(-1) * tau).unsqueeze(-1), s[:, None, None])
    second, missed = integrate(across, pieces(places.flatten(0, 1)), declared=known, width=4)
    front = _density(tau) * jump
    teacher = (front * second.reshape(tau.shape)).sum(-1)
    error = error + (front.abs() * missed.reshape(tau.shape)).sum(-1)
    lone, own, mixed = first.unbind(-1)
    moments = lone, own, mixed - c * teacher, teacher, error
    return SlopeMoments(*(m.reshape(shape) for m in moments))


def plain(surrogate: Surrogate, activation: Staircase = THRESHOLD) -> Surrogate:
    """The surrogate, if its pullback is its slope times the upstream gradient; raises ``ValueError`` if not.

    ``MagnitudeAwareSign`` becomes a window with a factor.
    """
    if isinstance(surrogate, type) or not callable(getattr(surrogate, "slope", None)):
        raise TypeError(
            "a surrogate object is asked for, such as ReLU() of coarsegrad.core.surrogates; got "
            f"{surrogate!r}"
        )
    if not isinstance(activation, Staircase):
        raise TypeError(
            f"activation takes a Staircase: Staircase.of({activation!r}) makes one of a quantizer"
        )
    if type(surrogate).slope is MagnitudeAwareSign.slope and isinstance(surrogate, MagnitudeAwareSign):
        return _Magnitude(-surrogate.clip, surrogate.clip, activation)
    if type(surrogate).pullback is not Surrogate.pullback:
        x = torch.linspace(-3.1, 3.1, 33, dtype=torch.float64)
        up = torch.stack([torch.full_like(x, g) for g in (-2.0, 1.0, 0.1)])
        try:
            found, wanted = surrogate.pullback(up, x.expand_as(up)), up * surrogate.slope(x)
        except TypeError:
            found = wanted = None
        if found is None or wanted is None or not torch.allclose(found, wanted, rtol=1e-12, atol=1e-300):
            raise ValueError(
                f"{type(surrogate).__name__} looks at the upstream gradient (its pullback is not upstream * "
                "slope), so its expectation does not follow from a slope; sample it with sim"
            )
    return surrogate


@dataclass(frozen=True)
class _Magnitude(HardTanh):
    """A window whose slope is the mean size of infinitely many inputs: a folded normal's mean."""

    activation: Staircase = THRESHOLD

    def factor(self, size):
        """E|x - offset| / scale for x = size X."""
        spread, center = size / self.activation.scale, self.activation.offset / self.activation.scale
        t = center / _positive(spread)
        return 2 * spread * _density(t) + center * (2 * _normal(t) - 1)


def _refuse_gradients(what, *tensors):
    """Quadrature moves its pieces with its arguments: it has no gradient, and says so."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        raise ValueError(f"{what}: by quadrature, so not differentiable; detach the arguments")


def _levels_at(x, activation, jump, step=False):
    """The level (``step``), or that expected under unit noise, from distances to the thresholds."""
    above = (x > 0).to(x.dtype) if step else _normal(x)
    return activation.levels[0] + above @ jump


def _transitions(c, s, tau):
    """Where the teacher's expected level turns to the next as X grows, and both ends of a narrow turn."""
    slant = torch.where(c.abs() > _SMALL, c, torch.full_like(c, _SMALL)).unsqueeze(-1)
    center, half = tau / slant, 8 * s.unsqueeze(-1) / slant.abs()
    half = torch.where(half < 4, half, torch.zeros_like(half))
    return torch.cat([center - half, center, center + half], 1)


def _together(*tensors):
    wide = [torch.as_tensor(t, dtype=torch.float64) for t in tensors]
    device = next((t.device for t in wide if t.dim()), wide[0].device)
    return torch.broadcast_tensors(*(t.to(device) for t in wide))


def _density(x):
    return torch.exp(x.square() * -0.5) * _PEAK


def _normal(x):
    """The normal distribution function."""
    return torch.erf(x * math.sqrt(0.5)) * 0.5 + 0.5


def _erf(x):
    """Twice the normal distribution function, less 1: it keeps its digits near 0."""
    return torch.erf(x * math.sqrt(0.5))


def _sine(angle):
    return angle.sin().clamp(min=0)


def _positive(size):
    """Kept from 0: no formula divides by it, and each has reached its limit there."""
    return size.clamp(min=_SMALL)


def _ratio(a, s):
    """A / s for s >= 0, very large where s is 0, and 0 where both are: finite, so that gradients are, too."""
    return a / s.clamp(min=_SMALL)


def _slant(x, cut, c, s):
    """(c x - cut) / s, which keeps its digits where x, cut and c = 1 (or -1) nearly cancel."""
    side = torch.where(c < 0, -x, x)
    return _ratio(side - cut, s) - side * (s / (1 + c.abs()))
