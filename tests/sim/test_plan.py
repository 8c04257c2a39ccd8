"""Which way is taken, why, in what memory; and what is refused before it starts."""

import subprocess
import sys
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


def planned(problem, surrogate=None, steps=50, **how):
    return sim.plan(problem, surrogate or ReLU(), steps=steps, **how)


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


@pytest.mark.parametrize("steps", [50, 10**4, 10**6])
@pytest.mark.parametrize("method", ["direct", "events", "matrix_free", "auto"])
def test_what_the_refusal_offers_fits(method, steps):
    problem, memory = large(samples=10**6), 2**26
    with pytest.raises(ValueError, match="at most") as refusal:
        planned(problem, method=method, memory=memory, steps=steps)
    offered = int(str(refusal.value).split("samples=")[-1].split()[0])
    assert offered > 0
    fewer = replace(problem, samples=offered)
    assert planned(fewer, method=method, memory=memory, steps=steps).size <= memory
    asked = int(str(refusal.value).split("say memory=")[-1].split()[0])
    assert planned(problem, method=method, memory=asked, steps=steps).size <= asked


def test_where_no_sample_fits_none_is_offered():
    with pytest.raises(ValueError, match=r"memory=1000 holds 0; say memory=[0-9]+$"):
        planned(SMALL, memory=1000)


@pytest.mark.parametrize(
    "how", [{"record": 1000}, {"batch": 5, "method": "direct"}, {"surrogate": Sigmoid(), "method": "events"}]
)
def test_what_takes_more_memory_is_counted(how):
    less = {key: value for key, value in how.items() if key == "method"}
    assert planned(SMALL, **how).size > planned(SMALL, **less).size


MEMORY_CODE = """
import resource, sys, torch
from coarsegrad import sim
from coarsegrad.core.surrogates import ReLU, Sigmoid
from coarsegrad.problem import Problem
from coarsegrad.problem.features import Bimodal
from coarsegrad.problem.normalized import Normalized
from coarsegrad.problem.laws import Exponential
inputs = {"bimodal": Bimodal(), "whitened": Normalized(Exponential(), "whitening")}.get(sys.argv[1])
more = {"inputs": inputs} if inputs else {}
surrogate = Sigmoid() if sys.argv[1] == "sigmoid" else ReLU()
def run(samples, **how):
    problem = Problem.drawn(m=4, n=40, seed=0, samples=samples, weights="binary", trained="w", **more)
    how = {"runs": 1, "steps": 20, "step_size": 0.3, "seed": 0, "threads": 1, **how}
    found = sim.recover(problem, surrogate, **how)
    return sim.plan(problem, surrogate, steps=20, record=len(how.get("record", ())),
                    **{k: v for k, v in how.items() if k in ("method", "batch")}).size
method = {"direct": "direct", "free": "matrix_free"}.get(sys.argv[1], "events")
run(300, method=method)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
planned = run(150_000, method=method)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / planned)
"""


@pytest.mark.parametrize("what", ["standard", "bimodal", "whitened", "sigmoid", "direct", "free"])
def test_no_more_memory_is_taken_than_was_planned(what):
    command = [sys.executable, "-c", MEMORY_CODE, what]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(told) < 1.15
