"""The inner loops of ``matrix_free``: sums over vectors that are kept one after another.

In blocks that stay in a core's cache while the vectors pass by, four at a time; in a fixed order, without a
lock. Compiled by Numba.
"""

from numba import njit

_BLOCK = 4096
_summed = njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})


@_summed
def dots(vectors, count, x, begin, end, out):
    """The first ``count`` vectors' products with x, of the entries from ``begin`` to ``end``."""
    fours = count - count % 4
    out[:] = 0
    for at in range(begin, end, _BLOCK):
        to = min(at + _BLOCK, end)
        y = x[at:to]
        for i in range(0, fours, 4):
            a, b = vectors[i][at:to], vectors[i + 1][at:to]
            c, d = vectors[i + 2][at:to], vectors[i + 3][at:to]
            p = q = r = s = x.dtype.type(0)
            for k in range(len(y)):
                p += a[k] * y[k]
                q += b[k] * y[k]
                r += c[k] * y[k]
                s += d[k] * y[k]
            out[i] += p
            out[i + 1] += q
            out[i + 2] += r
            out[i + 3] += s
        for i in range(fours, count):
            p, a = x.dtype.type(0), vectors[i][at:to]
            for k in range(len(y)):
                p += a[k] * y[k]
            out[i] += p


@_summed
def combine(vectors, factors, x, begin, end):
    """Add the first vectors, each times its factor, to x from ``begin`` to ``end``."""
    count = len(factors)
    fours = count - count % 4
    for at in range(begin, end, _BLOCK):
        to = min(at + _BLOCK, end)
        y = x[at:to]
        for i in range(0, fours, 4):
            a, b = vectors[i][at:to], vectors[i + 1][at:to]
            c, d = vectors[i + 2][at:to], vectors[i + 3][at:to]
            p, q, r, s = factors[i], factors[i + 1], factors[i + 2], factors[i + 3]
            for k in range(len(y)):
                y[k] += (p * a[k] + q * b[k]) + (r * c[k] + s * d[k])
        for i in range(fours, count):
            p, a = factors[i], vectors[i][at:to]
            for k in range(len(y)):
                y[k] += p * a[k]
