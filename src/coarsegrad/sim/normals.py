"""Standard normal numbers by counter: number i of a stream is a function of its name and of i alone.

They come in blocks (``gauss``), so parts of a stream can be drawn at the same time, on any number of threads.
With Numba they come sooner, and are the same.
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from coarsegrad.problem.teacher import hashed
from coarsegrad.sim import gauss
from coarsegrad.sim.gauss import BLOCK

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""``map``, or a pool's: the same results in the same order."""
_PIECE = 16 * BLOCK  # numbers that a thread takes at a time


class Normals:
    """The stream of standard normal numbers for one ``purpose`` of one run, named as ``problem.stream``.

    >>> few, many = np.empty(3), np.empty(50_000)
    >>> Normals(0, "data", 3).fill(few)
    >>> Normals(0, "data", 3).fill(many)
    >>> bool((few == many[:3]).all()), round(float(many.std()), 1)
    (True, 1.0)
    """

    def __init__(self, seed: int, purpose: str, number: int):
        self._key = hashed(seed, purpose, number).generate_state(1, np.uint64)[0]
        self.place = 0
        """The counter from which the next numbers come."""

    def fill(self, out: np.ndarray, each: Each = map) -> None:
        """Write the next numbers into ``out``, contiguous, float32 or float64, beginning with a new block."""
        if not out.flags.c_contiguous or out.dtype not in (np.float32, np.float64):
            raise ValueError("Normals.fill needs a C-contiguous array of float32 or float64; copy into it")
        flat, kind = out.reshape(-1), out.dtype
        write = getattr(_way(), "fill32" if kind == np.float32 else "fill64")
        first, key, counters = self.place, self._key, BLOCK * kind.itemsize // 16
        self.place += -(-flat.size // BLOCK) * counters

        def piece(at: int) -> None:
            write(flat[at : at + _PIECE], first + at // BLOCK * counters, key)

        list(each(piece, range(0, flat.size, _PIECE)))


def _way() -> ModuleType:
    if find_spec("numba") is None:
        return gauss
    from coarsegrad.sim import gauss_compiled

    return gauss_compiled
