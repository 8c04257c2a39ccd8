"""The walk from sign pattern to sign pattern, and the store of patterns: compiled, without a lock.

What is known of a pattern, its gradient or the tensors from which it follows for any v, is kept in buckets of
``WAYS`` slots; a full bucket drops what was used least recently.
"""

import numpy as np
from numba import njit

from coarsegrad.sim.outcome import TIE
from coarsegrad.sim.plan import WAYS

DONE, MISS = 0, 1
COUNTS = (
    "step", "changes", "crossings", "evictions", "close", "first", "visits", "at", "settled", "since",
    "wrong", "recorded", "clock", "begun",
)  # fmt: skip
(
    _STEP, _CHANGES, _CROSSINGS, _EVICTIONS, _CLOSE, _FIRST, _VISITS, _AT, _SETTLED, _SINCE,
    _WRONG, _RECORDED, _CLOCK, _BEGUN,
) = range(len(COUNTS))  # fmt: skip

_compiled = njit(nogil=True, cache=True)


@_compiled
def _bin(length):
    b = 0
    while length > 1:
        length >>= 1
        b += 1
    return b


@_compiled
def _pack(negative, words):
    words[:] = np.uint64(0)
    for j in range(len(negative)):
        if negative[j]:
            words[j >> 6] |= np.uint64(1) << np.uint64(j & 63)


@_compiled
def _bucket(words, slots):
    """Where a pattern's bucket of ``WAYS`` slots begins."""
    h = np.uint64(0x9E3779B97F4A7C15)
    for k in range(len(words)):
        h ^= words[k]
        h *= np.uint64(0xFF51AFD7ED558CCD)
        h ^= h >> np.uint64(32)
        h *= np.uint64(0xC4CEB9FE1A85EC53)
        h ^= h >> np.uint64(29)
    return np.int64(h % np.uint64(slots // WAYS)) * WAYS


@_compiled
def _find(words, kept, used):
    begin = _bucket(words, len(used))
    for slot in range(begin, begin + WAYS):
        if used[slot]:
            same = True
            for k in range(len(words)):
                same &= kept[slot, k] == words[k]
            if same:
                return slot
    return -1


@_compiled
def insert(negative, value, kept, used, values, counts):
    """Keep a pattern's value, in the place of the bucket's least recently used one."""
    words = np.empty(kept.shape[1], np.uint64)
    _pack(negative, words)
    begin = _bucket(words, len(used))
    slot = begin
    for other in range(begin, begin + WAYS):
        if used[other] < used[slot]:
            slot = other
    counts[_EVICTIONS] += used[slot] > 0
    counts[_CLOCK] += 1
    used[slot] = counts[_CLOCK]
    kept[slot] = words
    values[slot] = value


@_compiled
def _both(value, v, dv, dw):
    """The gradients of both layers from a pattern's tensors, for any v."""
    m, n = len(v), len(dw)
    pairs, own = m * m * n, m * n
    dw[:] = 0
    for i in range(m):
        for k in range(m):
            factor, at = v[i] * v[k], (i * m + k) * n
            for j in range(n):
                dw[j] += factor * value[at + j]
        for j in range(n):
            dw[j] -= v[i] * value[pairs + i * n + j]
    at = pairs + own
    for i in range(m):
        total = -value[at + m * m + i]
        for k in range(m):
            total += value[at + i * m + k] * v[k]
        dv[i] = total


@_compiled
def _arrive(counts, stays, absences, was):
    """Book that the student came to the teacher, or left it, at this step."""
    step, here = counts[_STEP], counts[_WRONG] == 0
    if here and not was:
        if counts[_VISITS] > 0:
            absences[_bin(step - counts[_SINCE])] += 1
        else:
            counts[_FIRST] = step
        counts[_VISITS] += 1
        counts[_SINCE] = step
    elif was and not here:
        stays[_bin(step - counts[_SINCE])] += 1
        counts[_AT] += step - counts[_SINCE]
        counts[_SINCE] = step


@_compiled
def _record(counts, recorded, signs, negative, upto):
    """Keep the signs for every asked step before ``upto``."""
    while counts[_RECORDED] < len(recorded) and recorded[counts[_RECORDED]] < upto:
        for j in range(len(negative)):
            signs[counts[_RECORDED], j] = -1 if negative[j] else 1
        counts[_RECORDED] += 1


@_compiled
def walk(
    v, u, negative, target, low, high, trained, step_size, steps,
    counts, total, since, stays, absences, recorded, signs, kept, used, values,
):  # fmt: skip
    """Step until the end (``DONE``), or until a pattern is met whose value is not kept (``MISS``).

    ``values`` holds gradients, or with v trained the tensors of ``_both``. ``total`` adds up the binary
    iterates, a coordinate at a time when it flips (``since``).
    """
    n, m = len(u), len(v)
    words = np.empty(kept.shape[1], np.uint64)
    move, dv, inside = np.empty_like(u), np.empty_like(v), np.empty(n, np.bool_)
    masked = low > -np.inf or high < np.inf
    for j in range(n):
        inside[j] = low < u[j] < high
    if counts[_BEGUN] == 0:
        counts[_BEGUN] = 1
        counts[_FIRST] = counts[_SETTLED] = -1
        for j in range(n):
            negative[j] = u[j] < 0
            counts[_WRONG] += negative[j] != target[j]
            counts[_CLOSE] += abs(u[j]) < TIE
        _arrive(counts, stays, absences, False)
    while counts[_STEP] < steps:
        _pack(negative, words)
        slot = _find(words, kept, used)
        if slot < 0:
            return MISS
        counts[_CLOCK] += 1
        used[slot] = counts[_CLOCK]
        if not trained:
            for j in range(n):
                move[j] = step_size * values[slot, j]
        step, close, crossings, flipped = counts[_STEP], counts[_CLOSE], counts[_CROSSINGS], False
        while step < steps and not flipped:
            if trained:
                _both(values[slot], v, dv, move)
                for i in range(m):
                    v[i] -= step_size * dv[i]
                for j in range(n):
                    move[j] *= step_size
            moved = False
            if masked:
                for j in range(n):
                    if inside[j]:
                        moved |= move[j] != 0
                        u[j] -= move[j]
                        flipped |= (u[j] < 0) != negative[j]
                        inside[j] = low < u[j] < high
                        crossings += not inside[j]
                    close += abs(u[j]) < TIE
            else:
                for j in range(n):
                    moved |= move[j] != 0
                    u[j] -= move[j]
                    flipped |= (u[j] < 0) != negative[j]
                    close += abs(u[j]) < TIE
            if moved:
                counts[_SETTLED] = -1
            elif counts[_SETTLED] < 0:
                counts[_SETTLED] = step
            step += 1
            if not moved and not trained:  # nothing will move again
                step = steps
        counts[_CLOSE], counts[_CROSSINGS] = close, crossings
        _record(counts, recorded, signs, negative, step if flipped else step + 1)
        counts[_STEP] = step
        if flipped:
            was = counts[_WRONG] == 0
            counts[_CHANGES] += 1
            for j in range(n):
                if (u[j] < 0) != negative[j]:
                    total[j] += (since[j] - step) if negative[j] else (step - since[j])
                    since[j] = step
                    negative[j] = not negative[j]
                    counts[_WRONG] += 1 if negative[j] != target[j] else -1
            _arrive(counts, stays, absences, was)
    finish(negative, counts, total, since, recorded, signs)
    return DONE


@_compiled
def finish(negative, counts, total, since, recorded, signs):
    """Close the books at the step where the run is."""
    step = counts[_STEP]
    _record(counts, recorded, signs, negative, step + 1)
    if counts[_WRONG] == 0:
        counts[_AT] += step - counts[_SINCE]
    for j in range(len(negative)):
        total[j] += (since[j] - step) if negative[j] else (step - since[j])
