"""Which way is taken, why, in what memory; and what is refused before it starts."""

from dataclasses import replace

import pytest
import torch

from coarsegrad import sim
from coarsegrad.core.quantizers import QuantizedReLU
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogates import EWGS, ReLU, Sigmoid
from coarsegrad.problem import Problem
from coarsegrad.problem.laws import Laplace

SMALL = Problem.drawn(m=2, n=8, seed=0, samples=100, trained="w", weights="binary")


def large(n=1000, samples=10**6):
    w = torch.full((n,), 1.0, dtype=torch.double) / n**0.5
    return Problem(torch.ones(4).double(), w, samples=samples, trained="w", weights="binary")


def planned(problem, surrogate=None, steps=50, weight=None, batch=None, method="auto", memory=3 * 2**30):
    return sim.plan(
        problem, surrogate or ReLU(), steps=steps, weight=weight, batch=batch, method=method,
        memory=memory,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "how", "method", "why"),
    [
        (SMALL, {}, "events", "less work"),
        (SMALL, {"batch": 10}, "direct", "mini-batches"),
        (SMALL, {"weight": Sigmoid()}, "direct", "slope 1 in a window"),
        (replace(SMALL, activation=QuantizedReLU(scale=Scale("one"))), {}, "direct", "for the threshold"),
        (replace(SMALL, trained="both"), {"surrogate": EWGS()}, "direct", "linear in v"),
        (replace(SMALL, batch_norm=True), {}, "events", "matrix_free has no batch norm"),
        (replace(SMALL, batch_norm=True, trained="both"), {}, "direct", "fixed v with batch norm"),
        (replace(SMALL, trained="both"), {"surrogate": Sigmoid()}, "events", "matrix_free is for a fixed v"),
        (replace(SMALL, inputs=Laplace()), {}, "events", "standard normal"),
        (large(), {}, "matrix_free", "the data do not fit; room for"),
        (large(samples=16_000), {"steps": 120}, "matrix_free", "122 directions cover every step"),
        (large(samples=1000), {"steps": 10_000}, "events", "less work"),
    ],
)
def test_auto_takes_the_fastest_that_applies_and_says_why(problem, how, method, why):
    found = planned(problem, **how)
    assert found.method == method and why in found.why
    assert 0 < found.size <= 3 * 2**30


def test_without_numba_the_direct_way_is_taken(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    found = planned(SMALL)
    assert found.method == "direct" and "pip install 'coarsegrad[fast]'" in found.why
    with pytest.raises(ValueError, match="pip install 'coarsegrad"):
        planned(SMALL, method="events")


@pytest.mark.parametrize(
    ("problem", "how", "mend"),
    [
        (SMALL, {"method": "evnts"}, "known: auto, direct, events, matrix_free"),
        (SMALL, {"method": "events", "batch": 5}, 'full batch.*use method="auto"'),
        (replace(SMALL, trained="both"), {"method": "matrix_free"}, "for a fixed v"),
        (replace(SMALL, trained="both"), {"method": "events", "surrogate": EWGS()}, "linear in v"),
        (replace(SMALL, inputs=Laplace()), {"method": "matrix_free"}, "is for standard normal inputs"),
        (large(), {"method": "events"}, "samples=[0-9]+ at most"),
        (replace(large(), inputs=Laplace()), {}, "need 37.* GiB a run"),
        (large(samples=10**8), {}, 'method="matrix_free" .*memory=[0-9]+ or samples=[0-9]+ at most'),
        (SMALL, {"memory": 1000}, "memory=1000 holds 0"),
        (SMALL, {"memory": float("inf")}, "is a number of bytes"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(problem, how, mend):
    with pytest.raises(ValueError, match=mend):
        planned(problem, **how)


@pytest.mark.parametrize("method", ["direct", "events", "matrix_free"])
def test_what_the_refusal_offers_fits(method):
    problem, memory = large(samples=10**6), 2**26
    with pytest.raises(ValueError, match="at most") as refusal:
        planned(problem, method=method, memory=memory)
    offered = int(str(refusal.value).split("samples=")[-1].split()[0])
    assert offered > 0
    assert planned(replace(problem, samples=offered), method=method, memory=memory).size <= memory
    asked = int(str(refusal.value).split("say memory=")[-1].split()[0])
    assert planned(problem, method=method, memory=asked).size <= asked
