"""The kernels at their edges: widths no multiple of 16, one row and many, the untouched rest of memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason='the fast path needs Numba: pip install "coarsegrad[fast]"')

from coarsegrad.core import kernels

GRID = (-2.0, 1.0, False, -2.0, 1.0)


def address(array):
    return np.uint64(array.ctypes.data)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("width", [1, 15, 16, 17, 31, 32, 16 * 1024 + 5, 16 * 2048 + 1])
def test_forward_and_backward_equal_numpy_and_touch_nothing_else(rows, width):
    rng = np.random.default_rng(rows * width)
    x, upstream = (rng.standard_normal((rows, width)).astype(np.float32) for _ in range(2))
    scales = rng.uniform(0.1, 2.0, rows).astype(np.float32)
    y, gradient = (np.full(rows * width + 1, 7.0, np.float32) for _ in range(2))
    mask = np.full(rows * (-(-width // 16)) + 1, 0x5A5A, np.uint16)
    kernels.forward(address(x), address(y), address(mask), address(scales), rows, width, *GRID)
    kernels.backward(address(upstream), address(gradient), address(mask), rows, width)
    u = x / scales[:, None]
    assert np.array_equal(
        y[:-1].reshape(rows, width), np.clip(np.rint(u), -2, 1).astype(np.float32) * scales[:, None]
    )
    assert np.array_equal(gradient[:-1].reshape(rows, width), np.where((u > -2) & (u < 1), upstream, 0))
    assert (y[-1], gradient[-1], mask[-1]) == (7.0, 7.0, 0x5A5A)


@pytest.mark.parametrize("width", [5, 16, 16 * 1024 * 3 + 7])
def test_learned_sums_equal_numpy_in_double(width):
    rng = np.random.default_rng(width)
    x, upstream = (rng.standard_normal((2, width)).astype(np.float32) for _ in range(2))
    scales = np.array([0.5, 1.25], np.float32)
    gradient, total = np.empty_like(x), np.zeros(2)
    kernels.backward_learned(
        address(upstream), address(gradient), address(x), address(scales), address(total), 2, width, *GRID
    )
    u = (x / scales[:, None]).astype(np.float64)
    passed = np.where((u > -2) & (u < 1), upstream, 0).astype(np.float64)
    expected = (upstream * np.clip(np.rint(u), -2, 1) - passed * u).sum(1)
    assert np.allclose(total, expected, rtol=1e-4, atol=1e-3 * np.sqrt(width))


def test_sign_of_zero_is_plus_one():
    x = np.array([0.0, -0.0, 1e-40, -1e-40], np.float32)
    y = np.empty_like(x)
    kernels.forward(
        address(x), address(y), 0, address(np.ones(1, np.float32)), 1, 4, -1.0, 1.0, True, -1.0, 1.0
    )
    assert y.tolist() == [1.0, 1.0, 1.0, -1.0]


AGAINST_A_HOSTILE_HEAP = """
import threading, torch
torch.set_num_threads(1)
from coarsegrad.core import fused
from coarsegrad.core.learned import LSQ
from coarsegrad.core.scales import Scale

x = torch.randn(8, 1003)
quantizers = (LSQ(bits=2, scale=Scale("mse", axis=0, learned=True)), LSQ(bits=2, signed=False))

def pulled(q):
    w = x.clone().requires_grad_()
    s = (torch.full((8, 1), 0.7) if q.scale.axis == 0 else torch.tensor(0.7)).requires_grad_()
    (q(w * 1, scale=s) * x.cos()).sum().backward()
    return w.grad, s.grad

def check():
    for _ in range(50):
        for q, (gradient, total) in zip(quantizers, expected):
            got = pulled(q)
            assert torch.equal(got[0], gradient), "gradient"
            assert (got[1] - total).abs().max() < 1e-2 * total.abs().max() + 1e-3, "scale"
    passed.append(1)

with fused.off():
    expected = [pulled(q) for q in quantizers]
passed = []
threads = [threading.Thread(target=check) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert len(passed) == 4
"""


def test_scratch_memory_outlives_its_use_in_many_threads_on_a_heap_that_reuses_at_once():
    heap = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1", "MALLOC_PERTURB_": "77"}
    source = str(Path(kernels.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", AGAINST_A_HOSTILE_HEAP],
        env={**os.environ, **heap, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
