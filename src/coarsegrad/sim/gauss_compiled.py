"""The blocks of ``gauss`` by Numba: several counters in a register, the same numbers."""

import math
from typing import Any

import numpy as np
from numba import njit

from coarsegrad.sim import gauss
from coarsegrad.sim.gauss import BLOCK, HALF, LOW, ROOT32, ROOT64

_compiled = njit(nogil=True, cache=True, error_model="numpy")
_u32, _u64, _f32, i32, i64, f64 = np.uint32, np.uint64, np.float32, np.int32, np.int64, np.float64
_round: Any = _compiled(gauss.round_)
_radius32: Any = _compiled(gauss.radius32)
_radius64: Any = _compiled(gauss.radius64)
_turned32: Any = _compiled(gauss.turned32)
_turned64: Any = _compiled(gauss.turned64)


@_compiled
def _words(first, key, a, b, c, d):
    k0, k1 = key & LOW, key >> HALF
    for i in range(len(a)):
        counter = _u64(first + i)
        w = counter & LOW, counter >> HALF, _u64(0), _u64(0)
        for number in range(10):
            w = _round(w, k0, k1, number)
        a[i], b[i], c[i], d[i] = _u32(w[0]), _u32(w[1]), _u32(w[2]), _u32(w[3])


@_compiled
def _pair32(a, b, one, other):
    for i in range(len(a)):
        one[i] = (_f32(i32(a[i] >> _u32(1))) + _f32(0.5)) * _f32(2.0**-31)
    bits = one.view(np.int32)
    for i in range(len(a)):
        e = i32(bits[i] - i32(ROOT32)) >> i32(23)
        other[i] = _f32(e)
        bits[i] = i32(bits[i] - i32(e << i32(23)))
    for i in range(len(a)):
        one[i] = _radius32(one[i] - _f32(1), other[i])
    for i in range(len(a)):
        quarter, radius = _u32(_u32(b[i] + _u32(1 << 29)) >> _u32(30)), one[i]
        s, c = _turned32(_f32(i32(_u32(b[i] - _u32(quarter << _u32(30))))) * _f32(math.pi / 2**31))
        odd = (quarter & _u32(1)) != 0
        x, y = (c, s) if odd else (s, c)
        one[i] = radius * (-x if (quarter & _u32(2)) != 0 else x)
        other[i] = radius * (-y if (_u32(quarter + _u32(1)) & _u32(2)) != 0 else y)


@_compiled
def _pair64(a, b, c, d, one, other):
    for i in range(len(a)):
        one[i] = (f64(i64(((_u64(a[i]) << HALF) | _u64(b[i])) >> _u64(11))) + 0.5) * 2.0**-53
    bits = one.view(np.int64)
    for i in range(len(a)):
        e = (bits[i] - i64(ROOT64)) >> i64(52)
        other[i] = f64(e)
        bits[i] = bits[i] - (e << i64(52))
    for i in range(len(a)):
        one[i] = _radius64(one[i] - 1.0, other[i])
    for i in range(len(a)):
        word, radius = (_u64(c[i]) << HALF) | _u64(d[i]), one[i]
        quarter = (word + _u64(1 << 61)) >> _u64(62)
        s, t = _turned64(f64(i64(word - (quarter << _u64(62)))) * (math.pi / 2**63))
        odd = (quarter & _u64(1)) != 0
        x, y = (t, s) if odd else (s, t)
        one[i] = radius * (-x if (quarter & _u64(2)) != 0 else x)
        other[i] = radius * (-y if ((quarter + _u64(1)) & _u64(2)) != 0 else y)


@_compiled
def _block32(first, key, a, b, c, d, out):
    _words(first, key, a, b, c, d)
    h, q = len(out) // 2, len(out) // 4
    _pair32(a, b, out[:q], out[q:h])
    _pair32(c, d, out[h : h + q], out[h + q :])


@_compiled
def _block64(first, key, a, b, c, d, out):
    _words(first, key, a, b, c, d)
    h = len(out) // 2
    _pair64(a, b, c, d, out[:h], out[h:])


@_compiled
def _room(count):
    """Four arrays; rows of one array would not be seen to lie apart, and the loops run one by one."""
    kind = np.uint32
    return np.empty(count, kind), np.empty(count, kind), np.empty(count, kind), np.empty(count, kind)


@_compiled
def fill32(out, first, key):
    """Blocks into ``out``, float32, from the counters that begin at ``first``; the last may be cut."""
    (a, b, c, d), last = _room(BLOCK // 4), len(out) - len(out) % BLOCK
    for at in range(0, last, BLOCK):
        _block32(first + at // 4, key, a, b, c, d, out[at : at + BLOCK])
    if last < len(out):
        whole = np.empty(BLOCK, out.dtype)
        _block32(first + last // 4, key, a, b, c, d, whole)
        out[last:] = whole[: len(out) - last]


@_compiled
def fill64(out, first, key):
    """The same in float64."""
    (a, b, c, d), last = _room(BLOCK // 2), len(out) - len(out) % BLOCK
    for at in range(0, last, BLOCK):
        _block64(first + at // 2, key, a, b, c, d, out[at : at + BLOCK])
    if last < len(out):
        whole = np.empty(BLOCK, out.dtype)
        _block64(first + last // 2, key, a, b, c, d, whole)
        out[last:] = whole[: len(out) - last]
