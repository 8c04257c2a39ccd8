"""The inner loops of ``events``, and of every walk. They hold no lock, and add in a fixed order.

``walk`` moves the latents from one sign pattern to the next. The others form images of the data, a matrix
``z`` ``[rows, n]``. With ``vectors`` the home of Numba in ``sim``.
"""

import numpy as np
from numba import njit

from coarsegrad.sim.outcome import TIE
from coarsegrad.sim.plan import WAYS

_AFRESH = 64  # updates of sums before they are taken anew, so that rounding does not gather
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
_summed = njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})


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
