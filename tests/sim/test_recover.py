"""The one call: randomness, threads, mini-batches, errors. The ways have tests of their own."""

from dataclasses import fields, replace

import pytest
import torch

from coarsegrad import sim
from coarsegrad.core.surrogates import HardTanh, Identity, ReLU
from coarsegrad.problem import Problem

PROBLEM = Problem.drawn(m=3, n=8, seed=0, samples=60, noise=0.3, trained="w", weights="binary")
HOW = dict(runs=9, steps=200, step_size=0.1, seed=1, record=(0, 7, 200))


def same(a, b):
    pairs = ((getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


@pytest.mark.parametrize("method", ["events", "matrix_free"])
@pytest.mark.parametrize("memory", [3 * 2**30, 10**6], ids=["all at once", "few at once"])
def test_any_number_of_threads_gives_the_same_bits(method, memory):
    one, two, five = (
        sim.recover(PROBLEM, ReLU(), method=method, threads=k, memory=memory, **HOW) for k in (1, 2, 5)
    )
    assert same(one, two) and same(one, five)


@pytest.mark.parametrize("method", ["direct", "events", "matrix_free"])
def test_a_run_does_not_depend_on_the_others_and_another_seed_differs(method):
    nine = sim.recover(PROBLEM, ReLU(), method=method, **HOW)
    four = sim.recover(PROBLEM, ReLU(), method=method, **(HOW | {"runs": 4}))
    torch.testing.assert_close(nine.w[:4], four.w, rtol=1e-9, atol=1e-9)
    assert torch.equal(nine.at[:4], four.at)
    other = sim.recover(PROBLEM, ReLU(), method=method, **(HOW | {"seed": 2}))
    assert not torch.equal(nine.w, other.w)


def test_the_direct_way_in_groups_that_fit():
    whole, small = (
        sim.recover(PROBLEM, ReLU(), method="direct", memory=memory, **HOW) for memory in (2**30, 10**5)
    )
    assert torch.equal(whole.signs, small.signs) and torch.equal(whole.first, small.first)


def test_a_start_that_is_given_is_taken():
    start = PROBLEM.starts(9, 77)
    found = sim.recover(PROBLEM, ReLU(), start=start, **HOW)
    assert torch.equal(found.signs[0], torch.where(start[1] < 0, -1, 1).to(torch.int8))
    assert (start[1] == PROBLEM.starts(9, 77)[1]).all()  # and is left as it was


def test_mini_batches_see_every_sample_once_an_epoch():
    from coarsegrad.sim.direct import _batches

    chunks = _batches(PROBLEM, 0, 0, 20)
    first, second = (torch.cat([next(chunks) for _ in range(3)]) for _ in range(2))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(60))
    assert first.tolist() != second.tolist()


def test_mini_batches_descend_and_the_full_batch_in_another_order_is_the_full_batch():
    found = sim.recover(PROBLEM, Identity(), batch=20, **HOW)
    assert found.method == "direct" and found.hit.any()
    whole = sim.recover(PROBLEM, ReLU(), batch=60, **HOW)
    plain = sim.recover(PROBLEM, ReLU(), method="direct", **HOW)
    assert torch.equal(whole.signs, plain.signs)


def test_a_clipped_weight_estimator_stops_latents_at_its_window():
    found = sim.recover(PROBLEM, ReLU(), weight=HardTanh(-0.5, 0.5), **HOW)
    assert (found.crossings > 0).any()
    later = sim.recover(PROBLEM, ReLU(), weight=HardTanh(-0.5, 0.5), **(HOW | {"steps": 400}))
    outside = found.w.abs() >= 0.5
    assert torch.equal(later.w[outside], found.w[outside])
    assert not sim.recover(PROBLEM, ReLU(), **HOW).crossings.any()


@pytest.mark.parametrize(
    ("fields", "how", "mend"),
    [
        ({"weights": "float"}, {}, "sim.descend is for float weights"),
        ({"samples": None, "noise": 0.0}, {}, r"needs Problem\(samples=...\)"),
        ({}, {"runs": 0}, "at least 1"),
        ({}, {"steps": 0, "record": ()}, "say steps=1 at least"),
        ({}, {"steps": 2.0}, "is a whole number"),
        ({}, {"step_size": 0.0}, "positive and finite"),
        ({}, {"seed": -1}, "not negative"),
        ({}, {"record": (300,)}, "names steps from 0 to 200"),
        ({}, {"batch": 61}, "from 1 to 60 samples"),
        ({}, {"threads": 0}, "threads=... is a whole number"),
        ({}, {"start": PROBLEM.starts(3, 0)}, "has 3; say as many"),
        ({}, {"start": (torch.ones(9, 3), torch.ones(9, 8))}, "gives the student the teacher's v"),
        ({}, {"memory": 100}, "holds 0"),
    ],
)
def test_bad_input_is_refused_with_the_mend(fields, how, mend):
    problem = Problem.drawn(m=3, n=8, seed=0, **(dict(
        samples=60, noise=0.3, trained="w", weights="binary") | fields))  # fmt: skip
    with pytest.raises(ValueError, match=mend):
        sim.recover(problem, ReLU(), **(HOW | how))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["direct", "events", "matrix_free"])
def test_without_noise_the_residuals_at_the_teacher_are_exactly_0(method, kind):
    problem = Problem.drawn(m=5, n=12, seed=3, samples=200, trained="w", weights="binary", teachers=8)
    problem = replace(problem, v_star=problem.v_star.to(kind), w_star=problem.w_star.to(kind))
    start = problem.v_star, 1e-9 * problem.w_star  # the next step would leave, were there one
    found = sim.recover(problem, ReLU(), runs=8, steps=500, step_size=0.3, seed=0, start=start, method=method)
    assert (found.settled == 0).all() and found.last.all() and (found.at == 500).all()


class Lazy:
    """A law that gives its numbers back, instead of writing them."""

    mean, variance = 0.0, 1.0

    def fill(self, draw, out):
        return draw.standard_normal(out.shape)


@pytest.mark.parametrize("method", ["direct", "events"])
def test_a_law_that_does_not_fill_is_refused(method):
    problem = Problem.drawn(m=2, n=4, seed=0, samples=50, trained="w", weights="binary", inputs=Lazy())
    with pytest.raises(ValueError, match="must write finite numbers into all of out"):
        sim.recover(problem, ReLU(), runs=2, steps=5, step_size=0.3, seed=0, method=method)


@pytest.mark.parametrize("how", [{"surrogate": "relu"}, {"surrogate": ReLU}, {"weight": "hardtanh"}])
def test_what_is_no_surrogate_is_refused(how):
    problem = Problem.drawn(m=2, n=4, seed=0, samples=50, trained="w", weights="binary")
    given = {"surrogate": ReLU(), **how}
    with pytest.raises(ValueError, match="such as ReLU"):
        sim.recover(problem, given.pop("surrogate"), runs=2, steps=5, step_size=0.3, seed=0, **given)
