"""Batch norm before the threshold: forward, backward, and the fast way against the direct one."""

import math
from dataclasses import replace

import pytest
import torch

from coarsegrad import sim, theory
from coarsegrad.core.surrogates import ClippedReLU, Identity, ReLU, Sigmoid
from coarsegrad.problem import Problem
from coarsegrad.problem.laws import Exponential, Gaussian
from coarsegrad.sim.batch_norm import BatchNormed
from coarsegrad.sim.hidden import before, step
from coarsegrad.sim.samples import samples

EPS = 1e-5
SURROGATES = (ReLU(), Identity(), ClippedReLU(), Sigmoid())
PROBLEM = Problem.drawn(
    m=3, n=6, seed=0, samples=60, teachers=4, trained="w", weights="binary", inputs=Exponential(),
    batch_norm=True,
)  # fmt: skip


def by_hand(v, w, labels, z, surrogate):
    """The coarse gradient, the backward pass of the batch norm written out."""
    x = z @ w
    scale = (x.var(correction=0) + EPS).sqrt()
    y = (x - x.mean()) / scale
    rest = (y > 0).double() @ v - labels
    g = rest[:, None] * v * surrogate.slope(y) / len(z)
    g = (g - g.mean() - y * (g * y).mean()) / scale
    return torch.einsum("kmn,km->n", z, g)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: s.name)
def test_the_gradient_goes_through_both_statistics(surrogate):
    z, labels = samples(PROBLEM.some(slice(2)), 3, range(2))
    v, u = (t[:2] for t in PROBLEM.starts(4, 3))
    w = PROBLEM.shown(u)
    found = step(v, w, labels, z, surrogate, batch_norm=True)[2]
    for run in range(2):
        expected = by_hand(v[run], w[run], labels[run], z[run], surrogate)
        torch.testing.assert_close(found[run], expected, rtol=1e-9, atol=1e-12)
        own = replace(PROBLEM, v_star=PROBLEM.v_star[run], w_star=PROBLEM.w_star[run])
        source = BatchNormed(own, surrogate, 3, run, z[run].numpy().copy())
        alone = torch.from_numpy(source.value((u[run] < 0).numpy()))
        torch.testing.assert_close(alone, expected, rtol=1e-9, atol=1e-12)
        assert abs(float(alone @ w[run])) < 1e-4 * float(alone.norm())  # a longer w changes nothing (but eps)


def test_what_the_threshold_sees_is_torchs_batch_norm_in_training():
    z, _ = samples(PROBLEM.some(slice(3)), 1, range(3))
    w = PROBLEM.w_star[:3]
    layer = torch.nn.BatchNorm1d(1, affine=False, track_running_stats=False).double()
    for run, found in enumerate(before(w, z, batch_norm=True)):
        torch.testing.assert_close(found, layer((z[run] @ w[run]).reshape(-1, 1)).reshape(found.shape))
    assert torch.equal(before(w[0], z[0]), torch.einsum("kmn,n->km", z[0], w[0]))


def test_the_forward_pass_is_that_of_centred_features():
    z, labels = samples(PROBLEM.some(slice(2)), 1, range(2))
    moved = z - z.mean((1, 2), keepdim=True)
    w = PROBLEM.shown(PROBLEM.starts(4, 9)[1][:2])
    assert torch.equal(before(w, z, batch_norm=True) > 0, before(w, moved) > 0)
    expected = (torch.einsum("rkmn,rn->rkm", moved, PROBLEM.w_star[:2]) > 0).double()
    torch.testing.assert_close(labels, torch.einsum("rkm,rm->rk", expected, PROBLEM.v_star[:2]))


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: s.name)
def test_both_ways_make_the_same_steps(surrogate, noise):
    problem = replace(PROBLEM, noise=noise)
    how = dict(runs=4, steps=80, step_size=0.3, seed=5, record=range(81))
    slow, fast = (sim.recover(problem, surrogate, method=method, **how) for method in ("direct", "events"))
    assert torch.equal(slow.signs, fast.signs) and torch.equal(slow.first, fast.first)
    torch.testing.assert_close(slow.w, fast.w, rtol=1e-9, atol=1e-9)
    assert torch.equal(slow.settled, fast.settled) and (fast.gradients <= slow.gradients).all()


def test_the_teacher_is_absorbing():
    start = PROBLEM.v_star, PROBLEM.w_star
    found = sim.recover(PROBLEM, ReLU(), runs=4, steps=5, step_size=1.0, seed=2, start=start)
    assert found.settled.tolist() == [0] * 4 and found.method == "events"
    torch.testing.assert_close(found.w, PROBLEM.w_star)


@pytest.mark.parametrize(
    ("more", "how", "why"),
    [
        ({"trained": "both"}, {}, "fixed v with batch norm"),
        ({}, {"batch": 10}, "mini-batches"),
    ],
)
def test_what_the_fast_way_cannot_the_direct_way_does(more, how, why):
    found = sim.recover(replace(PROBLEM, **more), ReLU(), runs=4, steps=3, step_size=0.1, seed=0, **how)
    assert found.method == "direct" and why in found.why


def test_what_has_no_batch_norm_says_so():
    problem = replace(PROBLEM, inputs=Gaussian())
    with pytest.raises(ValueError, match=r"matrix_free.*has no batch norm"):
        sim.recover(problem, ReLU(), runs=4, steps=3, step_size=0.1, seed=0, method="matrix_free")
    with pytest.raises(ValueError, match="needs two rows of samples"):
        Problem.drawn(m=3, n=4, seed=0, batch_norm=True)
    with pytest.raises(ValueError, match="needs two rows of samples"):
        Problem.drawn(m=1, n=4, seed=0, batch_norm=True, samples=1)
    problem = Problem.drawn(m=2, n=4, seed=0, batch_norm=True, samples=9)
    with pytest.raises(ValueError, match=r"knows no batch norm; sim\.descend"):
        theory.descend(problem, ReLU(), start=problem.starts(1, 0), steps=2, step_size=0.1)


def test_float_weights_descend_through_it():
    problem = Problem.drawn(m=2, n=4, seed=0, batch_norm=True, samples=500, inputs=Exponential())
    end = sim.descend(problem, ReLU(), runs=2, steps=60, step_size=0.5, seed=0)
    assert (end.loss[1] < end.loss[0]).all() and math.isfinite(float(end.loss.sum()))
