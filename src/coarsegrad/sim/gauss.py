r"""Blocks of standard normal numbers from counters: the mathematics, and the slow obvious way.

Philox 4x32-10 turns a counter into words (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"),
and Box & Muller's \(\sqrt{-2 \ln u}\,(\sin t, \cos t)\) turns words into numbers. Logarithm and sine are
polynomials, of operations that every machine rounds alike: the numbers are the same everywhere.
"""

import math

import numpy as np

BLOCK = 2048
"""Numbers of a block: four from each counter in float32, two in float64."""
_u64, _f32 = np.uint64, np.float32
LOW, HALF = _u64(0xFFFFFFFF), _u64(32)
ROOT32, ROOT64 = 0x3F3504F3, 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2), from which an exponent is told
_M0, _M1, _W0, _W1 = _u64(0xD2511F53), _u64(0xCD9E8D57), _u64(0x9E3779B9), _u64(0xBB67AE85)


# Of numbers or of arrays alike.


def round_(c, k0, k1, number):
    """One of ten rounds over four words of 32 bits, held in 64 each."""
    p0, p1 = c[0] * _M0, c[2] * _M1
    k0, k1 = (k0 + _u64(number) * _W0) & LOW, (k1 + _u64(number) * _W1) & LOW
    return (p1 >> HALF) ^ c[1] ^ k0, p1 & LOW, (p0 >> HALF) ^ c[3] ^ k1, p0 & LOW


def radius32(f, e):
    """sqrt(-2 ln u) of u = 2^e (1 + f), |f| small: the logarithm of Cephes."""
    y = f * _f32(7.0376836292e-2) - _f32(1.1514610310e-1)
    y = y * f + _f32(1.1676998740e-1)
    y = y * f - _f32(1.2420140846e-1)
    y = y * f + _f32(1.4249322787e-1)
    y = y * f - _f32(1.6668057665e-1)
    y = y * f + _f32(2.0000714765e-1)
    y = y * f - _f32(2.4999993993e-1)
    y = y * f + _f32(3.3333331174e-1)
    z = f * f
    y = y * f * z - _f32(0.5) * z
    return np.sqrt(_f32(-2) * (f + y + e * _f32(math.log(2))))


def radius64(f, e):
    """The same; the logarithm of FreeBSD's msun."""
    s = f / (2.0 + f)
    z, half = s * s, 0.5 * f * f
    y = z * 1.479819860511658591e-01 + 1.531383769920937332e-01
    y = z * y + 1.818357216161805012e-01
    y = z * y + 2.222219843214978396e-01
    y = z * y + 2.857142874366239149e-01
    y = z * y + 3.999999999940941908e-01
    y = z * y + 6.666666666666735130e-01
    return np.sqrt(-2.0 * (f - (half - s * (half + z * y)) + e * math.log(2)))


def turned32(t):
    """(sin t, cos t), |t| <= pi/4: Cephes."""
    z = t * t
    s = (z * _f32(-1.9515295891e-4) + _f32(8.3321608736e-3)) * z - _f32(1.6666654611e-1)
    c = (z * _f32(2.443315711809948e-5) - _f32(1.388731625493765e-3)) * z + _f32(4.166664568298827e-2)
    return t + t * z * s, _f32(1) - _f32(0.5) * z + z * z * c


def turned64(t):
    """(sin t, cos t), |t| <= pi/4: Cephes."""
    z = t * t
    s = z * 1.58962301576546568060e-10 - 2.50507477628578072866e-8
    s = s * z + 2.75573136213857245213e-6
    s = s * z - 1.98412698295895385996e-4
    s = s * z + 8.33333333332211858878e-3
    s = s * z - 1.66666666666666307295e-1
    c = z * -1.13585365213876817300e-11 + 2.08757008419747316778e-9
    c = c * z - 2.75573141792967388112e-7
    c = c * z + 2.48015872888517045348e-5
    c = c * z - 1.38888888888730564116e-3
    c = c * z + 4.16666666666665929218e-2
    return t + t * z * s, 1.0 - 0.5 * z + z * z * c


# A block.


def _words(first, key, count):
    counter = np.arange(count, dtype=np.uint64) + _u64(first)
    c = counter & LOW, counter >> HALF, _u64(0), _u64(0)
    for number in range(10):
        c = round_(c, key & LOW, key >> HALF, number)
    return c


def _pair32(a, b):
    """Two normal numbers from two words: u from the one, t from the other."""
    u = ((a >> _u64(1)).astype(_f32) + _f32(0.5)) * _f32(2.0**-31)
    bits = u.view(np.int32)
    e = (bits - np.int32(ROOT32)) >> np.int32(23)
    radius = radius32((bits - (e << np.int32(23))).view(_f32) - _f32(1), e.astype(_f32))
    quarter = ((b + _u64(1 << 29)) & LOW) >> _u64(30)
    t = (b - (quarter << _u64(30))).astype(np.uint32).view(np.int32).astype(_f32) * _f32(math.pi / 2**31)
    return _rotated(radius, quarter, *turned32(t))


def _pair64(a, b):
    """The same from words of 64 bits."""
    u = ((a >> _u64(11)).astype(np.float64) + 0.5) * 2.0**-53
    bits = u.view(np.int64)
    e = (bits - np.int64(ROOT64)) >> np.int64(52)
    radius = radius64((bits - (e << np.int64(52))).view(np.float64) - 1.0, e.astype(np.float64))
    quarter = (b + _u64(1 << 61)) >> _u64(62)
    t = (b - (quarter << _u64(62))).view(np.int64).astype(np.float64) * (math.pi / 2**63)
    return _rotated(radius, quarter, *turned64(t))


def _rotated(radius, quarter, s, c):
    """The two, when t is that many quarter turns further on."""
    odd = (quarter & _u64(1)) != 0
    one, other = np.where(odd, c, s), np.where(odd, s, c)
    one = np.where((quarter & _u64(2)) != 0, -one, one)
    return radius * one, radius * np.where(((quarter + _u64(1)) & _u64(2)) != 0, -other, other)


def fill32(out, first, key):
    """Blocks into ``out``, float32, from the counters that begin at ``first``; the last may be cut."""
    for at in range(0, len(out), BLOCK):
        a, b, c, d = _words(first + at // 4, key, BLOCK // 4)
        out[at : at + BLOCK] = np.concatenate((*_pair32(a, b), *_pair32(c, d)))[: len(out) - at]


def fill64(out, first, key):
    """The same in float64."""
    for at in range(0, len(out), BLOCK):
        a, b, c, d = _words(first + at // 2, key, BLOCK // 2)
        whole = np.concatenate(_pair64((a << HALF) | b, (c << HALF) | d))
        out[at : at + BLOCK] = whole[: len(out) - at]
