"""Several threads write what one does; the sum for a trained scale differs by its order."""

import pytest
import torch

from coarsegrad.core import fused
from coarsegrad.core.learned import LSQ
from coarsegrad.core.quantizers import Binary, Uniform
from coarsegrad.core.scales import Scale

pytest.importorskip("numba", reason='the fast path needs Numba: pip install "coarsegrad[fast]"')

SHAPES = ((fused._SHARED + 7,), (5, fused._SHARED // 3 + 5), (640, 215))
QUANTIZERS = (
    Binary(scale=Scale("mean_abs")),
    Uniform(bits=2, scale=Scale("mse", axis=0)),
    LSQ(bits=2, signed=False),
    LSQ(bits=4, scale=Scale("mean_abs", axis=0, learned=True)),
    LSQ(bits=3),
)


def pulled(quantizer, x, values, upstream, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        leaf = x.clone().requires_grad_()
        values = {k: v.clone().requires_grad_(k in quantizer.learned) for k, v in values.items()}
        y = quantizer(leaf * 1, **values)
        y.backward(upstream)
        return y.detach(), leaf.grad, values["scale"].grad
    finally:
        torch.set_num_threads(before)


CASES = [(q, shape) for q in QUANTIZERS for shape in SHAPES if q.scale.axis is None or len(shape) > 1]


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize(("quantizer", "shape"), CASES, ids=str)
def test_any_number_of_threads_gives_the_values_of_one(quantizer, shape, threads):
    generator = torch.Generator().manual_seed(len(shape))
    x, upstream = (torch.randn(shape, generator=generator) for _ in range(2))
    values = quantizer.fit(x)
    one, many = (pulled(quantizer, x, values, upstream, n) for n in (1, threads))
    assert torch.equal(one[0], many[0]) and torch.equal(one[1], many[1])
    assert (one[2] is None) == (many[2] is None)
    if one[2] is not None:
        assert torch.allclose(one[2], many[2], rtol=1e-4, atol=1e-5)


def test_every_part_is_done_where_there_are_fewer_threads_than_parts(monkeypatch):
    from coarsegrad.core import threads

    start, parts = threads.possible() or pytest.skip("no OpenMP of GNU's interface here")
    monkeypatch.setattr(
        threads, "possible", lambda: (lambda f, data, n, flags: start(f, data, 2, flags), parts)
    )
    x = torch.randn(fused._SHARED + 3)
    values = Uniform(bits=2).fit(x)
    one = pulled(Uniform(bits=2), x, values, x, 1)
    many = pulled(Uniform(bits=2), x, values, x, 9)
    assert torch.equal(one[0], many[0]) and torch.equal(one[1], many[1])


def test_the_parts_cover_the_work_once():
    for rows, width in ((1, fused._SHARED * 2 + 9), (7, fused._SHARED), (300, 999)):
        parts = fused._parts(rows, width)
        assert sum(p.rows * p.width for p in parts) == rows * width
        at = 0
        for part in parts:
            assert part.element == at and part.row == (part.element // width if rows > 1 else 0)
            at += part.rows * part.width
