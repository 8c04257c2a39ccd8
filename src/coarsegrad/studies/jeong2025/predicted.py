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
from coarsegrad.theory import hidden
from coarsegrad.theory.quadrature import REACH, integrate


def samples_a_weight(surrogate: Surrogate) -> float:
    """The predicted N/n, at |v| = 1.

    >>> from coarsegrad.core.surrogates import Identity, ReLU
    >>> round(samples_a_weight(Identity()), 4), round(samples_a_weight(ReLU()), 4)
    (0.7854, 1.5708)
    """
    v = torch.ones(1, dtype=torch.float64)
    w, w_star = torch.eye(2, dtype=torch.float64)
    field = hidden.coarse_gradient(v, w, v, w_star, surrogate)
    breaks = surrogate.breaks or ()
    edges = torch.tensor(
        [[-REACH, *(b for b in sorted(breaks) if abs(b) < REACH), REACH]], dtype=torch.float64
    )

    def squared(x, _):
        density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
        return (surrogate.slope(x).square() * density).unsqueeze(-1)

    square = float(integrate(squared, edges, declared=surrogate.breaks is not None).value)
    return square / (2 * float(field[0] - field[1]) ** 2)
