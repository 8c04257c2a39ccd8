"""One run of ``classify`` in one loop: every point is seen once a step, and nothing of it is kept. By Numba.

The inner loops go over the directions of one class at one radius, which lie side by side.
"""

import numpy as np
from numba import njit

_summed = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})


@_summed
def _outputs(p, r, served, v, top, up, out):
    """Each class's output, ``v`` times a whole number, at the directions of ``p`` ``[k, directions]``."""
    out[:] = 0.0
    for j in range(len(p)):
        row, total = p[j], out[served[j]]
        if up:
            for i in range(len(row)):
                total[i] += min(max(np.ceil(r * row[i]), 0.0), top)
        else:
            for i in range(len(row)):
                total[i] += min(max(np.floor(r * row[i]), 0.0), top)
    out *= v


@_summed
def _arrive(p, r, served, blame, kind, low, high, g):
    """Add to ``g`` the class's blame times the slope at ``r p``; both ``[k, directions]``."""
    for j in range(len(p)):
        row, by, to = p[j], blame[served[j]], g[j]
        if kind == 0:
            for i in range(len(row)):
                h = r * row[i]
                to[i] += by[i] if (h > low) & (h < high) else 0.0
        elif kind == 1:
            for i in range(len(row)):
                h = r * row[i]
                to[i] += by[i] / (1.0 + max(h - high, 0.0)) if h > 0.0 else 0.0
        else:
            for i in range(len(row)):
                if row[i] > 0.0 and by[i] != 0.0:
                    to[i] += by[i] * np.exp(-(r * row[i]) / high)


@_summed
def _rival(out, i, label):
    """The first of the largest outputs but the label's, at direction i."""
    rival = 0 if label != 0 else 1
    for c in range(rival + 1, len(out)):
        if c != label and out[c, i] > out[rival, i]:
            rival = c
    return rival


@_summed
def _show(w, binary, shown):
    for j in range(len(w)):
        size = np.abs(w[j]).sum() / w.shape[1]
        for d in range(w.shape[1]):
            shown[j, d] = (-size if w[j, d] < 0 else size) if binary else w[j, d]


@_summed
def descend(w, x, radii, labels, served, v, top, up, binary, steps, step_size, kind, low, high, told):
    """One run; moves w ``[k, D]`` in place. The directions x are ``[classes, D, each]``.

    ``told``: step at zero loss or -1, loss, accuracy, largest pre-activation, whether the gradient is 0.
    """
    (k, width), (classes, _, each) = w.shape, x.shape
    p, g, out, blame = (
        np.empty((k, each)),
        np.empty((k, each)),
        np.empty((classes, each)),
        np.empty((classes, each)),
    )
    shown, gradient = np.empty_like(w), np.empty_like(w)
    points, longest, largest = classes * each * len(radii), radii.max(), 0.0
    told[0] = -1
    for step in range(steps + 1):
        _show(w, binary, shown)
        gradient[:] = 0.0
        loss, right = 0.0, 0
        for true in range(classes):
            p[:], g[:] = 0.0, 0.0
            for j in range(k):
                for d in range(width):
                    for i in range(each):
                        p[j, i] += shown[j, d] * x[true, d, i]
                for i in range(each):
                    largest = max(largest, abs(p[j, i]) * longest)
            for q in range(len(radii)):
                r, short = radii[q], False
                _outputs(p, r, served, v, top, up, out)
                for i in range(each):
                    label = labels[true * each + i, q]
                    rival = _rival(out, i, label)
                    right += out[true, i] > out[rival if label == true else _rival(out, i, true), i]
                    margin = out[label, i] - out[rival, i]
                    blame[:, i] = 0.0
                    if margin < 1:
                        loss += 1 - margin
                        blame[label, i], blame[rival, i] = -v * r, v * r
                        short = True
                if short:
                    _arrive(p, r, served, blame, kind, low, high, g)
            for j in range(k):
                for d in range(width):
                    total = 0.0
                    for i in range(each):
                        total += g[j, i] * x[true, d, i]
                    gradient[j, d] += total
        told[1], told[2], told[3] = loss / points, right / points, largest
        if loss == 0:
            told[0] = step
        if loss == 0 or step == steps:
            break
        for j in range(k):
            for d in range(width):
                w[j, d] -= step_size * (gradient[j, d] / points)
    told[4] = 1.0 if np.abs(gradient).max() == 0.0 else 0.0
