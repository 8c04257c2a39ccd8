"""The inner loops of ``classify``, by Numba: a run's outputs, where they fall short, what is sent back.

Directions come in opposite pairs; one of each is projected, at the other h has the other sign. Only points
whose margin is short send anything back, so only they are listed, and the slope is asked of them alone.
Innermost loops are long: over the directions of a class, or over its short points.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

_summed = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
BLOCK = 64
"""A run's slopes are asked for in whole blocks, so that no element's place depends on other runs."""


class Fixed(NamedTuple):
    """The data, one direction of each pair, and the network's fixed part."""

    x: np.ndarray
    """``[classes, D, half]``."""
    radii: np.ndarray
    labels: np.ndarray
    """``[classes, 2, radii, half]``: of the directions of x, then of their opposites."""
    first: np.ndarray
    """``[classes + 1]``: class c is served by neurons first[c] to first[c + 1] - 1."""
    v: float
    top: float
    up: bool
    binary: bool


class Room(NamedTuple):
    """Of one run: its short points as they bear on a class's neurons, by the subspace where they lie."""

    rows: np.ndarray
    """``[classes, k, half]``: projections on the directions."""
    g: np.ndarray
    """Their shape: what arrives there."""
    where: np.ndarray
    """``[classes, classes, points of one]``: subspace, class, then the directions."""
    at: np.ndarray
    """Of that shape: radii, negative for the opposite direction."""
    by: np.ndarray
    """What is sent back, over v: -1 to the label's neurons, 1 to those of the strongest rival."""
    many: np.ndarray
    """``[classes, classes]``: how many points are listed."""


@_summed
def _show(w, binary):
    """What the forward pass sees of w ``[k, D]``."""
    shown = w.copy()
    if binary:
        for j in range(len(w)):
            size = np.abs(w[j]).sum() / w.shape[1]
            for d in range(w.shape[1]):
                shown[j, d] = -size if w[j, d] < 0 else size
    return shown


@_summed
def _project(shown, x, rows):
    rows[:] = 0.0
    for j in range(len(shown)):
        for d in range(shown.shape[1]):
            for i in range(x.shape[1]):
                rows[j, i] += shown[j, d] * x[d, i]


@_summed
def _outputs(rows, r, fixed, out):
    """Each class's output at radius r, ``[2, classes, half]``: v times a whole number."""
    out[:] = 0.0
    for c in range(len(fixed.first) - 1):
        ahead, both = out[0, c], out[1, c]
        for j in range(fixed.first[c], fixed.first[c + 1]):
            row = rows[j]
            for i in range(len(row)):
                h = abs(r * row[i])
                level = min(np.ceil(h) if fixed.up else np.floor(h), fixed.top)
                both[i] += level
                ahead[i] += level if row[i] > 0.0 else 0.0
        for i in range(len(ahead)):
            both[i] = fixed.v * (both[i] - ahead[i])
            ahead[i] *= fixed.v


@_summed
def _judge(out, true, labels, blame):
    """At one radius and side: loss, points told right, points short, and each class's blame there.

    Blame: -1 for the label, 1 for its strongest rival, where the margin is short; else 0. ``[classes, half]``
    """
    classes, half = out.shape
    other, noisy = blame[0], 0  # room for the largest output but the subspace's own
    other[:] = -np.inf
    for c in range(classes):
        if c != true:
            for i in range(half):
                other[i] = max(other[i], out[c, i])
    loss, right, short = 0.0, 0, 0
    for i in range(half):
        margin = out[true, i] - other[i]
        right += margin > 0
        loss += max(1 - margin, 0.0)
        short += margin < 1
        noisy += labels[i] != true
    if short + noisy == 0:
        return loss, right, short
    if classes == 2 and noisy == 0:
        for i in range(half):
            one = 1.0 if out[true, i] - out[1 - true, i] < 1 else 0.0
            blame[true, i], blame[1 - true, i] = -one, one
        return loss, right, short
    loss, short = 0.0, 0
    blame[:] = 0.0
    for i in range(half):
        label = labels[i]
        rival = 0 if label != 0 else 1
        for c in range(rival + 1, classes):
            if c != label and out[c, i] > out[rival, i]:
                rival = c
        margin = out[label, i] - out[rival, i]
        if margin < 1:
            blame[label, i], blame[rival, i] = -1.0, 1.0
            loss, short = loss + 1 - margin, short + 1
    return loss, right, short


@_summed
def _list(room, true, at, blame):
    for c in range(len(blame)):
        n, where, ats, by = room.many[true, c], room.where[true, c], room.at[true, c], room.by[true, c]
        for i in range(blame.shape[1]):
            if blame[c, i] != 0.0:
                where[n], ats[n], by[n] = i, at, blame[c, i]
                n += 1
        room.many[true, c] = n


@_summed
def _pass(rows, at, blame, first, form, g):
    """Adds to g ``[k, half]``, at one radius, blame times the slope.

    Form: 0 for the slope 1 on (low, high), 1 for a log tail above high, 2 for exp(-h/high) above 0.
    """
    kind, low, high = form
    for c in range(len(blame)):
        by = blame[c]
        for j in range(first[c], first[c + 1]):
            row, to = rows[j], g[j]
            if kind == 0:
                for i in range(len(row)):
                    h = at * row[i]
                    to[i] += at * by[i] if (h > low) & (h < high) else 0.0
            elif kind == 1:
                for i in range(len(row)):
                    h = at * row[i]
                    to[i] += at * by[i] / (1.0 + max(h - high, 0.0)) if h > 0.0 else 0.0
            else:
                for i in range(len(row)):
                    if by[i] != 0.0 and at * row[i] > 0.0:
                        to[i] += at * by[i] * np.exp(-(at * row[i]) / high)


@_summed
def look(w, fixed, room, form, told):
    """Where a run's points are short; ``told``: loss, accuracy, largest abs(h).

    With a slope's form, what arrives is in ``room.g``; with None, points are listed.
    """
    shown, (classes, _, half) = _show(w, fixed.binary), fixed.x.shape
    out, blame = np.empty((2, classes, half)), np.empty((classes, half))
    loss, right, largest = 0.0, 0, 0.0
    room.many[:], room.g[:] = 0, 0.0
    for true in range(classes):
        rows = room.rows[true]
        _project(shown, fixed.x[true], rows)
        largest = max(largest, np.abs(rows).max())
        for q in range(len(fixed.radii)):
            _outputs(rows, fixed.radii[q], fixed, out)
            for side in range(2):
                at = fixed.radii[q] * (1 - 2 * side)
                off, sure, short = _judge(out[side], true, fixed.labels[true, side, q], blame)
                loss, right = loss + off, right + sure
                if short:
                    if form is None:
                        _list(room, true, at, blame)
                    else:
                        _pass(rows, at, blame, fixed.first, form, room.g[true])
    points = fixed.labels.size
    told[0], told[1], told[2] = loss / points, right / points, max(told[2], largest * fixed.radii.max())


@_summed
def _ask(fixed, room, h, upstream):
    """The pre-activations whose slope is needed, and what is sent to each; returns how many, in blocks."""
    here = 0
    for true in range(len(fixed.x)):
        for c in range(len(fixed.x)):
            many = room.many[true, c]
            where, at, by = room.where[true, c], room.at[true, c], room.by[true, c]
            for j in range(fixed.first[c], fixed.first[c + 1]):
                row, to, sent = room.rows[true, j], h[here : here + many], upstream[here : here + many]
                for n in range(many):
                    to[n] = at[n] * row[where[n]]
                    sent[n] = fixed.v * by[n]
                here += many
    while here % BLOCK:
        h[here], upstream[here] = 1.0, 0.0
        here += 1
    return here


@_summed
def _arrive(fixed, room, pulled):
    """What arrives at each direction and neuron, from the answers."""
    here = 0
    for true in range(len(fixed.x)):
        for c in range(len(fixed.x)):
            many, where, at = room.many[true, c], room.where[true, c], room.at[true, c]
            for j in range(fixed.first[c], fixed.first[c + 1]):
                g, answer = room.g[true, j], pulled[here : here + many]
                for n in range(many):
                    g[where[n]] += at[n] * answer[n]
                here += many


@_summed
def _step(w, fixed, room, step_size):
    """Moves w ``[k, D]`` by what arrived; whether that was 0, up to rounding."""
    points, largest = fixed.labels.size, 0.0
    for j in range(len(w)):
        for d in range(w.shape[1]):
            total = 0.0
            for true in range(len(fixed.x)):
                x, g = fixed.x[true, d], room.g[true, j]
                for i in range(len(x)):
                    total += g[i] * x[i]
            largest = max(largest, abs(total) / points)
            w[j, d] -= step_size * (total / points)
    return largest < 1e-12


@_summed
def descend(w, fixed, room, steps, step_size, form, measured, told):
    """One run with a slope of a known form, times mean abs(h) if ``measured``; moves w ``[k, D]`` in place.

    ``told``: loss, accuracy, largest abs(h), step at zero loss or -1, whether the gradient is 0.
    """
    told[3] = -1
    for step in range(steps + 1):
        look(w, fixed, room, form, told)
        if told[0] == 0:
            told[3] = step
        size = np.abs(room.rows).mean() * fixed.radii.mean() if measured else 1.0
        last = told[0] == 0 or step == steps
        told[4] = _step(w, fixed, room, 0.0 if last else step_size * fixed.v * size)
        if last:
            break


@_summed
def _of(rooms, run):
    return Room(
        rooms.rows[run], rooms.g[run], rooms.where[run], rooms.at[run], rooms.by[run], rooms.many[run]
    )


@_summed
def ahead(w, fixed, rooms, begins, h, upstream, told):
    """A step's first half, of several runs: what they ask, one after the other; returns the length of all.

    ``begins`` ``[runs]``: where what a run asks begins; -1 for a run at its end, which is left out. ``rooms``
    is a ``Room`` with runs as a first axis.
    """
    here = 0
    for run in range(len(w)):
        if begins[run] >= 0:
            room, begins[run] = _of(rooms, run), here
            look(w[run], fixed, room, None, told[run])
            here += _ask(fixed, room, h[here:], upstream[here:])
    return here


@_summed
def back(w, fixed, rooms, begins, pulled, step, last, step_size, told):
    """Its second half: every run's step, but of those at zero loss, or at the last; whether any goes on."""
    on = False
    for run in range(len(w)):
        if begins[run] >= 0:
            room, solved = _of(rooms, run), told[run, 0] == 0
            _arrive(fixed, room, pulled[begins[run] :])
            told[run, 4] = _step(w[run], fixed, room, 0.0 if solved or last else step_size)
            if solved:
                told[run, 3], begins[run] = step, -1
            on |= not (solved or last)
    return on
