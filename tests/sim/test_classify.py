"""Three ways to one result, for any surrogate; and the algorithm against one written out by hand."""

import pytest
import torch

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import (
    SURROGATES,
    ReLU,
    ReverseExponential,
)
from coarsegrad.problem.subspaces import Subspaces
from coarsegrad.sim import classify
from coarsegrad.sim.classify import by_autograd, by_hand

LEVELS = (0.0, 1.0, 2.0, 3.0)
SMALL = {"directions": 12, "radii": (1.0, 1.3, 2.0), "neurons": 10}
PROBLEMS = [
    {}, {"classes": 3, "angle": 60.0, "neurons": 11}, {"rounding": "floor", "bits": 1, "v": 0.3},
    {"weights": "binary", "dimension": 12}, {"noise": 0.1, "size": 1},
    {"size": 3, "classes": 4, "neurons": 3},
]  # fmt: skip
several = pytest.mark.parametrize("change", PROBLEMS, ids=str)


class Lopsided(Surrogate):
    """A user's own."""

    def __repr__(self):
        return "Lopsided()"

    def slope(self, x):
        return torch.exp(-(x - 1).square())


ALL = [*(c().over(LEVELS) for c in SURROGATES.values()), Lopsided()]
each = pytest.mark.parametrize("surrogate", ALL, ids=str)


class Whole(Surrogate):
    """A user's own, that looks at all points at once: at what they are, or at what arrives at them."""

    def __init__(self, looks=lambda upstream, x: x.abs().amax(-1, keepdim=True)):
        self.looks = looks

    def pullback(self, upstream, x):
        return upstream * (x > 0) / self.looks(upstream, x)


LOOKS = {
    "the largest": lambda upstream, x: x.abs().amax(-1, keepdim=True),
    "the largest, if it is large": lambda upstream, x: x.abs().amax(-1, keepdim=True).clamp(min=10),
    "the mean upstream of a run": lambda upstream, x: upstream.abs().mean(-1, keepdim=True).clamp(min=1e-12),
    "the mean upstream": lambda upstream, x: upstream.abs().mean().clamp(min=1e-12),
    "how many upstreams are not 0": lambda upstream, x: (upstream != 0).sum(-1, keepdim=True).clamp(min=1),
    "the largest upstream": lambda upstream, x: upstream.abs().amax().clamp(min=1e-12),
}


@each
@several
def test_the_gradient_by_hand_is_that_of_autograd_through_core(surrogate, change):
    problem = Subspaces(**{**SMALL, **change})
    w = problem.starts(3, seed=4)
    for found, said in zip(*(g(problem, surrogate, w) for g in (by_hand, by_autograd)), strict=True):
        torch.testing.assert_close(found, said, rtol=1e-11, atol=1e-13)


@each
@several
def test_the_three_ways_end_alike(surrogate, change, need):
    need(_numba(), "Numba", "pip install coarsegrad[fast]")
    problem = Subspaces(**{**SMALL, **change})
    ways = [
        classify(problem, surrogate, runs=3, steps=25, step_size=0.5, seed=1, method=method, memory=1)
        for method in ("compiled", "batched", "direct")
    ]
    assert [way.method for way in ways] == ["compiled", "batched", "direct"]
    for other in ways[1:]:
        assert torch.equal(ways[0].steps, other.steps) and torch.equal(ways[0].still, other.still)
        for name in ("w", "loss", "accuracy", "largest"):
            torch.testing.assert_close(getattr(ways[0], name), getattr(other, name), rtol=1e-9, atol=1e-10)


def _numba():
    from importlib.util import find_spec

    return find_spec("numba")


def test_a_step_is_the_formula_of_the_paper():
    problem = Subspaces(classes=3, angle=70.0, neurons=6, directions=8, radii=(1.0, 1.7))
    (w,), total, loss = problem.starts(1, seed=0), 0.0, 0.0
    total = torch.zeros_like(w)
    v = torch.zeros(3, 6).double()
    v[problem.served, torch.arange(6)] = 0.5
    for direction, truth in zip(problem.x, problem.true.tolist(), strict=True):
        for radius in problem.radii:
            x = radius * direction
            h = w @ x
            o = v @ h.ceil().clamp(0, 3)
            rival = max((i for i in range(3) if i != truth), key=lambda i: o[i].item())
            short = max(0.0, 1 - (o[truth] - o[rival]).item())
            loss += short
            if short > 0:
                total += torch.outer(-(v[truth] - v[rival]) * (h > 0), x)
    found = classify(problem, ReLU(), runs=1, steps=1, step_size=0.7, seed=0, method="direct")
    torch.testing.assert_close(found.w[0], w - 0.7 * total / problem.points)
    before = classify(problem, ReLU(), runs=1, steps=0, step_size=0.7, seed=0)
    assert before.loss.item() == pytest.approx(loss / problem.points)


@pytest.mark.parametrize("looks", LOOKS)
def test_a_slope_that_looks_at_all_points_at_once_takes_another_way(looks):
    problem, surrogate = Subspaces(**SMALL), Whole(LOOKS[looks])
    ways = [
        classify(problem, surrogate, runs=2, steps=9, step_size=1.0, seed=0, method=method)
        for method in ("auto", "direct")
    ]
    assert [way.method for way in ways] == ["batched", "direct"]
    if looks not in ("the mean upstream", "the largest upstream"):  # of all runs, however they lie
        torch.testing.assert_close(ways[0].w, ways[1].w)


@pytest.mark.parametrize("surrogate", [ReLU(), ReverseExponential(3.0), Lopsided()], ids=str)
def test_the_number_of_threads_and_the_runs_beside_it_change_no_bit(surrogate, need):
    need(_numba(), "Numba", "pip install coarsegrad[fast]")
    problem = Subspaces(**SMALL)

    def ends(runs, threads):
        return classify(
            problem, surrogate, runs=runs, steps=30, step_size=1.0, seed=2, method="compiled", threads=threads
        ).w

    one = ends(40, 1)
    assert torch.equal(one, ends(40, 2)) and torch.equal(one, ends(40, 7))
    assert torch.equal(one[:5], ends(5, 2))


def test_it_stops_at_zero_loss_and_says_when():
    problem = Subspaces()
    found = classify(problem, ReLU(), runs=4, steps=1000, step_size=1.0, seed=0)
    assert found.solved.all() and (found.loss == 0).all() and (found.accuracy == 1).all()
    run = int(found.steps.argmin())
    first = int(found.steps[run])
    again = classify(problem, ReLU(), runs=4, steps=first, step_size=1.0, seed=0)
    assert again.steps[run] == first and int((again.steps >= 0).sum()) >= 1
    assert not classify(problem, ReLU(), runs=4, steps=first - 1, step_size=1.0, seed=0).solved.any()
    assert torch.equal(
        classify(problem, ReLU(), runs=4, steps=5, step_size=1.0, seed=0, start=found.w).w, found.w
    )


def test_what_no_neuron_sees_stays_as_it_is():
    problem = Subspaces(**SMALL)
    start = problem.without(problem.starts(3, 0), 1)
    found = classify(problem, ReLU(), runs=3, steps=400, step_size=1.0, seed=0, start=start)
    assert problem.projected(found.w)[..., 1, :].abs().max() == 0
    assert (found.loss >= 0.5).all() and not found.solved.any()


def test_the_largest_pre_activation_and_standing_still_are_told():
    problem = Subspaces(**SMALL)
    w = problem.starts(2, 0)
    found = classify(problem, ReLU(), runs=2, steps=0, step_size=1.0, seed=0)
    h = torch.einsum("rkd,xd->rkx", w, problem.x).abs().flatten(1).amax(-1) * 2.0
    torch.testing.assert_close(found.largest, h)
    dead = classify(problem, ReLU(), runs=2, steps=3, step_size=1.0, seed=0, start=torch.zeros_like(w))
    assert dead.still.all() and (dead.loss == 1).all() and not found.still.any()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "fast"}, "known"), ({"steps": -1}, "steps"), ({"step_size": 0.0}, "positive"),
        ({"start": torch.zeros(2, 3, 4)}, "problem.starts"), ({"runs": 0}, "runs"),
        ({"runs": 2.0}, "runs"), ({"start": [[0.0]]}, "problem.starts"),
        ({"surrogate": Whole(), "method": "compiled"}, "batched"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_the_mend(change, says):
    given = {"surrogate": ReLU(), "runs": 2, "steps": 1, "step_size": 1.0, "seed": 0, **change}
    with pytest.raises(ValueError, match=says):
        classify(Subspaces(**SMALL), **given)
