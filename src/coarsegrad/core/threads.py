"""The kernels on torch's own threads.

libtorch is linked with an OpenMP library; where that speaks GNU's interface, parts of a kernel's work run in
the very pool that torch's operations use, so that nobody competes for a core.
"""

import ctypes
import functools
import struct
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numba import cfunc, njit, types
from torch import _C

from coarsegrad.core.kernels import (
    backward,
    backward_learned,
    backward_residual,
    forward,
    forward_residual,
    get_f4,
    get_u8,
)


def _openmp() -> tuple[Any, Any, Any]:
    library = ctypes.CDLL(str(Path(_C.__file__).parent / "lib" / "libtorch_cpu.so"))
    start, number, count = library.GOMP_parallel, library.omp_get_thread_num, library.omp_get_num_threads
    start.argtypes, start.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    number.argtypes, number.restype, count.argtypes, count.restype = (), ctypes.c_int, (), ctypes.c_int
    return start, number, count


_TASK = struct.Struct("7Q5f4x")  # addresses and counts, then the grid


@njit(inline="always")
def _whole(task, i):
    return get_u8(task + np.uint64(8 * i))


@njit(inline="always")
def _real(task, i):
    return get_f4(task + np.uint64(56 + 4 * i))


def _parts() -> dict[Any, Any]:
    """For each kernel the function that OpenMP runs in every thread, on a packed list of tasks."""
    _, number, count = _openmp()

    @njit
    def mine(tasks):
        """The numbers of this thread's tasks; there may be fewer threads than tasks."""
        return range(np.int64(number()), np.int64(get_u8(tasks)), np.int64(count()))

    @njit(inline="always")
    def task(tasks, i):
        return tasks + np.uint64(8) + np.uint64(80) * np.uint64(i)

    @njit(inline="always")
    def grid(t):
        return _real(t, 0), _real(t, 1), _real(t, 2) != np.float32(0), _real(t, 3), _real(t, 4)

    @cfunc(types.void(types.uint64))
    def forwards(tasks):
        for i in mine(tasks):
            t = task(tasks, i)
            forward(
                _whole(t, 0), _whole(t, 1), _whole(t, 2), _whole(t, 3), _whole(t, 4), _whole(t, 5), *grid(t)
            )

    @cfunc(types.void(types.uint64))
    def forward_residuals(tasks):
        for i in mine(tasks):
            t = task(tasks, i)
            forward_residual(_whole(t, 0), _whole(t, 1), _whole(t, 2), _whole(t, 3), _whole(t, 4), *grid(t))

    @cfunc(types.void(types.uint64))
    def backwards(tasks):
        for i in mine(tasks):
            t = task(tasks, i)
            backward(_whole(t, 0), _whole(t, 1), _whole(t, 2), _whole(t, 3), _whole(t, 4))

    @cfunc(types.void(types.uint64))
    def backward_residuals(tasks):
        for i in mine(tasks):
            t = task(tasks, i)
            low, high = _real(t, 0), _real(t, 1)
            backward_residual(_whole(t, 0), _whole(t, 1), _whole(t, 2), _whole(t, 3), _whole(t, 4), low, high)

    @cfunc(types.void(types.uint64))
    def backwards_learned(tasks):
        for i in mine(tasks):
            t = task(tasks, i)
            backward_learned(
                _whole(t, 0), _whole(t, 1), _whole(t, 2), _whole(t, 3), _whole(t, 4), _whole(t, 5),
                _whole(t, 6), *grid(t),
            )  # fmt: skip

    return {
        forward: forwards,
        forward_residual: forward_residuals,
        backward: backwards,
        backward_residual: backward_residuals,
        backward_learned: backwards_learned,
    }


@functools.cache
def possible() -> tuple[Any, dict[Any, Any]] | None:
    """What starts OpenMP's threads, and each kernel's parts; None on a system where that cannot be."""
    try:
        return _openmp()[0], _parts()
    except (OSError, AttributeError):
        return None


def run(kernel: Any, tasks: list[tuple[int, ...]], grid: tuple[float, ...] = ()) -> None:
    """The kernel on each task (its addresses and counts), one thread each.

    The team is always torch's own: a smaller one would end threads that the next operation makes anew.
    """
    if len(tasks) == 1:
        kernel(*tasks[0], *grid)
        return
    start, parts = cast(Any, possible())
    reals = (*grid, *(0.0,) * (5 - len(grid)))
    packed = [_TASK.pack(*task, *(0,) * (7 - len(task)), *reals) for task in tasks]
    data = ctypes.create_string_buffer(b"".join((struct.pack("Q", len(tasks)), *packed)))
    start(parts[kernel].address, ctypes.addressof(data), torch.get_num_threads(), 0)
