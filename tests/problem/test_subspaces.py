"""The data lie where they are said to, and what cannot be is refused at the door."""

import math
import pickle

import pytest
import torch

from coarsegrad.core.quantizers import QuantizedReLU
from coarsegrad.core.scales import Scale
from coarsegrad.problem.subspaces import Subspaces

SHAPES = [
    {}, {"size": 1, "classes": 4, "angle": 70.0}, {"size": 3, "shared": 2, "angle": 50.0, "classes": 3},
    {"dimension": 9, "angle": 30.0}, {"classes": 3, "angle": 110.0, "neurons": 7},
]  # fmt: skip
every = pytest.mark.parametrize("problem", [Subspaces(**shape) for shape in SHAPES], ids=str)


@every
def test_the_principal_angles_are_those_asked_for(problem):
    for r in range(problem.classes):
        assert torch.allclose(problem.basis[r] @ problem.basis[r].T, torch.eye(problem.size).double())
        for s in range(r):
            cosines = torch.linalg.svdvals(problem.basis[r] @ problem.basis[s].T)
            said = [abs(math.cos(math.radians(problem.angle)))] * problem.shared
            said += [0.0] * (problem.size - problem.shared)
            assert cosines.tolist() == pytest.approx(said, abs=1e-12)


@every
def test_inputs_lie_on_their_subspace_and_come_in_opposite_pairs(problem):
    x = problem.x.view(problem.classes, -1, problem.width)
    for basis, mine in zip(problem.basis, x, strict=True):
        assert torch.allclose(mine @ basis.T @ basis, mine)
        assert torch.allclose(torch.linalg.vector_norm(mine, dim=-1), torch.ones(1).double())
    half = x.shape[1] // 2
    assert torch.equal(x[:, :half], -x[:, half:])
    assert problem.points == problem.labels.numel() == len(problem.x) * len(problem.radii)


def test_at_ninety_degrees_without_embedding_axes_are_exact():
    basis = Subspaces(classes=3, size=2).basis
    assert set(basis.flatten().tolist()) == {0.0, 1.0}
    assert torch.linalg.matrix_rank(basis.flatten(0, 1)) == 6


@pytest.mark.parametrize(
    ("problem", "rank"),
    [(Subspaces(angle=0.0), 3), (Subspaces(classes=3, angle=120.0), 5), (Subspaces(classes=3, angle=119), 6),
     (Subspaces(angle=5.0, dimension=20), 4)],
)  # fmt: skip
def test_independence_is_that_of_the_bases(problem, rank):
    assert torch.linalg.matrix_rank(problem.basis.flatten(0, 1), atol=1e-7) == rank
    assert problem.independent == (rank == problem.classes * problem.size)


def test_a_circle_is_even_and_other_spheres_are_drawn_from_the_seed():
    turn = torch.atan2(Subspaces().x[:80, 2], Subspaces().x[:80, 0])
    assert torch.allclose(turn.sort().values.diff(), torch.tensor(2 * math.pi / 80).double())
    one, other = (Subspaces(size=3, seed=seed).x for seed in (0, 1))
    assert torch.equal(one, Subspaces(size=3).x) and not torch.equal(one, other)


def test_noise_changes_a_share_of_the_labels_to_other_classes():
    problem = Subspaces(classes=3, noise=0.1)
    wrong = problem.labels != problem.true[:, None]
    assert int(wrong.sum()) == round(0.1 * problem.points) and problem.labels.unique().tolist() == [0, 1, 2]
    assert torch.equal(Subspaces(classes=3).labels, Subspaces(classes=3).true[:, None].expand(-1, 11))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("rounding", ["ceil", "floor"])
def test_the_staircase_is_the_quantizer_of_core(bits, rounding):
    h = torch.linspace(-3, 20, 461, dtype=torch.float64)
    quantizer = QuantizedReLU(bits=bits, rounding=rounding, scale=Scale("one"))
    assert torch.equal(Subspaces(bits=bits, rounding=rounding).level(h), quantizer(h))


@pytest.mark.parametrize(("k", "n"), [(24, 2), (7, 3), (2, 3)])
def test_neurons_are_served_out_evenly_and_side_by_side(k, n):
    served = Subspaces(classes=n, neurons=k).served
    assert torch.equal(served, served.sort().values)
    counts = torch.bincount(served, minlength=n)
    assert int(counts.max() - counts.min()) <= 1


def test_a_start_depends_on_its_run_alone_and_can_lose_a_component():
    problem = Subspaces(classes=3, angle=60.0)
    w = problem.starts(3, seed=5)
    assert torch.equal(problem.starts(2, seed=5), w[:2])
    bare = problem.without(w, 1, slice(0, 4))
    lengths = torch.linalg.vector_norm(problem.projected(bare), dim=-1)
    assert lengths[:, :4, 1].max() < 1e-12 < lengths[:, 4:, 1].min()
    assert torch.equal(bare[:, 4:], w[:, 4:])


def test_along_axes_a_lost_component_is_exactly_zero():
    problem = Subspaces()
    assert problem.projected(problem.without(problem.starts(2, 0), 0))[..., 0, :].abs().max() == 0


def test_binary_weights_show_their_signs_times_the_mean_size():
    w = torch.tensor([[[1.0, -2.0, 0.0, 5.0]]])
    assert Subspaces(weights="binary").shown(w).tolist() == [[[2.0, -2.0, 2.0, 2.0]]]
    assert Subspaces().shown(w) is w


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": 1}, "classes"), ({"size": 0}, "size"), ({"shared": 3}, "shared <= size"),
        ({"bits": 9}, "bits <= 8"), ({"angle": -1.0}, "from 0 to 180"),
        ({"classes": 3, "angle": 121.0}, "from 0 to 120"), ({"rounding": "nearest"}, "known: ceil, floor"),
        ({"weights": "ternary"}, "known"), ({"dimension": 3}, "at least 4"), ({"directions": 5}, "even"),
        ({"radii": (1.0, 0.0)}, "radii"), ({"v": 0.0}, "v="), ({"noise": 1.0}, "share"),
        ({"seed": -1}, "seed"),
        ({"neurons": 2.0}, "neurons"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_mend(change, says):
    with pytest.raises(ValueError, match=says):
        Subspaces(**change)


def test_it_travels_to_another_process():
    problem = Subspaces(noise=0.1)
    assert torch.equal(pickle.loads(pickle.dumps(problem)).labels, problem.labels)
