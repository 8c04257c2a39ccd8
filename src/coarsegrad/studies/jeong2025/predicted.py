r"""A heuristic for the threshold: the pull on a wrong coordinate against the noise of its coarse gradient.

At a random start, \(\theta = \pi/2\), the expected coarse gradient is \(A w - B w^*\): a wrong coordinate
is pulled back by \((A + B)/\sqrt n\). A sample's contribution to it has the variance \(E[\sum_i v_i^2
\mu'(r_i)^2]\,E[(y - y^*)^2]\) if the two factors were independent, which is \(|v|^4 E[\mu'^2]/2\). Pull and
one standard deviation are equal at \(N = n\,|v|^4 E[\mu'^2] / (2 (A + B)^2)\). Nothing says that the
threshold must lie there: it is drawn over what was measured.
"""

import math

import torch

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.theory.recovery import force
from coarsegrad.theory.recurrence import slope_moments


def samples_a_weight(surrogate: Surrogate) -> float:
    """The predicted N/n, at |v| = 1.

    >>> from coarsegrad.core.surrogates import Identity, ReLU
    >>> round(samples_a_weight(Identity()), 4), round(samples_a_weight(ReLU()), 4)
    (0.7854, 1.5708)
    """
    pull = force(torch.ones(1, dtype=torch.float64), 1, 2, surrogate).wrong * math.sqrt(2)
    return slope_moments(surrogate)[0] / (2 * float(pull) ** 2)
