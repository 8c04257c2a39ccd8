r"""What blending does to a step, and where runs end: derived here, for the two-layer problem.

Blending is \(y^+ = (1-\rho) y + \rho w - \eta g\), \(w^+\) the nearest member of Q to \(y^+\), as w was to y.
From these two projections alone, whatever g is,

    \(\langle w^+ - w, g\rangle \le -\frac{\rho}{2\eta} |w^+ - w|^2\)                                     (1)

(w is nearest to y: \(\langle w^+ - w, y - w\rangle \le \frac12|w^+ - w|^2\); \(w^+\) to \(y^+\):
\(|w^+ - w|^2 \le 2\langle w^+ - w, (1-\rho)(y - w) - \eta g\rangle\)). Where g is the gradient of an f whose
gradient is L-Lipschitz, f falls by at least \(\frac12(\rho/\eta - L)|w^+ - w|^2\): sufficient descent.
Without blending nothing is left of (1) but a sign.

In the two-layer problem f is not smooth, and g not its gradient. With v = v* known and the identity or ReLU,
\(g = c(u - w^*)\), u = w/|w|, f = |v|^2 theta/2 pi. As u is the quantized direction that is best for y
(which a free scale makes it, and one length of all members), the same two steps give, with
\(r = \rho |w| / (\eta c)\), that \(\cos\theta\) gains at least \(\frac12 (r - 1) |u^+ - u|^2\). As theta
changes by no less than its cosine,

    \(f(w^+) - f(w) \le -\frac{|v|^2}{4\pi} (r - 1) |u^+ - u|^2\) while \(r \ge 1\)                        (2)

and no step raises f then. With a fixed scale r stays, and coordinates move alone.
"""

import math

import torch
from torch import Tensor


def fall(ratio: Tensor | float) -> Tensor:
    r"""The constant of (2) at |v| = 1, for ratios from 1: f falls by this times \(|u^+ - u|^2\) at least.

    >>> float(fall(1.0)), round(float(fall(3.0)) * 2 * math.pi, 12)
    (0.0, 1.0)
    """
    return (torch.as_tensor(ratio, dtype=torch.float64) - 1) / (4 * math.pi)


def settled(w_star: Tensor, start: Tensor, ratio: float) -> Tensor:
    r"""The signs ``[..., n]`` at which weights of a fixed scale end; 0 for one that never settles.

    With \(a = \sqrt n |w^*_j|\) a coordinate keeps its sign, right or wrong, for good if \(r \ge 1 + a\);
    it goes to that of \(w^*_j\) if \(1 - a \le r < 1 + a\); else it crosses 0 for ever.

    >>> w_star, start = torch.tensor([0.8, -0.6]).double(), torch.tensor([-1.0, 1.0]).double()
    >>> [settled(w_star, start, r).tolist() for r in (0.1, 1.0, 2.0)]
    [[1.0, 0.0], [1.0, -1.0], [1.0, 1.0]]
    """
    a = _lengths(w_star)
    right, kept = torch.where(w_star < 0, -1.0, 1.0).to(w_star), torch.where(start < 0, -1.0, 1.0).to(w_star)
    return torch.where(ratio >= 1 + a, kept, torch.where(ratio >= 1 - a, right, 0.0))


def wrong(w_star: Tensor, start: Tensor, ratio: float) -> Tensor:
    r"""The share of time ``[..., n]`` that each weight of a fixed scale is wrong, steps being small.

    \(\frac12 (1 - a/(1 - r))\) where it never settles, as the mean of its sign balances \(w^*_j\).

    >>> wrong(torch.tensor([0.75**0.5, 0.5]).double(), torch.ones(2).double(), 0.0).tolist()
    [0.0, 0.1464466094067262]
    """
    ends = settled(w_star, start, ratio)
    share = (1 - _lengths(w_star) / (1 - ratio)) / 2 if ratio < 1 else torch.zeros_like(w_star)
    return torch.where(ends == 0, share, (ends * w_star < 0).to(w_star))


def drift(theta: Tensor, trained: bool) -> Tensor:
    r"""What |w| gains in a step while no weight is crossed, in units of \(\eta\, v^Tv^*/2\sqrt{2\pi}\), ReLU.

    \(\cos\theta - 1\) with v = v* known: a free scale falls until r is below 1. With v trained, at the best v
    for this theta, \(\cos\theta - (1 - 2\theta/\pi)\): positive up to a right angle, so r grows for ever.

    >>> theta = torch.tensor([0.5]).double()
    >>> drift(theta, trained=False).item() < 0 < drift(theta, trained=True).item()
    True
    """
    return torch.cos(theta) - 1 + (2 * theta / math.pi if trained else 0.0)


def _lengths(w_star: Tensor) -> Tensor:
    return math.sqrt(w_star.shape[-1]) * w_star.abs()
