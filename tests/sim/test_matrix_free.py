"""Images of a matrix that is never drawn: their algebra exactly, joint law and outcomes statistically.

Seeds are fixed. All comparisons of a test together raise a false alarm with a probability below 1e-5.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from coarsegrad import sim
from coarsegrad.core.surrogates import HardTanh, Identity, ReLU, Sigmoid
from coarsegrad.problem import Problem
from coarsegrad.sim.matrix_free import Deferred
from coarsegrad.sim.normals import Normals

FALSE_ALARM = 1e-5


def deferred(rows=30, n=6, most=100, seed=0, **more):
    return Deferred(rows, n, most=most, draw=Normals(seed, "data", 0), **more)


def test_images_are_those_of_one_matrix_also_beyond_its_rank():
    z, draw, seen = deferred(), np.random.default_rng(1), []
    for _ in range(50):
        w, c = draw.standard_normal(6), draw.standard_normal(30)
        seen.append((w, z.forward(w), c, z.backward(c)))
    assert (z.seen, z.sent) == (6, 30)  # then all is decided
    matrix = np.stack([z.forward(w) for w in np.eye(6)], 1)
    for w, image, c, back in seen:
        np.testing.assert_allclose(matrix @ w, image, atol=1e-12)
        np.testing.assert_allclose(matrix.T @ c, back, atol=1e-12)


def test_nothing_fresh_is_drawn_inside_the_span():
    z, draw = deferred(n=40), np.random.default_rng(1)
    w, a, b = draw.standard_normal((3, 40))
    images = [z.forward(x) for x in (w, w + a, w + b)]
    state = z.draw.place
    np.testing.assert_allclose(z.forward(w + a + b), images[1] + images[2] - images[0], atol=1e-12)
    c = draw.standard_normal((2, 30))
    first = [z.backward(x) for x in c]
    assert (z.seen, z.sent) == (3, 2) and z.draw.place != state
    state = z.draw.place
    np.testing.assert_allclose(z.backward(c[0] - 2 * c[1]), first[0] - 2 * first[1], atol=1e-12)
    assert (z.seen, z.sent) == (3, 2) and z.draw.place == state


def test_almost_equal_directions_keep_the_images_consistent():
    z, draw = deferred(rows=400, n=50), np.random.default_rng(1)
    w, c = draw.standard_normal(50), draw.standard_normal(400)
    for _ in range(30):
        w, c = w + 1e-6 * draw.standard_normal(50), c + 1e-6 * draw.standard_normal(400)
        assert abs(z.forward(w) @ c - z.backward(c) @ w) < 1e-10
    p = z.p[: z.sent]
    np.testing.assert_allclose(p @ p.T, np.eye(len(p)), atol=1e-10)


def test_a_full_memory_is_said():
    z = deferred(most=2)
    images = [z.forward(w) for w in np.eye(6)[:3]]
    assert [image is None for image in images] == [False, False, True]
    assert [z.backward(c) is None for c in np.eye(30)[:3]] == [False, False, True]
    assert np.array_equal(z.forward(np.eye(6)[0]), images[0])


def test_chunks_and_threads_leave_the_images_as_they_are(monkeypatch):
    whole = deferred(rows=100)
    monkeypatch.setattr("coarsegrad.sim.matrix_free._CHUNK", 7)
    parts, w, c = deferred(rows=100), np.arange(6.0), np.arange(100.0)
    for z in (whole, parts):
        z.forward(np.ones(6)), z.backward(np.ones(100))
    np.testing.assert_allclose(whole.forward(w), parts.forward(w), atol=1e-12)
    np.testing.assert_allclose(whole.backward(c), parts.backward(c), atol=1e-10)


def test_joint_moments_are_those_of_a_drawn_matrix():
    """Means and all products of pairs of everything seen by an adaptive sequence of images."""
    rows, n, repeats = 4, 3, 20_000
    draw = np.random.default_rng(0)

    def look(forward, backward):
        w = np.array([1.0, 0.0, 0.0])
        x = forward(w)
        c = np.where(x > 0, x, 0.5)
        g = backward(c)
        w = np.where(w - 0.3 * g < 0, -1.0, 1.0)  # depends on what was seen
        y = forward(w)
        return np.concatenate([x, g, y, backward(np.where(y > 0, 1.0, -0.2))])

    def stored(_):
        z = draw.standard_normal((rows, n))
        return look(lambda w: z @ w, lambda c: z.T @ c)

    def free(k):
        z = Deferred(rows, n, most=4, draw=Normals(1, "data", k))
        return look(z.forward, z.backward)

    found = [np.stack([seen(k) for k in range(repeats)]) for seen in (stored, free)]
    upper = np.triu_indices(found[0].shape[1])
    a, b = (np.concatenate([s, (s[:, :, None] * s[:, None, :])[:, *upper]], 1) for s in found)
    score = abs(a.mean(0) - b.mean(0)) / np.sqrt((a.var(0) + b.var(0)) / repeats)
    threshold = stats.norm.isf(FALSE_ALARM / 2 / len(score))
    print(f"{len(score)} comparisons, |z| at most {score.max():.2f}, allowed {threshold:.2f}")
    assert score.max() < threshold


@pytest.mark.parametrize(
    ("surrogate", "n", "samples", "noise", "weight"),
    [
        (ReLU(), 10, 25, 0.0, None),
        (Identity(), 12, 16, 0.0, None),
        (Sigmoid(), 10, 20, 0.0, None),
        (ReLU(), 8, 100, 0.5, None),
        (ReLU(), 10, 30, 0.2, HardTanh(-0.8, 0.8)),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_outcomes_are_distributed_as_with_stored_data(surrogate, n, samples, noise, weight):
    runs, problem = 500, Problem.drawn(
        m=4, n=n, seed=1, samples=samples, noise=noise, trained="w", weights="binary", teachers=500
    )  # fmt: skip
    stored, free = (
        sim.recover(
            problem, surrogate, runs=runs, steps=100, step_size=0.1, seed=seed, weight=weight, method=method,
        )
        for method, seed in (("events", 0), ("matrix_free", 1))
    )  # fmt: skip
    assert not free.capped.any()
    for name in ("last", "ergodic", "hit"):
        k = [int(getattr(r, name).sum()) for r in (stored, free)]
        p = stats.fisher_exact([k, [runs - x for x in k]]).pvalue
        print(f"{name}: {k} of {runs}, p = {p:.3f}")
        assert p > FALSE_ALARM / 35
    for name in ("first", "at", "changes", "wrong"):
        p = stats.mannwhitneyu(*(getattr(r, name).numpy() for r in (stored, free))).pvalue
        assert p > FALSE_ALARM / 35, name


def test_the_teacher_is_absorbing_and_its_image_is_kept():
    problem = Problem.drawn(m=4, n=20, seed=1, samples=400, trained="w", weights="binary", teachers=20)
    found = sim.recover(
        problem, ReLU(), runs=20, steps=500, step_size=0.1, seed=0, method="matrix_free", record=(0, 500)
    )
    hit = found.hit
    assert hit.sum() > 15 and (found.last == hit).all()
    assert (found.visits[hit] == 1).all() and (found.settled[hit] == found.first[hit]).all()


def test_a_run_that_fills_the_memory_is_cut_short_and_says_so():
    problem = Problem.drawn(m=4, n=30, seed=1, samples=90, trained="w", weights="binary", teachers=6)
    how = dict(runs=6, steps=400, step_size=0.3, seed=0, method="matrix_free", record=(0, 400))
    found = sim.recover(problem, ReLU(), memory=250_000, **how)
    cut = found.capped
    assert 0 < cut.sum() < 6 and (found.ran[~cut] == 400).all() and not found.signs[1, cut].any()
    assert f"{int(cut.sum())} of 6 runs ended where memory did" in found.why
    whole = sim.recover(problem, ReLU(), **how)
    assert not whole.capped.any() and (whole.gradients >= found.gradients)[cut].all()


def test_in_single_precision_the_images_stay_those_of_one_matrix():
    z, draw = deferred(rows=20_000, n=60, kind=np.float32), np.random.default_rng(1)
    w, c = draw.standard_normal(60), draw.standard_normal(20_000).astype(np.float32)
    for _ in range(60):
        w, c = (
            w + 0.05 * draw.standard_normal(60),
            c + np.float32(0.05) * draw.standard_normal(20_000, np.float32),
        )
        x, g = z.forward(w), z.backward(c)
        assert abs(x @ c - g @ w) < 1e-5 * np.linalg.norm(x) * np.linalg.norm(c)
    p, f = z.p[: z.sent].astype(float), z.f[: z.seen].astype(float)
    np.testing.assert_allclose(p @ p.T, np.eye(len(p)), atol=1e-5)
    np.testing.assert_allclose(f @ p.T, z.q[: z.seen] @ z.b[: z.sent].T, atol=1e-4)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_threads_that_share_a_run_leave_its_bits(kind):
    problem = Problem.drawn(m=4, n=30, seed=1, samples=10_000, trained="w", weights="binary")
    problem = replace(problem, v_star=problem.v_star.to(kind), w_star=problem.w_star.to(kind))
    how = dict(runs=1, steps=30, step_size=0.3, seed=0, method="matrix_free")
    one, several = (sim.recover(problem, ReLU(), threads=threads, **how) for threads in (1, 3))
    assert torch.equal(one.w, several.w) and torch.equal(one.changes, several.changes)
