r"""Loss, its gradient in v and the expected coarse gradient, where the entries of Z follow another law.

Rows z of Z with independent entries of one law, binary w and w_star (all entries of one size). With
\(P_w = P(z \cdot w > 0)\), \(b(w) = E[z\,\sigma(z \cdot w)]\), \(b(w, w^*) = E[z\,\sigma(z \cdot w)\,
\sigma(z \cdot w^*)]\), mu the mean of an entry and \(K = (1^Tv)^2 - |v|^2\), at \(v = v^*\)

    identity    E g = |v|^2 (b(w) - b(w*))    + K (P_w - P_*) mu
    ReLU        E g = |v|^2 (b(w) - b(w, w*)) + K (P_w - P_*) b(w)

for the finite-sample problem of Jeong, Xin & Yin 2025, arXiv:2505.18113; derived here (a row meets itself, or
one that is independent of it), and checked against samples. The ReLU sees false positives alone, whose mean
has the sign of mu: a mean that is not 0 drives w against it, until nothing fires.

How: where the signs of w and w_star agree, entries add up to A, elsewhere to B; the two are independent,
\(z \cdot w \propto A + B\) and \(z \cdot w^* \propto A - B\), so both fire where \(A > |B|\). The laws of A
and B are powers of an entry's Fourier transform on a lattice. For masses that is exact, and a tie does not
fire. For a density it is the trapezoidal rule, whose error has even powers of the step, if breaks lie on the
lattice: the step is halved, and extrapolated to 0 (Romberg), until the results agree. What is far out in a
heavy tail is kept at the lattice's ends, with its mass and mean.
"""

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.theory.entries import Density, Masses, entry
from coarsegrad.theory.gauss import plain
from coarsegrad.theory.hidden import _dot, _dtype, _wide

TOLERANCE = 1e-10
_POINTS = 2**20  # of the finest lattice
_COARSE = 8  # points a scale of the coarsest
_ROUNDING = 1e-14  # an entry


class Moments(NamedTuple):
    """Of a row z: how often it fires w, w_star and both, ``[...]``; its mean there, ``[..., n]``; the error.

    ``mean_fired`` is b(w), ``mean_fired_star`` b(w_star), ``mean_both`` b(w, w_star); none is divided by a
    probability. ``error`` ``[...]`` is the last change under halving and what fell off the lattice; infinite
    where the largest lattice is too small.
    """

    fired: Tensor
    fired_star: Tensor
    both: Tensor
    mean_fired: Tensor
    mean_fired_star: Tensor
    mean_both: Tensor
    error: Tensor


def moments(w: Tensor, w_star: Tensor, law: Any) -> Moments:
    """The moments of rows of this law for binary filters, ``[..., n]`` each; float64.

    They depend on how often the pairs of signs (+, +), (+, -), (-, +), (-, -) occur; what was computed for
    such numbers is kept. On one core that is some 0.1 s, or 1 s for heavy tails. A sampled tie, z.w = 0
    of a law with masses, is one only where the sampled sum is exact: on a dyadic grid.

    Raises ``ValueError`` for filters that are not binary, and laws that ``entries`` does not know.

    >>> from coarsegrad.problem.laws import Rademacher
    >>> w = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    >>> of = moments(w, w[0], Rademacher())  # the four rows are as likely; where z.w = 0 nothing fires
    >>> of.fired.round(decimals=9).tolist(), of.both.round(decimals=9).tolist()
    ([0.25, 0.25], [0.25, 0.0])
    >>> of.mean_fired.round(decimals=9).tolist()
    [[0.25, 0.25], [0.25, -0.25]]
    """
    up, up_star = _up(w, "w"), _up(w_star, "w_star")
    if up.shape[-1:] != up_star.shape[-1:]:
        raise ValueError(
            f"w and w_star need the same last axis, got {tuple(w.shape)} and {tuple(w_star.shape)}"
        )
    up, up_star = torch.broadcast_tensors(up, up_star)
    group = torch.where(up == up_star, torch.where(up, 0, 1), torch.where(up, 2, 3))
    counts = torch.nn.functional.one_hot(group, 4).sum(-2)
    unique, which = counts.reshape(-1, 4).unique(dim=0, return_inverse=True)
    found = [_moments(law, *row) for row in unique.tolist()]
    table = torch.stack([value for value, _ in found]).to(w.device)[which].reshape(*counts.shape[:-1], 5, 3)
    error = torch.tensor([error for _, error in found], dtype=torch.float64, device=w.device)
    fired, fired_star, fired_both = table[..., 0, :].unbind(-1)
    means = table[..., 1:, :].gather(-2, group.unsqueeze(-1).expand(*group.shape, 3))
    mean_fired, mean_fired_star, mean_both = means.unbind(-1)
    error = error[which].reshape(counts.shape[:-1])
    return Moments(fired, fired_star, fired_both, mean_fired, mean_fired_star, mean_both, error)


def field(
    v: Tensor, w: Tensor, v_star: Tensor, w_star: Tensor, surrogate: Surrogate, law: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss ``[...]``, dv ``[..., m]``, expected coarse gradient ``[..., n]``) of the threshold's network.

    ``law`` is one of ``problem.laws`` with independent entries, or your own (``entries``); ``surrogate`` is
    the identity or the ReLU; dv is the loss's gradient in v. Not differentiable.

    Raises ``ValueError`` with the mend for other surrogates and laws, for entries without a mean, and where
    the moments' error stays above 1e-5 of an entry's scale (lognormal with sigma = 2, Student's t with
    df = 1.1).

    >>> from coarsegrad.core.surrogates import ReLU
    >>> from coarsegrad.problem.laws import Gaussian
    >>> v, w_star = torch.ones(1).double(), torch.tensor([0.5, 0.5, -0.5, -0.5]).double()
    >>> _, _, g = field(v, -w_star, v, w_star, ReLU(), Gaussian(mean=1.0))
    >>> g.round(decimals=4).tolist()  # a step against g lowers every weight, whatever its sign should be
    [0.3005, 0.3005, 0.6995, 0.6995]
    """
    passes = plain(surrogate).passes
    if passes not in ((-math.inf, math.inf), (0, math.inf)):
        raise ValueError(
            f"{type(surrogate).__name__}: theory.general knows Identity() and ReLU(); "
            "sample others with sim.hidden"
        )
    dtype = _dtype(v, w, v_star, w_star)
    v, w, v_star, w_star = _wide(v, w, v_star, w_star)
    of = moments(w, w_star, law)
    if (of.error > 1e-5).any():
        raise ValueError(f"{law}: known only to {float(of.error.max()):.1e}; sample it with sim.hidden")
    p, p_star = of.fired, of.fired_star
    length, inner, s, s_star = _dot(v, v), _dot(v, v_star), v.sum(-1), v_star.sum(-1)
    others = (s.square() - length) * p - (s * s_star - inner) * p_star
    loss = length * p - 2 * inner * of.both + _dot(v_star, v_star) * p_star + others * p
    rest = (s_star.square() - _dot(v_star, v_star)) * p_star - (s * s_star - inner) * p
    loss = (loss + rest * p_star) / 2
    seen = (s * p - s_star * p_star) * p
    dv = (
        v * (p - p.square()).unsqueeze(-1)
        - v_star * (of.both - p * p_star).unsqueeze(-1)
        + seen.unsqueeze(-1)
    )
    length, inner, others = (x.unsqueeze(-1) for x in (length, inner, others))
    if passes[0] == 0:
        g = length * of.mean_fired - inner * of.mean_both + others * of.mean_fired
    else:
        g = length * of.mean_fired - inner * of.mean_fired_star + others * law.mean
    return loss.to(dtype), dv.to(dtype), g.to(dtype)


def coarse_gradient(
    v: Tensor, w: Tensor, v_star: Tensor, w_star: Tensor, surrogate: Surrogate, law: Any
) -> Tensor:
    """The last of ``field``: what ``sim.hidden.coarse_gradient`` has on average, ``[..., n]``."""
    return field(v, w, v_star, w_star, surrogate, law)[2]


@functools.lru_cache(maxsize=4096)
def _moments(law, both, neither, gained, missed):
    """Over w, w_star and both: the mass, and an entry's mean in each group of signs; the error."""
    one, number = entry(law), both + neither + gained + missed
    scale, one = one.scale, one.moved(0.0, 1 / one.scale)
    if isinstance(one, Masses):
        value, error = _exact(one, (both, neither), (gained, missed))
    else:
        spread = math.sqrt(law.variance) / scale if math.isfinite(law.variance) else 16.0
        surplus = abs(both - neither) + abs(gained - missed)
        bulk = surplus * abs(law.mean) / scale + 9 * math.sqrt(number) * spread
        value, error = _romberg(one, bulk + one.reach(number), (both, neither), (gained, missed))
    value[1:] *= scale
    return value, error + number * _ROUNDING


def _exact(one, agree, differ):
    most = sum(agree + differ) * (len(one.masses) - 1) + 2
    points = 2 ** math.ceil(math.log2(2 * most))
    p = torch.zeros(points, dtype=torch.float64)
    p[: len(one.masses)] = torch.tensor(one.masses, dtype=torch.float64)
    q = p * (one.shift + torch.arange(points, dtype=torch.float64))
    a, b = agree[0] - agree[1], differ[0] - differ[1]
    value, _ = _on_lattice(p, q, agree, differ, (-one.shift * (a + b), -one.shift * (a - b)), tie=0.0)
    return value, 0.0


def _romberg(one, reach, agree, differ):
    unit = one.unit()
    step = unit / math.ceil(unit * _COARSE)
    points = 2 ** math.ceil(math.log2(4 * reach / step))
    before, best, error = [], torch.full((5, 3), torch.nan, dtype=torch.float64), math.inf
    while points <= _POINTS and error > TOLERANCE * (1 + abs(one.shift)):
        value, lost = _on_lattice(*_sampled(one, step, points), agree, differ, (0.0, 0.0), tie=0.5)
        now = [value]
        for k, coarser in enumerate(before):
            now.append(now[k] + (now[k] - coarser) / (4 ** (k + 1) - 1))
        changes = [float((a - b).abs().max()) for a, b in zip(now, before, strict=False)]
        if len(changes) > 1:
            error = min(changes) + lost
            best = now[changes.index(min(changes))]  # further extrapolation may carry along a step too coarse
        before, points, step = now, 2 * points, step / 2
    return best, error


def _sampled(one: Density, step: float, points: int) -> tuple[Tensor, Tensor]:
    """Masses and means on multiples of the step, as far as half the lattice; what is beyond, at the ends."""
    end = points // 4
    place = torch.arange(points)
    place = torch.where(place < points // 2, place, place - points).to(torch.float64)
    p = torch.where(place.abs() <= end, step * one.at(step * place), 0.0)
    p[[end, -end]] /= 2
    q = p * step * place
    for k in (end, -end):
        mass, mean = one.beyond(step * k)
        p[k] += mass
        q[k] += mean
    return p, q


def _on_lattice(p, q, agree, differ, beyond, tie):
    """The table from an entry's masses p and means q, in circular order; and what fell off."""
    points, half = len(p), len(p) // 2
    p, q = torch.fft.rfft(p), torch.fft.rfft(q)
    a, b = (_sums(p, q, points, plus, minus) for plus, minus in (agree, differ))
    i = torch.arange(-half, half)
    above, below = (round(t) if abs(t - round(t)) < 1e-9 else t for t in beyond)
    low = (math.floor(above) + 1 - i + half).clamp(0, points)  # the first B with A + B above its threshold
    high = (i - math.floor(below) + half).clamp(0, points)  # the first with A - B no longer above its own
    c = torch.nn.functional.pad(b.cumsum(-1), (1, 0))
    fires, star = c[:, -1:] - c[:, low], c[:, high]
    both = torch.where(high > low, star - c[:, low], 0.0)
    if tie:  # the share of a tie that counts: on the border of a half-space half of it, on a corner a quarter
        same, mirrored = tie * b, tie * b[:, (half - i) % points]
        fires, star = fires + mirrored, star + same
        both = both + torch.where(i > 0, same + mirrored, 0.0)
        both[:, half] = tie * same[:, half]
    if not sum(differ) or not sum(agree):  # w is w_star, or its negative
        both = fires if not sum(differ) else torch.zeros_like(both)
    kernels = torch.stack([fires, star, both], 1)
    value = torch.cat([a @ kernels[0].T, kernels[1:] @ a[0]])
    rim = torch.cat([a, b])[:, i.abs() > half - half // 8]
    return value, float(rim.abs().sum(-1).max())


def _sums(p, q, points, plus, minus):
    """Laws of a sum of so many entries and so many negative ones, ``[3, points]``, ascending.

    Itself; times one of the entries; times one of those subtracted.
    """
    rest = _power(p, max(plus - 1, 0)) * _power(p.conj(), max(minus - 1, 0))
    one, other = p if plus else torch.ones_like(p), p.conj() if minus else torch.ones_like(p)
    none = torch.zeros_like(p)
    laws = rest * other * one, rest * other * q if plus else none, rest * one * q.conj() if minus else none
    return torch.fft.fftshift(torch.fft.irfft(torch.stack(laws), points), -1)


def _power(x, k):
    result = torch.ones_like(x)
    while k:
        if k % 2:
            result = result * x
        x, k = x * x, k // 2
    return result


def _up(w, name):
    """Where a binary filter is positive."""
    size = w.abs()
    if w.dim() == 0 or not torch.allclose(size, size[..., :1], rtol=1e-5) or not (size > 0).all():
        raise ValueError(f'{name} must have entries of one size, as Problem(weights="binary").shown(w) has')
    return w > 0
