r"""One quantized weight in a least-squares problem, descended straight through: a rotation of the circle.

The loss is \(h (\hat q(w) - w^*)^2 / 2\), the levels of \(\hat q\) stand s apart and the target \(w^*\)
between two of them, the share \(\rho = (w^* - \text{lower})/s\) of the way up. Straight through, the latent w
rises by \(\eta h s \rho\) a step where it lies below the threshold, and falls by \(\eta h s (1 - \rho)\)
where it lies above: once there, it stays within the interval of length \(\eta h s\) around the threshold, and
each step is a rotation of that interval, closed to a circle, by \(\rho\). That asks for \(\eta h \le 1\),
so that the interval reaches no third level. Then, for every step size \(\eta\) and curvature h

- the weight is at the upper level \(\rho\) of the time: the mean of its levels is the target;
- it changes its level at \(2 \min(\rho, 1 - \rho)\) of the steps, twice the target's distance to the grid in
  units of s (Nagel et al. 2022, arXiv:2203.11086, section 2.2), the most that this share of time allows two
  levels;
- its levels are those of a first-order sigma-delta modulator (``visits``): the step decides nothing but how
  far the latent swings.

Where \(\eta h > 1\), or momentum carries latents farther, more levels are visited: the mean is still the
target as long as latents stay bounded, but the changes of level may be more or fewer.

Derived here; numbers may be floats or, where nothing may be lost, fractions.
"""

import math
from typing import Any

Number = Any
"""A float or a `fractions.Fraction`."""


def share_above(target: Number, spacing: Number) -> Number:
    """The target's place between its two levels, in [0, 1): the share of time at the upper one.

    Levels are the whole multiples of ``spacing``.

    >>> share_above(1.75, 0.5)
    0.5
    """
    return target / spacing % 1


def level_changes(share: Number) -> Number:
    """Changes of level per step, 2 min(share, 1 - share), while two levels are visited: the most they allow.

    Each change takes a step on the side that the weight is rarely at. Momentum, at small steps, lingers
    there, and has fewer. Where a third level is visited (step times curvature above 1) there may be more.

    >>> level_changes(0.25)
    0.5
    """
    return 2 * min(share, 1 - share)


def visits(share: Number, phase: Number, steps: int) -> int:
    """Of the first ``steps`` iterates so many lie at the upper level: exactly, not in the mean.

    ``phase``: the first iterate's place on the circle, ``phase(...)``.

    >>> [visits(0.4, 0.0, steps) for steps in range(6)]
    [0, 0, 0, 1, 1, 2]
    """
    return math.floor(phase + steps * share)


def phase(distance: Number, share: Number, swing: Number) -> Number:
    r"""The place in [0, 1) on the circle of a latent ``distance`` above the threshold.

    ``swing`` is the length \(\eta h s\); ``distance`` lies in [-(1 - share) swing, share swing).

    >>> phase(0.0, 0.25, 0.1)
    0.75
    """
    return distance / swing + 1 - share


def pushes(share: Number, *, strength: Number = 0, quantized: bool = True) -> tuple[Number, Number]:
    r"""How fast a latent at the threshold rises from below and falls from above, in units of \(\eta h s\).

    ``strength`` is \(\lambda / h\) of a term with gradient \(2 \lambda (\hat q(w) - w)\): positive induces
    oscillation (Wenshøj et al. 2025, arXiv:2502.00490), negative dampens it (Nagel et al.'s loss has
    \(\lambda\) with the other sign). ``quantized=False``: the loss sees w itself. With strength 1/2 that is
    the same as the quantized loss without a term, not only at the threshold.

    >>> pushes(0.25), pushes(0.25, strength=0.5, quantized=False)
    ((0.25, 0.75), (0.25, 0.75))
    """
    if quantized:
        return share + strength, 1 - share + strength
    beyond = (2 * share - 1) / 2
    return strength + beyond, strength - beyond


def duty(rise: Number, fall: Number) -> Number | None:
    """The share of time above the threshold; 0 or 1 where the weight rests, None where it can on either side.

    Exact for any step where pushes do not depend on where the latent lies, else its limit for small steps. A
    factor on the gradient that is the same on both sides of the threshold (EWGS, arXiv:2104.00903; PSG,
    arXiv:2005.11035) leaves it alone, and no positive factor brings it to 0 or 1.

    >>> duty(*pushes(0.25)), duty(*pushes(0.25, strength=-0.125)), duty(*pushes(0.25, strength=-0.3))
    (0.25, 0.16666666666666666, 0)
    """
    if rise <= 0 and fall <= 0:
        return None
    if rise <= 0 or fall <= 0:
        return 0 if rise <= 0 else 1
    return rise / (rise + fall)
