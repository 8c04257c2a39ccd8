r"""Classification on subspaces by coarse gradient descent: what is known before a step is made.

The theorem of Long, Yin & Xin 2021, arXiv:2011.11256, as it is read here: with a slope that is 0 on the
negative side and lies between two positive bounds on the positive one, with orthogonal subspaces, and every
neuron with a component on every subspace at the start, the coarse gradient takes the loss to 0. It is of the
population and of enough neurons and bits: with finitely many points and steps of a size, eight neurons for
two planes do not always get there, and one bit with ``ceil`` cannot (``unreachable``).

Loss and coarse gradient depend on the weights through ``Subspaces.projected`` alone, for
\(h_j = \langle P_r w_j, x\rangle\) on V_r. In closed form they are given here where no margin reaches 1 and
there are two classes; which points are short of it is else decided by all neurons together, and no form is
known to us.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.measure.intervals import student_t_tail
from coarsegrad.problem.subspaces import Subspaces

ANSWERS = ("yes", "no", "don't know")
YES, NO, DONT_KNOW = ANSWERS
_SIZES = torch.logspace(-9, 9, 18 * 40 + 1, dtype=torch.float64)
_SENT = (1.0, -1.0, 0.5, -0.5, 1e-3, -1e-3, 7.0, -7.0)
"""Upstream gradients that a surrogate is asked with: what arrives may depend on them."""
_FADED = 1e-290
"""A slope that is smaller before it is 0 may have underflowed, and is no witness."""


@dataclass(frozen=True)
class Admissible:
    """An answer and what it rests on."""

    answer: str
    """One of ``ANSWERS``."""
    interval: tuple[float, float]
    """Of the pre-activations, open at 0 and, where it is finite, closed at its end."""
    bounds: tuple[float, float] | None
    """Infimum and supremum of the slope there: declared or, for no and don't know, else those seen."""
    why: str
    witness: float | None = None
    """A pre-activation at which the slope contradicts, if the answer is no by one."""


def admissible(surrogate: Surrogate, h_max: float = math.inf) -> Admissible:
    r"""Whether a slope is 0 on the negative side and between two positive bounds on (0, ``h_max``].

    *Yes* only by declared bounds (``Surrogate.bounds``; of the catalogue: windows, log-tailed and reverse
    exponential ReLU), *no* by a point, or by declared bounds, else *don't know*. Looked at are 40 points a
    power of ten and both sides of declared breaks, all in one tensor, with upstream gradients of several
    sizes and both signs. A slope that fades below 1e-290 before it is 0 may be positive there, for all that
    doubles can tell: that is no *no*. Raises ``ValueError`` for an ``h_max`` that is not positive, and for
    declared bounds that are no bounds or that a point contradicts; ``TypeError`` for what is no surrogate.

    >>> from coarsegrad.core.surrogates import Identity, ReLU, ReverseExponential
    >>> admissible(ReLU()).answer, admissible(Identity()).witness
    ('yes', -1e-09)
    >>> admissible(ReverseExponential()).answer, admissible(ReverseExponential(), h_max=2.0).bounds
    ('no', (0.1353352832366127, 1.0))
    """
    if not isinstance(surrogate, Surrogate):
        raise TypeError(f"admissible(surrogate) takes a surrogate such as ReLU(), got {surrogate!r}")
    if not (isinstance(h_max, int | float) and h_max > 0):
        raise ValueError(f"admissible(h_max=...) must be a positive number, got {h_max!r}")
    interval, x = (0.0, float(h_max)), _points(surrogate, h_max)
    slopes = _slopes(surrogate, x)  # [upstreams, points]
    wrong = torch.where(x < 0, slopes != 0, ~((slopes > 0) & slopes.isfinite()))
    for at in wrong.any(0).nonzero().flatten().tolist():
        value, point = slopes[wrong[:, at].nonzero()[0], at].item(), x[at].item()
        if point > 0 and value == 0 and _fades(surrogate, point):
            continue
        side = "negative" if point < 0 else "positive"
        why = f"the slope is {value:.3g} at {point:.3g}, on the {side} side"
        return Admissible(NO, interval, None, why, point)
    seen = slopes[:, x > 0]
    seen = float(seen.min()), float(seen.max())
    below, above = (surrogate.bounds(*side) for side in ((-math.inf, 0.0), interval))
    if below is None or above is None:
        why = f"no bounds are declared; slopes from {seen[0]:.3g} to {seen[1]:.3g} were seen"
        return Admissible(DONT_KNOW, interval, seen, why)
    for (least, most), side in ((below, "below 0"), (above, f"on (0, {h_max})")):
        if not least <= most:
            raise ValueError(f"{surrogate} declares slopes from {least} to {most} {side}: no bounds")
    least, most = above
    if seen[0] < least * (1 - 1e-9) or seen[1] > most * (1 + 1e-9):
        raise ValueError(
            f"{surrogate} declares slopes from {least} to {most} on (0, {h_max}), but has some from "
            f"{seen[0]} to {seen[1]}: correct its bounds(low, high)"
        )
    if below != (0.0, 0.0):
        return Admissible(NO, interval, above, f"it declares slopes from {below[0]} to {below[1]} below 0")
    if not (least > 0 and most < math.inf):
        which = "comes as near to 0 as one likes" if least <= 0 else "has no upper bound"
        return Admissible(NO, interval, above, f"the slope {which} on the positive side")
    return Admissible(YES, interval, above, f"declared: 0 below 0, from {least:.3g} to {most:.3g} above")


def lean(surrogate: Surrogate, h_max: float) -> float:
    r"""How far a slope g leans to the positive side, in [-1, 1].

    \(\int_0^{h_{max}}(g(h)-g(-h))\,h\,dh\) by \(\int_0^{h_{max}}(|g(h)|+|g(-h)|)\,h\,dh\): 1 for a slope
    that is 0 below 0, 0 for an even one. While all points of a symmetric class are short, a neuron is pulled
    along itself in proportion to E[g(h) h], to which the even part of g adds nothing. A heuristic: it is no
    bound.

    >>> from coarsegrad.core.surrogates import HardTanh, LeakyReLU, ReLU
    >>> [round(lean(g, 8.0), 3) for g in (ReLU(), LeakyReLU(), HardTanh())]
    [1.0, 0.98, 0.0]
    """
    if not 0 < h_max < math.inf:
        raise ValueError(f"lean(h_max=...) must be positive and finite, got {h_max}")
    x = h_max * (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    points = torch.cat([x, -x])
    pulled = surrogate.pullback(torch.ones_like(points), points) * points.abs()
    above, below = pulled.view(2, -1).sum(-1)
    return float((above - below) / pulled.abs().sum().clamp(min=torch.finfo(x.dtype).tiny))


def unreachable(problem: Subspaces) -> str | None:
    r"""Why no weights in general position reach zero loss, as a theorem; None where none is known to us.

    In general position: no pre-activation of a data point is exactly 0, as is almost sure of a random start.
    The data are symmetric (x and -x), and labels are the truth.

    - Angle 0, d at most 2: there are points that belong to all classes.
    - One bit, ``ceil``: \(1\{h>0\}\) is then 1 on half of a symmetric class whatever w is. With S_i the sum
      of v over the neurons of class i, the mean over V_r of o_r - o_s is (S_r - S_s)/2, and the two classes'
      mean margins add to 0; both had to be 1 at least. (Weights orthogonal to data points escape: to a whole
      subspace, or to single pairs of points, each by another neuron.)
    - Binary weights, subspaces along the axes: a class's data are alike under a change of any axis's sign
      (d = 1, 2), so the mean of a neuron's level there depends on its scale alone, and is the same on every
      subspace. Again the mean margins add to 0, with any bits.
    - A class of one neuron: of x and -x it answers one with 0. (With 2 to d neurons some direction has no
      positive product with any of them; but finitely many points may all miss it, and so they can.)

    >>> unreachable(Subspaces(bits=1))
    'one bit, ceil: mean margins of two classes add to 0'
    >>> unreachable(Subspaces(bits=1, rounding="floor")) is None
    True
    """
    each = torch.bincount(problem.served, minlength=problem.classes)
    if int(each.min()) == 0:
        return "a class without a neuron has output 0"
    if int(each.min()) * problem.v * problem.top < 1:
        return "a class's output cannot reach 1"
    if problem.noise:
        return None
    same = problem.angle == 0 or (problem.classes == 2 and problem.angle == 180)
    if same and problem.size <= 2:
        return "subspaces share a line, with points on it that have two classes"
    if problem.bits == 1 and problem.rounding == "ceil":
        return "one bit, ceil: mean margins of two classes add to 0"
    along = problem.dimension is None and problem.angle == 90 and problem.size <= 2
    if problem.weights == "binary" and along:
        return "binary weights along the subspaces' axes: mean margins of two classes add to 0"
    if int(each.min()) == 1:
        return "a class of one neuron answers x or -x with 0"
    return None


def mean_level(length: Tensor, problem: Subspaces) -> Tensor:
    r"""The mean of \(\sigma(\langle w, x\rangle)\) over a subspace's spheres.

    Directions uniform, radii the problem's. A direction's cosine with w is that of Student's t with d - 1
    degrees of freedom; for d = 1 it is 1 or -1.
    """
    first = 0 if problem.rounding == "ceil" else 1
    flat = [
        sum(
            _above((first + m) / (radius * size), problem.size, closed=first == 1)
            for radius in problem.radii for m in range(int(problem.top))
        ) / len(problem.radii) if size > 0 else 0.0
        for size in length.double().flatten().tolist()
    ]  # fmt: skip
    return torch.tensor(flat, dtype=torch.float64).reshape(length.shape)


def mean_pull(length: Tensor, window: tuple[float, float], problem: Subspaces) -> Tensor:
    r"""The mean of \(1\{a<\langle w,x\rangle<b\}\langle w,x\rangle/|w|\) over a subspace's spheres.

    It is what pulls a neuron along itself while all points of a class are short. On the whole line, the
    identity's window, it is 0, and so it is where the length is.

    >>> problem = Subspaces(radii=(1.0,))
    >>> [round(mean_pull(torch.tensor(1.0), window, problem).item(), 6)
    ...  for window in ((-math.inf, math.inf), (0.0, math.inf))]
    [0.0, 0.31831]
    """
    d, length = problem.size, length.double()
    low, high = window
    factor = math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / (2 * math.sqrt(math.pi))
    total = torch.zeros_like(length)
    for radius in problem.radii:
        h = radius * length
        if d == 1:  # h or -h
            total += radius * (((low < h) & (h < high)).double() - ((low < -h) & (-h < high)).double())
        else:
            rest = [(1 - (end / h).square()).clamp(min=0) ** ((d - 1) / 2) for end in window]
            total += radius * (rest[0] - rest[1])
    return torch.where(length > 0, factor * total / len(problem.radii), 0.0)


def short(problem: Subspaces, window: tuple[float, float], w: Tensor) -> tuple[Tensor, Tensor]:
    r"""Loss ``[...]`` and coarse gradient, the shape of w ``[..., k, D]``, while all margins are below 1.

    Directions are uniform, labels true. With \(\Sigma_r\) the mean level on V_r and E the mean pull: the
    loss is \(1 - \frac{v}{2}\sum_r(\sum_{j\in r}\Sigma_r(|w_{jr}|) - \sum_{j\notin r}\Sigma_r(|w_{jr}|))\),
    and the gradient at w_j is \(\mp\frac{v}{2}\sum_r E(|w_{jr}|)\,w_{jr}/|w_{jr}|\), minus for the class
    that j serves. Raises ``ValueError`` for more classes, noise or binary weights. For slopes that are 1 in
    a window, 0 outside.
    """
    if problem.classes != 2 or problem.noise or problem.weights != "float":
        raise ValueError("short(problem, ...) is for two classes, true labels and float weights")
    parts = problem.projected(w)  # [..., k, 2, d]
    length = torch.linalg.vector_norm(parts, dim=-1)
    sign = 2.0 * torch.nn.functional.one_hot(problem.served, 2).double() - 1
    loss = 1 - problem.v / 2 * (sign * mean_level(length, problem)).sum((-1, -2))
    pull = -problem.v / 2 * sign * mean_pull(length, window, problem) / torch.where(length > 0, length, 1.0)
    return loss, torch.einsum("...krd,rdw->...kw", pull[..., None] * parts, problem.basis)


def _above(cosine: float, d: int, closed: bool) -> float:
    """P(c > ``cosine``) of the cosine of a uniform direction in d dimensions; ``closed``: or equal to it."""
    if d == 1 and closed and cosine == 1:
        return 0.5
    if abs(cosine) >= 1:
        return float(cosine < 0)
    return 0.5 if d == 1 else student_t_tail(cosine * math.sqrt((d - 1) / (1 - cosine**2)), d - 1)


def _points(surrogate: Surrogate, h_max: float) -> Tensor:
    """Where a slope is looked at, from 0 outwards, the negative side first."""
    breaks = [b * f for b in surrogate.breaks or () for f in (1 - 1e-6, 1.0, 1 + 1e-6)]
    marks = torch.tensor([*breaks, h_max], dtype=torch.float64)
    x = torch.cat([-_SIZES, _SIZES, marks[marks.isfinite()]]).unique()
    return torch.cat([x[x < 0].flip(0), x[(x > 0) & (x <= h_max)]])


def _slopes(surrogate: Surrogate, x: Tensor) -> Tensor:
    return torch.stack([surrogate.pullback(torch.full_like(x, g), x) / g for g in _SENT])


def _fades(surrogate: Surrogate, zero: float) -> bool:
    """Whether the slope falls below ``_FADED`` before the point where it is 0: its edge is looked for."""
    x, low = torch.tensor([zero], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for _ in range(100):
        middle = (low + x) / 2
        positive = bool(surrogate.pullback(torch.ones_like(middle), middle) > 0)
        low, x = (middle, x) if positive else (low, middle)
    last = surrogate.pullback(torch.ones_like(low), low).item()
    return 0 < last < _FADED
