"""The kernel on the smallest of problems; that it is the oracle's equal is in ``test_classify``."""

import numpy as np
import pytest


def test_two_neurons_on_two_axes_by_hand():
    kernels = pytest.importorskip("coarsegrad.sim.classify_compiled")
    w, told = np.array([[0.5, 0.25], [0.25, 0.5]]), np.zeros(5)
    x = np.array([[[1.0], [0.0]], [[0.0], [1.0]]])  # [class, entry, direction]
    labels = np.array([[[[0]], [[0]]], [[[1]], [[1]]]])  # [class, side, radius, direction]
    fixed = kernels.Fixed(x, np.array([1.0]), labels, np.array([0, 1, 2]), 0.5, 3.0, True, False)
    rows, lists = np.empty((2, 2, 2, 1)), np.empty((2, 2, 2, 2))
    room = kernels.Room(*rows, np.empty((2, 2, 2), np.uint64), *lists, np.empty((2, 2), int))
    # At x the outputs tie (0.5, 0.5), at -x both are 0: every margin is 0. Slopes at x alone.
    kernels.descend(w, fixed, room, 1, 1.0, (0, 0.0, np.inf), False, told)
    assert np.allclose(w, [[0.625, 0.125], [0.125, 0.625]])
    assert told.tolist() == [1, 0, 0.625, -1, 0]
