r"""Teachers that no quantized weights reach: where are weights how much of the time, and how near is near.

On the population the method is \(y \leftarrow y + \eta c (w^* - u)\), u the quantized direction with the
largest inner product with y: that of the projection of y on R+ x Q. So u never stays, for then y would go
along \(w^* - u\), whose inner product with u is negative. And, as in herding, its mean over time is the
projection of the teacher on the convex hull of all quantized directions: y/t tends to what is left. When the
best direction recurs is asked by Long, Yin & Xin 2020, arXiv:2012.05529; all this is derived here.
"""

import math
from typing import NamedTuple

import numpy as np


def shares(teacher: np.ndarray) -> np.ndarray:
    r"""The long-run share of time ``[n]`` at each ternary direction; entry k - 1 is that of the k largest.

    The teacher ``[n]`` has length 1. Its projection on the hull of all ternary directions is a mixture of
    those of its k largest weights' signs, \(u_k\), and of no others; these n are independent, so the mixture
    is unique, and the shares are its coefficients, from any start. Found by adding and dropping directions
    (Wolfe's nearest point).

    >>> shares(np.array([0.0, 1.0])).tolist(), shares(np.array([-0.5, 0.5]) * 2**0.5).round(12).tolist()
    ([1.0, 0.0], [0.0, 1.0])
    """
    falling, n = np.sort(np.abs(teacher))[::-1], len(teacher)
    directions = np.triu(np.ones((n, n))) / np.sqrt(np.arange(1, n + 1))
    inner = directions.T @ directions
    goal, chosen = directions.T @ falling, [int(np.argmax(directions.T @ falling))]
    part = np.ones(1)
    while True:
        left = goal - inner[:, chosen] @ part
        best = int(np.argmax(left))
        if best in chosen or left[best] - left[chosen].max() < 1e-13:
            break
        chosen, part = [*chosen, best], np.append(part, 0.0)
        while True:
            k = len(chosen)
            system = np.ones((k + 1, k + 1))
            system[:k, :k], system[k, k] = inner[np.ix_(chosen, chosen)], 0.0
            nearest = np.linalg.solve(system, np.append(goal[chosen], 1.0))[:k]
            if (nearest >= 0).all():
                part = nearest
                break
            below = nearest < 0
            part = part + (part[below] / (part[below] - nearest[below])).min() * (nearest - part)
            kept = part > 1e-15
            chosen, part = [c for c, keep in zip(chosen, kept, strict=True) if keep], part[kept]
    found = np.zeros(n)
    found[chosen] = part
    return found


class Close(NamedTuple):
    """How near to its optimum a binary teacher must be, of n weights."""

    angle: float
    """In radians: below it every teacher has sum p < 1."""
    oscillating: int
    """How many weights of the nearest teacher that has not oscillate, all with p = 1/this."""
    teacher: np.ndarray
    """That teacher, ``[n]``, at this angle; all its weights are positive."""


def close(n: int) -> Close:
    r"""The closeness condition of binary weights as an angle; n at least 4.

    With \(x_j = \sqrt n |w^*_j|\), \(\sum x^2 = n\), \(p_j = \max(0, 1 - x_j)/2\) and \(\cos\) the mean of x:
    least \(D = \sum (1 - x)\) with \(\sum p = 1\) has k equal weights below 1 and n - k equal above; then
    \((2 - D)^2/(n - k) + 4/k = 2D\). For n up to 3 the sum is below 1 for all teachers without zeros.

    >>> found = close(4)
    >>> round(math.degrees(found.angle), 2), found.oscillating, (6 * found.teacher).round(9).tolist()[:3]
    (43.22, 3, [1.0, 1.0, 1.0])
    """
    deficits = []
    for k in range(2, n):
        above = n - k
        deficits.append((2 + above - math.sqrt((2 + above) ** 2 - 4 - 4 * above / k), k))
    deficit, k = min(deficits)
    x = np.array([1 - 2 / k] * k + [1 + (2 - deficit) / (n - k)] * (n - k))
    return Close(math.acos(1 - deficit / n), k, x / math.sqrt(n))
