"""The inner loops of ``events``: images of the data, a matrix ``z`` ``[rows, n]``, and their gradients.

They hold no lock, and add in a fixed order.
"""

import numpy as np
from numba import njit

from coarsegrad.sim.outcome import TIE
from coarsegrad.sim.patterns import MISS, insert, walk

_AFRESH = 64  # updates of sums before they are taken anew, so that rounding does not gather
_compiled = njit(nogil=True, cache=True)
_summed = njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})


@_summed
def forward(z, w, x):
    """The image of w: each row's product with it."""
    for r in range(len(z)):
        total = x.dtype.type(0)
        for j in range(len(w)):
            total += z[r, j] * w[j]
        x[r] = total


@_compiled
def flip(z, columns, by, x):
    """The image after some columns' weights changed ``by`` so much."""
    for r in range(len(z)):
        for k in range(len(columns)):
            x[r] += by[k] * z[r, columns[k]]


@_compiled
def heads(x, v, noise, labels):
    """The labels that x gets, ``noise`` added."""
    m = len(v)
    for k in range(len(labels)):
        total = x.dtype.type(0)
        for i in range(m):
            total += v[i] if x[k * m + i] > 0 else x.dtype.type(0)
        labels[k] = total + noise[k]


@_compiled
def residuals(x, v, labels, rest):
    """The network's answers less the labels; returns how many x are close to 0."""
    m, close = len(v), 0
    for k in range(len(labels)):
        total = x.dtype.type(0)  # in the labels' own precision, so that equal answers leave 0
        for i in range(m):
            total += v[i] if x[k * m + i] > 0 else x.dtype.type(0)
            close += abs(x[k * m + i]) < TIE
        rest[k] = total - labels[k]
    return close


@_compiled
def window(x, v, rest, low, high, c):
    """What the window (low, high) lets through to each row."""
    m = len(v)
    for k in range(len(rest)):
        for i in range(m):
            r = k * m + i
            c[r] = v[i] * rest[k] if low < x[r] < high else 0


@_summed
def backward(z, rows, by, out):
    """Add these rows, each times its factor, to ``out`` ``[n]``; four at a time, to load it less often."""
    fours = len(rows) - len(rows) % 4
    for k in range(0, fours, 4):
        a, b, c, d = z[rows[k]], z[rows[k + 1]], z[rows[k + 2]], z[rows[k + 3]]
        p, q, r, s = by[k], by[k + 1], by[k + 2], by[k + 3]
        for j in range(len(out)):
            out[j] += (p * a[j] + q * b[j]) + (r * c[j] + s * d[j])
    for k in range(fours, len(rows)):
        for j in range(len(out)):
            out[j] += by[k] * z[rows[k], j]


@_compiled
def move(z, negative, unit, w_star, shown, x, sums):
    """Bring the pre-activations x from the weights ``shown`` to these signs.

    Only by the flipped columns, where that is cheaper and not too many were flipped before; at w_star never,
    so that they are its own, bit for bit.
    """
    n, count, there = len(shown), 0, True
    columns, by = np.empty(n, np.int64), np.empty_like(shown)
    for j in range(n):
        w = -unit[j] if negative[j] else unit[j]
        columns[count], by[count] = j, w - shown[j]
        count += w != shown[j]
        shown[j] = w
        there &= w == w_star[j]
    sums[0] += count
    if there or 8 * count > n or sums[0] > _AFRESH:
        forward(z, shown, x)
        sums[0] = 0
    elif count:
        flip(z, columns[:count], by[:count], x)


@_compiled
def nonzero(c, rows, by):
    """Collect what is not 0, and where; how many."""
    count = 0
    for r in range(len(c)):
        rows[count], by[count] = r, c[r]
        count += c[r] != 0
    return count


@_compiled
def crossed(x, low, high, passes, rows):
    """Collect the rows that the window (low, high) has come to let through, or to stop; how many."""
    count = 0
    for r in range(len(x)):
        now = low < x[r] < high
        rows[count] = r
        count += now != passes[r]
        passes[r] = now
    return count


@_summed
def gather(z, v, rows, passes, parts, open_rows):
    """Each sample's part, the sum of its rows that pass times v, after these crossed; 0 where none passes."""
    m = len(v)
    for k in range(len(rows)):
        r = rows[k]
        sample = r // m
        row, part, factor = z[r], parts[sample], v[r - sample * m]
        if not passes[r]:
            factor = -factor
        open_rows[sample] += 1 if passes[r] else -1
        for j in range(len(part)):
            part[j] += factor * row[j]
        if open_rows[sample] == 0:
            part[:] = 0


@_compiled
def alone(way, data, low, high):
    """``walk`` to the end, new patterns' gradients through the window (low, high); returns how many.

    Each sample keeps a part, the sum of its rows that pass times v: a gradient is parts times residuals.
    """
    _, _, negative, _, _, _, _, _, _, counts, _, _, _, _, _, _, kept, used, values = way
    z, unit, w_star, shown, x, v, labels, rest, passes, parts, open_rows, rows, by, total, sums = data
    gradients = 0
    while walk(*way) == MISS:
        move(z, negative, unit, w_star, shown, x, sums)
        if gradients % _AFRESH == 0:
            passes[:], parts[:], open_rows[:] = False, 0, 0
        sums[1] += residuals(x, v, labels, rest)
        count = crossed(x, low, high, passes, rows)
        gather(z, v, rows[:count], passes, parts, open_rows)
        total[:] = 0
        count = nonzero(rest, rows, by)
        backward(parts, rows[:count], by[:count], total)
        insert(negative, total / len(labels), kept, used, values, counts)
        gradients += 1
    return gradients


@_compiled
def tensors(z, x, slope, labels, m, out):
    """Add to ``out`` the sums over samples from which ``_both`` has the gradients for any v."""
    n = z.shape[1]
    pairs, at = m * m * n, m * m * n + m * n
    for k in range(len(labels)):
        for i in range(m):
            r = k * m + i
            if x[r] > 0:
                out[at + m * m + i] += labels[k]
                for other in range(m):
                    out[at + i * m + other] += x[k * m + other] > 0
            if slope[r] != 0:
                for other in range(m):
                    if x[k * m + other] > 0:
                        for j in range(n):
                            out[(i * m + other) * n + j] += slope[r] * z[r, j]
                by = slope[r] * labels[k]
                for j in range(n):
                    out[pairs + i * n + j] += by * z[r, j]
