"""The fast path's inner loops: blocks of 16 floats as LLVM vectors.

Addresses are byte addresses of float32 data. With `threads` the home of Numba and its llvmlite in `core`;
imported at the fast path's first use only.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_Intrinsic = Callable[[Callable[..., Any]], Callable[..., Any]]
_intrinsic = cast(_Intrinsic, intrinsic)
"""Numba's, with a type: what it returns is called without ``context``."""

_WIDTH = 16
_F32, _I32 = ir.FloatType(), ir.IntType(32)
_VECTOR, _BITS, _MASK = ir.VectorType(_F32, _WIDTH), ir.VectorType(ir.IntType(1), _WIDTH), ir.IntType(_WIDTH)
_u8, _f4, _f8, _u2, _b1 = types.uint64, types.float32, types.float64, types.uint16, types.boolean


def _load(b, address, kind, align=4):
    value = b.load(b.inttoptr(address, kind.as_pointer()))
    value.align = align
    return value


def _store(b, value, address, align=4):
    b.store(value, b.inttoptr(address, value.type.as_pointer())).align = align


def _splat(b, x):
    one = b.insert_element(ir.Constant(_VECTOR, ir.Undefined), x, ir.Constant(_I32, 0))
    return b.shuffle_vector(
        one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_I32, _WIDTH), [0] * _WIDTH)
    )


def _rounded(b, x):
    """The nearest whole numbers, ties to even."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    return b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.rint.v16f32"), [x])


def _level(b, u, low, high, sign):
    """The level of u: clip(round to even(u)), or the sign with sign(0) = +1."""
    q = _rounded(b, u)
    q = b.select(b.fcmp_ordered("<", q, low), low, q)
    q = b.select(b.fcmp_ordered(">", q, high), high, q)
    plus, minus = (ir.Constant(_VECTOR, [value] * _WIDTH) for value in (1.0, -1.0))
    signs = b.select(b.fcmp_ordered(">=", u, ir.Constant(_VECTOR, [0.0] * _WIDTH)), plus, minus)
    signs = b.select(b.fcmp_unordered("uno", u, u), u, signs)
    return b.select(sign, signs, q)


def _inside(b, u, left, right):
    return b.and_(b.fcmp_ordered(">", u, left), b.fcmp_ordered("<", u, right))


@_intrinsic
def _forward16(context, x, y, scale, low, high, sign, left, right):
    def build(ctx, b, signature, args):
        x, y, scale, low, high, sign, left, right = args
        scale, low, high, left, right = (_splat(b, v) for v in (scale, low, high, left, right))
        u = b.fdiv(_load(b, x, _VECTOR), scale)
        _store(
            b,
            b.fmul(
                _level(b, u, low, high, b.trunc(sign, ir.IntType(1)) if sign.type.width > 1 else sign), scale
            ),
            y,
        )
        return b.bitcast(_inside(b, u, left, right), _MASK)

    return _u2(_u8, _u8, _f4, _f4, _f4, _b1, _f4, _f4), build


@_intrinsic
def _backward16(context, upstream, gradient, mask):
    def build(ctx, b, signature, args):
        upstream, gradient, mask = args
        zero = ir.Constant(_VECTOR, [0.0] * _WIDTH)
        _store(b, b.select(b.bitcast(mask, _BITS), _load(b, upstream, _VECTOR), zero), gradient)
        return ctx.get_dummy_value()

    return types.void(_u8, _u8, _u2), build


@_intrinsic
def _learned16(context, upstream, gradient, x, total, scale, low, high, sign, left, right):
    """As _backward16 with the mask from x; adds g (q - u 1{inside}) to the 16 sums at ``total``."""

    def build(ctx, b, signature, args):
        upstream, gradient, x, total, scale, low, high, sign, left, right = args
        scale, low, high, left, right = (_splat(b, v) for v in (scale, low, high, left, right))
        sign = b.trunc(sign, ir.IntType(1)) if sign.type.width > 1 else sign
        u, g = b.fdiv(_load(b, x, _VECTOR), scale), _load(b, upstream, _VECTOR)
        passed = b.select(_inside(b, u, left, right), g, ir.Constant(_VECTOR, [0.0] * _WIDTH))
        _store(b, passed, gradient)
        term = b.fsub(b.fmul(g, _level(b, u, low, high, sign)), b.fmul(passed, u))
        _store(b, b.fadd(_load(b, total, _VECTOR), term), total)
        return ctx.get_dummy_value()

    return types.void(_u8, _u8, _u8, _u8, _f4, _f4, _f4, _b1, _f4, _f4), build


_BYTES = ir.VectorType(ir.IntType(8), _WIDTH)
_FINE = 252.0
"""Steps per level of a residual kept in a byte: -126 to 126 inside; -128 below the window, 127 above."""


def _same(kind, value):
    return ir.Constant(kind, [value] * _WIDTH)


@_intrinsic
def _residual16(context, x, y, kept, scale, low, high, sign, left, right):
    """As _forward16, but keeps level - u in a byte per element in place of the mask."""

    def build(ctx, b, signature, args):
        x, y, kept, scale, low, high, sign, left, right = args
        scale, low, high, left, right = (_splat(b, v) for v in (scale, low, high, left, right))
        sign = b.trunc(sign, ir.IntType(1)) if sign.type.width > 1 else sign
        u = b.fdiv(_load(b, x, _VECTOR), scale)
        q = _level(b, u, low, high, sign)
        _store(b, b.fmul(q, scale), y)
        inside = _inside(b, u, left, right)
        rest = b.select(inside, b.fmul(b.fsub(q, u), _same(_VECTOR, _FINE)), _same(_VECTOR, 0.0))
        byte = b.fptosi(_rounded(b, rest), _BYTES)
        end = b.select(b.fcmp_ordered("<=", u, left), _same(_BYTES, -128), _same(_BYTES, 127))
        _store(b, b.select(inside, byte, end), kept, 1)
        return ctx.get_dummy_value()

    return types.void(_u8, _u8, _u8, _f4, _f4, _f4, _b1, _f4, _f4), build


@_intrinsic
def _from_residual16(context, upstream, gradient, kept, total, low, high):
    """The masked gradient, and g (level - u 1{inside}) added to the 16 sums at ``total``."""

    def build(ctx, b, signature, args):
        upstream, gradient, kept, total, low, high = args
        g, byte = _load(b, upstream, _VECTOR), _load(b, kept, _BYTES, 1)
        above, below = (b.icmp_signed("==", byte, _same(_BYTES, end)) for end in (127, -128))
        _store(b, b.select(b.or_(above, below), _same(_VECTOR, 0.0), g), gradient)
        rest = b.fmul(b.sitofp(byte, _VECTOR), _same(_VECTOR, 1 / _FINE))
        term = b.select(above, _splat(b, high), b.select(below, _splat(b, low), rest))
        _store(b, b.fadd(_load(b, total, _VECTOR), b.fmul(g, term)), total)
        return ctx.get_dummy_value()

    return types.void(_u8, _u8, _u8, _u8, _f4, _f4), build


@_intrinsic
def _scratch(context):
    """64 zeroed floats on the caller's stack, as an address: they live until the kernel returns."""

    def build(ctx, b, signature, args):
        kind = ir.ArrayType(_F32, 64)
        room = cgutils.alloca_once(b, kind)
        b.store(ir.Constant(kind, [0.0] * 64), room).align = 4
        return b.ptrtoint(room, ir.IntType(64))

    return _u8(), build


def _reader(kind, python_type, align):
    @_intrinsic
    def read(context, address):
        def build(ctx, b, signature, args):
            return _load(b, args[0], kind, align)

        return python_type(_u8), build

    return read


def _writer(python_type, align):
    @_intrinsic
    def write(context, address, value):
        def build(ctx, b, signature, args):
            _store(b, args[1], args[0], align)
            return ctx.get_dummy_value()

        return types.void(_u8, python_type), build

    return write


get_f4, _get_mask = _reader(_F32, _f4, 4), _reader(_MASK, _u2, 2)
get_u8, _put_f8 = _reader(ir.IntType(64), _u8, 8), _writer(_f8, 8)
_put_f4, _put_mask = _writer(_f4, 4), _writer(_u2, 2)


@njit(inline="always")
def _copy(source, target, count):
    for i in range(count):
        _put_f4(target + np.uint64(4) * np.uint64(i), get_f4(source + np.uint64(4) * np.uint64(i)))


@njit(inline="always")
def _drained(sums):
    """The sum of 16 floats, which are then zero."""
    total = 0.0
    for j in range(16):
        total += np.float64(get_f4(sums + np.uint64(4) * np.uint64(j)))
        _put_f4(sums + np.uint64(4) * np.uint64(j), np.float32(0))
    return total


_LEVELS = (_f4, _f4, _b1, _f4, _f4)


@njit(types.void(_u8, _u8, _u8, _u8, _u8, _u8, *_LEVELS), nogil=True)
def forward(x, y, mask, scales, rows, width, low, high, sign, left, right):
    """Quantize ``rows`` rows of ``width``, one scale each; a mask of 0 means that none is kept."""
    spare = _scratch()
    whole, rest = width // np.uint64(16), width % np.uint64(16)
    for r in range(rows):
        scale = get_f4(scales + np.uint64(4) * np.uint64(r))
        for i in range(whole):
            at = np.uint64(64) * np.uint64(i)
            bits = _forward16(x + at, y + at, scale, low, high, sign, left, right)
            if mask:
                _put_mask(mask + np.uint64(2) * np.uint64(i), bits)
        x, y, mask = (
            x + np.uint64(64) * whole,
            y + np.uint64(64) * whole,
            mask + (np.uint64(2) * whole if mask else np.uint64(0)),
        )
        if rest:
            _copy(x, spare, rest)
            bits = _forward16(spare, spare + np.uint64(64), scale, low, high, sign, left, right)
            _copy(spare + np.uint64(64), y, rest)
            if mask:
                _put_mask(mask, bits)
                mask += np.uint64(2)
            x, y = x + np.uint64(4) * rest, y + np.uint64(4) * rest


@njit(types.void(_u8, _u8, _u8, _u8, _u8, *_LEVELS), nogil=True)
def forward_residual(x, y, kept, scales, width, low, high, sign, left, right):
    """Quantize ``width`` numbers with one scale, and keep a byte of each for ``backward_residual``."""
    spare = _scratch()
    scale = get_f4(scales)
    whole, rest = width // np.uint64(16), width % np.uint64(16)
    for i in range(whole):
        at = np.uint64(64) * np.uint64(i)
        _residual16(x + at, y + at, kept + np.uint64(16) * np.uint64(i), scale, low, high, sign, left, right)
    if rest:  # kept is as long as whole blocks
        at = np.uint64(64) * whole
        _copy(x + at, spare, rest)
        _residual16(
            spare, spare + np.uint64(64), kept + np.uint64(16) * whole, scale, low, high, sign, left, right
        )
        _copy(spare + np.uint64(64), y + at, rest)


@njit(types.void(_u8, _u8, _u8, _u8, _u8, _f4, _f4), nogil=True)
def backward_residual(upstream, gradient, kept, total, width, low, high):
    """Both gradients from the kept bytes; ``total`` gets the float64 sum."""
    spare = _scratch()
    sums = spare + np.uint64(128)
    whole, rest = width // np.uint64(16), width % np.uint64(16)
    whole_sum = 0.0
    for i in range(whole):
        at = np.uint64(64) * np.uint64(i)
        _from_residual16(upstream + at, gradient + at, kept + np.uint64(16) * np.uint64(i), sums, low, high)
        if i % np.uint64(1024) == np.uint64(1023):
            whole_sum += _drained(sums)
    if rest:
        at = np.uint64(64) * whole
        _copy(upstream + at, spare, rest)
        _from_residual16(spare, spare + np.uint64(64), kept + np.uint64(16) * whole, sums, low, high)
        _copy(spare + np.uint64(64), gradient + at, rest)
    _put_f8(total, whole_sum + _drained(sums))


@njit(types.void(_u8, _u8, _u8, _u8, _u8), nogil=True)
def backward(upstream, gradient, mask, rows, width):
    """The upstream gradient where the mask has its bit, else 0."""
    spare = _scratch()
    whole, rest = width // np.uint64(16), width % np.uint64(16)
    for _ in range(rows):
        for i in range(whole):
            at = np.uint64(64) * np.uint64(i)
            _backward16(upstream + at, gradient + at, _get_mask(mask + np.uint64(2) * np.uint64(i)))
        mask += np.uint64(2) * whole
        upstream, gradient = upstream + np.uint64(64) * whole, gradient + np.uint64(64) * whole
        if rest:
            _copy(upstream, spare, rest)
            _backward16(spare, spare + np.uint64(64), _get_mask(mask))
            _copy(spare + np.uint64(64), gradient, rest)
            mask += np.uint64(2)
            upstream, gradient = upstream + np.uint64(4) * rest, gradient + np.uint64(4) * rest


@njit(types.void(_u8, _u8, _u8, _u8, _u8, _u8, _u8, *_LEVELS), nogil=True)
def backward_learned(upstream, gradient, x, scales, total, rows, width, low, high, sign, left, right):
    """Both gradients in one pass; ``total`` holds one float64 sum per row.

    It is gathered from 16 float32 sums every 1024 blocks.
    """
    spare = _scratch()
    sums = spare + np.uint64(128)
    whole, rest = width // np.uint64(16), width % np.uint64(16)
    for r in range(rows):
        scale = get_f4(scales + np.uint64(4) * np.uint64(r))
        whole_sum = 0.0
        for i in range(whole):
            at = np.uint64(64) * np.uint64(i)
            _learned16(upstream + at, gradient + at, x + at, sums, scale, low, high, sign, left, right)
            if i % np.uint64(1024) == np.uint64(1023):
                whole_sum += _drained(sums)
        upstream, gradient = upstream + np.uint64(64) * whole, gradient + np.uint64(64) * whole
        x += np.uint64(64) * whole
        if rest:
            for j in range(16):
                _put_f4(spare + np.uint64(4) * np.uint64(j), np.float32(0))
                _put_f4(spare + np.uint64(64) + np.uint64(4) * np.uint64(j), np.float32(0))
            _copy(upstream, spare, rest)
            _copy(x, spare + np.uint64(64), rest)
            _learned16(spare, spare, spare + np.uint64(64), sums, scale, low, high, sign, left, right)
            _copy(spare, gradient, rest)
            upstream, gradient, x = (
                upstream + np.uint64(4) * rest,
                gradient + np.uint64(4) * rest,
                x + np.uint64(4) * rest,
            )
        _put_f8(total + np.uint64(8) * np.uint64(r), whole_sum + _drained(sums))


_summed = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})


@_summed
def _lost(row, step, low, high):
    """The sums of (q - v)^2, v q / step and q^2 / step^2 over a row, q = step clip(round(v / step))."""
    lost, vq, qq, step, many = 0.0, 0.0, 0.0, np.float32(step), np.float32(1.0 / step)
    for begin in range(0, len(row), 4096):  # in float32 as far as its digits reach
        a, b, c = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for i in range(begin, min(begin + 4096, len(row))):
            q = min(max(np.rint(row[i] * many), low), high)
            off = q * step - row[i]
            a += off * off
            b += row[i] * q
            c += q * q
        lost, vq, qq = lost + a, vq + b, qq + c
    return lost, vq, qq


@_summed
def best_steps(rows, low, high, rounds, polishings, best):
    """For every row the step of least squares: of every round the best, around the last; then Lloyd's."""
    low, high = np.float32(low), np.float32(high)
    for r in range(len(rows)):
        start, step, error = 1.0, 1.0, np.inf
        for ratios in rounds:
            for ratio in ratios:
                lost, _, _ = _lost(rows[r], start * ratio, low, high)
                if lost < error:
                    step, error = start * ratio, lost
            start = step
        _, vq, qq = _lost(rows[r], step, low, high)
        for _ in range(polishings):
            polished = vq / qq if qq > 0 and vq > 0 else step
            lost, vq, qq = _lost(rows[r], polished, low, high)
            if not lost < error:
                break
            step, error = polished, lost
        best[r] = step
