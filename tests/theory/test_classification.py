"""The predicate on the catalogue and on surrogates made up to test it; closed forms against plain means."""

import math

import pytest
import torch

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import (
    SURROGATES,
    ClippedReLU,
    HardTanh,
    Identity,
    LogTailedReLU,
    ReLU,
    ReverseExponential,
)  # fmt: skip
from coarsegrad.problem.subspaces import Subspaces
from coarsegrad.sim.classify import by_hand
from coarsegrad.theory.classification import ANSWERS, admissible, mean_level, mean_pull, short, unreachable

LEVELS = (0.0, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("surrogate", "h_max", "answer"),
    [
        (ReLU(), math.inf, "yes"), (ReLU(), 5.0, "yes"), (Identity(), 5.0, "no"),
        (ClippedReLU(3.0), 2.9, "yes"), (ClippedReLU(3.0), 3.0, "no"), (HardTanh(), 0.5, "no"),
        (HardTanh(0.0, 3.0), 2.0, "yes"), (HardTanh(0.1, 3.0), 2.0, "no"),
        (ReverseExponential(3.0), math.inf, "no"), (ReverseExponential(3.0), 9.0, "yes"),
        (LogTailedReLU(3.0), math.inf, "no"), (LogTailedReLU(3.0), 9.0, "yes"),
        (SURROGATES["triangular"]().over(LEVELS), 2.0, "don't know"),
        (SURROGATES["ewgs"]().over(LEVELS), 2.0, "don't know"),
        (SURROGATES["ewgs"]().over(LEVELS), 4.0, "no"),
    ],
    ids=str,
)  # fmt: skip
def test_the_answer_is(surrogate, h_max, answer):
    assert admissible(surrogate, h_max).answer == answer


@pytest.mark.parametrize("h_max", [0.5, 8.0, math.inf])
@pytest.mark.parametrize("surrogate", [c().over(LEVELS) for c in SURROGATES.values()], ids=str)
def test_every_answer_of_the_catalogue_says_on_what_it_rests(surrogate, h_max):
    found = admissible(surrogate, h_max)
    assert found.answer in ANSWERS and found.interval == (0.0, h_max) and found.why
    if found.answer == "yes":
        assert found.bounds is not None and 0 < found.bounds[0] <= found.bounds[1] < math.inf
        points = torch.linspace(0, min(h_max, 1e3), 2001, dtype=torch.float64)[1:]
        slopes = surrogate.slope(points)
        assert found.bounds[0] * (1 - 1e-12) <= slopes.min() and slopes.max() <= found.bounds[1] * (1 + 1e-12)
        assert surrogate.slope(-points).abs().max() == 0
    if found.witness is not None:
        x = torch.tensor([found.witness], dtype=torch.float64)
        slope = surrogate.pullback(torch.ones_like(x), x).item()
        assert slope != 0 if found.witness < 0 else slope <= 0


class Own(Surrogate):
    """Slope 1 + x on the positive side."""

    def __init__(self, declared=None, below=(0.0, 0.0)):
        self.declared, self.below = declared, below

    def slope(self, x):
        return (x > 0) * (1 + x)

    def bounds(self, low, high):
        return self.below if high <= 0 else self.declared and self.declared(high)


def test_a_users_surrogate_is_admissible_by_the_bounds_that_it_declares():
    found = admissible(Own(lambda high: (1.0, 1.0 + high)), 4.0)
    assert (found.answer, found.bounds) == ("yes", (1.0, 5.0))
    assert admissible(Own(lambda high: (1.0, 1.0 + high))).answer == "no"  # no upper bound
    assert admissible(Own(lambda high: (0.0, 1.0 + high)), 4.0).answer == "no"
    assert admissible(Own(lambda high: (1.0, 1.0 + high), below=(0.0, 0.1)), 4.0).answer == "no"
    unknown = admissible(Own(), 4.0)
    assert unknown.answer == "don't know" and unknown.bounds == pytest.approx((1.0, 5.0))


def test_declared_bounds_that_a_point_contradicts_are_an_error():
    with pytest.raises(ValueError, match="correct its bounds"):
        admissible(Own(lambda high: (1.0, 2.0)), 4.0)


@pytest.mark.parametrize(("least", "most"), [(0.5, math.inf), (math.nan, math.nan), (2.0, 1.0)])
def test_bounds_that_are_none_or_that_a_point_contradicts_by_little_are_an_error(least, most):
    with pytest.raises(ValueError, match="bounds"):
        admissible(Tenth(least, most), 4.0)


class Tenth(Surrogate):
    """Slope 0.1 on the positive side."""

    def __init__(self, least, most):
        self.said = (least, most)

    def slope(self, x):
        return 0.1 * (x > 0)

    def bounds(self, low, high):
        return (0.0, 0.0) if high <= 0 else self.said


class Dented(ReLU):
    """A ReLU's slope with a dent: what its parent declares does not hold of it."""

    def slope(self, x):
        return (x > 0) * (1.0 - ((x > 2.101) & (x < 2.102)).to(x))


def test_what_a_parent_declares_lapses_in_a_class_with_a_slope_of_its_own():
    found = Dented()
    assert found.passes is None and found.breaks is None and type(found).pullback is Surrogate.pullback
    assert found.pullback(torch.tensor(3.0), torch.tensor(2.1015)) == 0
    assert admissible(found, 4.0).answer == "don't know"  # the dent lies between the points


class Half:
    """A mixin: half of the slope of whatever is named behind it."""

    def slope(self, x):
        return 0.5 * super().slope(x)


def test_what_is_declared_lapses_where_a_class_named_before_it_has_the_slope():
    class Between(Half, ReLU):
        pass

    class Behind(ReLU, Half):
        pass

    class Derived(Between):
        pass

    for found in (Between(), Derived()):
        assert found.passes is None and found.breaks is None
        assert found.pullback(torch.tensor(3.0), torch.tensor(2.0)) == 1.5
        assert admissible(found, 4.0).answer == "don't know"
    assert Behind().passes == ReLU().passes and admissible(Behind(), 4.0).answer == "yes"


def test_an_estimator_is_asked_with_upstream_gradients_of_several_sizes():
    class Picky(Surrogate):
        def pullback(self, upstream, x):
            return upstream * (upstream.abs() == 1) * (x > 0)

        def bounds(self, low, high):
            return (0.0, 0.0) if high <= 0 else (1.0, 1.0)

    assert admissible(Picky(), 4.0).answer == "no"


def test_a_slope_that_underflows_is_no_witness():
    assert admissible(ReverseExponential(), 700.0).answer == "yes"
    assert admissible(ReverseExponential(), 760.0).answer == "don't know"
    assert admissible(ReverseExponential()).answer == "no"  # its infimum is 0: by its declared bounds


@pytest.mark.parametrize("surrogate", [ReLU, "relu", None], ids=str)
def test_what_is_no_surrogate_is_refused(surrogate):
    with pytest.raises(TypeError, match="takes a surrogate"):
        admissible(surrogate, 4.0)


def test_a_point_of_a_slope_that_is_nowhere_declared_is_found_at_its_breaks():
    class Gap(Surrogate):
        breaks = (0.0, 1.2345, 1.2346)

        def slope(self, x):
            return ((x > 0) & ~((x > 1.2345) & (x < 1.2346))).to(x.dtype)

    assert admissible(Gap(), 4.0).witness == pytest.approx(1.2345, rel=1e-4)


@pytest.mark.parametrize("h_max", [0.0, -1.0, math.nan, "5"])
def test_an_interval_without_points_is_refused(h_max):
    with pytest.raises(ValueError, match="positive"):
        admissible(ReLU(), h_max)


def means_of_margins(problem, w):
    """Sum over the two classes of the mean margin."""
    h = (problem.x @ problem.shown(w).mT)[:, None] * torch.tensor(problem.radii).double()[:, None]
    serves = torch.nn.functional.one_hot(problem.served, 2).double()
    output = problem.v * (problem.level(h) @ serves)
    margin = output[..., 0] - output[..., 1]
    return (margin[problem.true == 0].mean() - margin[problem.true == 1].mean()).item()


@pytest.mark.parametrize(
    "change",
    [{"bits": 1}, {"bits": 1, "angle": 40.0, "size": 3}, {"bits": 3, "weights": "binary"},
     {"weights": "binary", "size": 1, "rounding": "floor", "neurons": 7}],
    ids=str,
)  # fmt: skip
def test_where_zero_loss_is_said_to_be_impossible_mean_margins_add_to_zero(change):
    problem = Subspaces(**change)
    assert "add to 0" in (unreachable(problem) or "")
    for w in problem.starts(5, seed=1):
        assert means_of_margins(problem, w) == pytest.approx(0, abs=1e-12)


def test_they_do_not_where_nothing_forbids_zero_loss_or_a_component_is_missing():
    w = Subspaces().starts(1, seed=1)[0]
    assert unreachable(Subspaces()) is None and abs(means_of_margins(Subspaces(), w)) > 0.01
    one = Subspaces(bits=1)
    apart = one.without(one.without(w, 1, slice(0, 12)), 0, slice(12, 24))
    assert means_of_margins(one, apart) > 1  # general position is needed


def test_one_bit_can_where_pre_activations_are_exactly_zero_though_no_component_is():
    problem = Subspaces(bits=1, directions=4, neurons=24)
    own = torch.tensor([45.0, 135.0, 225.0, 315.0], dtype=torch.float64).deg2rad()
    c = math.cos(math.pi / 2)  # not quite 0: what the points of the problem have
    other = torch.tensor([(1, -c), (0, 1), (-1, c), (0, -1)], dtype=torch.float64)
    mine = torch.stack([own.cos(), own.sin()], -1).repeat(3, 1)
    parts = torch.zeros(24, 2, 2, dtype=torch.float64)
    for r in (0, 1):
        serves = problem.served == r
        parts[serves, r], parts[serves, 1 - r] = mine, other.repeat(3, 1)
    w = torch.einsum("krd,rdw->kw", parts, problem.basis)
    assert problem.projected(w).norm(dim=-1).min() > 0.5 and unreachable(problem)
    assert by_hand(problem, ReLU(), w[None])[0].item() < 1


@pytest.mark.parametrize(
    ("change", "says"),
    [({"neurons": 1}, "without a neuron"), ({"neurons": 2, "bits": 1}, "cannot reach 1"),
     ({"neurons": 5, "bits": 1, "rounding": "floor", "v": 0.4}, "cannot reach 1"),
     ({"neurons": 2}, "one neuron"), ({"neurons": 4}, None), ({"bits": 1, "noise": 0.1}, None),
     ({"weights": "binary", "dimension": 64}, None), ({"size": 1, "neurons": 2, "bits": 3}, "one neuron")],
)  # fmt: skip
def test_other_reasons(change, says):
    found = unreachable(Subspaces(**change))
    assert found is None if says is None else says in (found or "")


def all_around(problem, own=1e4, other=0.3, turn=0.01):
    """Neurons in opposite pairs: far along one direction of their own subspace, a little of the others."""
    d = problem.size
    along = torch.full((d,), turn, dtype=torch.float64)
    along[0] = 1
    long = torch.full((problem.neurons, problem.classes), other, dtype=torch.float64)
    long[range(problem.neurons), problem.served] = own
    sign = 1 - 2.0 * (torch.arange(problem.neurons) % 2).double()
    dual = torch.linalg.pinv(problem.basis.flatten(0, 1)).T.reshape(problem.basis.shape)
    return torch.einsum("k,kr,d,rdw->kw", sign, long, along, dual)


def test_two_neurons_a_class_can_be_enough_for_the_papers_points():
    problem = Subspaces(neurons=4)
    w = all_around(problem)
    assert (problem.projected(w).abs() > 0).all()
    assert by_hand(problem, ReLU(), w[None])[0].item() == 0 and unreachable(problem) is None


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("change", [{}, {"angle": 60.0}, {"classes": 3}, {"rounding": "floor"}], ids=str)
def test_weights_that_point_all_around_never_solve_what_is_said_to_be_impossible(change, size, bits):
    for each in (1, 2, 4):
        problem = Subspaces(**{"classes": 2, **change}, size=size, bits=bits,
                            neurons=each * change.get("classes", 2), directions=20)  # fmt: skip
        assert by_hand(problem, ReLU(), all_around(problem)[None])[0] > 0 or unreachable(problem) is None


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("rounding", ["ceil", "floor"])
def test_mean_level_and_pull_are_those_of_many_directions(size, rounding):
    problem = Subspaces(size=size, rounding=rounding, directions=40_000, radii=(1.0, 1.6))
    w = problem.starts(1, seed=2)[0, :3]
    x = problem.x[problem.true == 0][:, None] * torch.tensor(problem.radii).double()[:, None]
    h = (x @ w.T).flatten(0, 1)
    length = torch.linalg.vector_norm(problem.projected(w)[:, 0], dim=-1)
    near = dict(rtol=0, atol=0.02)
    torch.testing.assert_close(mean_level(length, problem), problem.level(h).mean(0), **near)
    for low, high in ((0.0, math.inf), (-math.inf, math.inf), (0.0, 0.7), (-0.5, 1.5)):
        pull = (((h > low) & (h < high)) * h).mean(0) / length
        torch.testing.assert_close(mean_pull(length, (low, high), problem), pull, **near)


@pytest.mark.parametrize("surrogate", [ReLU(), Identity(), ClippedReLU()], ids=str)
@pytest.mark.parametrize(
    "change", [{}, {"size": 3, "dimension": 8}, {"size": 1, "rounding": "floor"}], ids=str
)
def test_loss_and_coarse_gradient_while_all_is_short(surrogate, change):
    problem = Subspaces(v=0.01, angle=60.0, directions=20_000, radii=(1.0, 1.5), **change)
    w = problem.starts(2, seed=3)
    loss, gradient = short(problem, surrogate.passes, w)
    sampled = by_hand(problem, surrogate, w)
    torch.testing.assert_close(loss, sampled[0], rtol=0, atol=1e-3)
    torch.testing.assert_close(gradient, sampled[3], rtol=0, atol=2e-4)


@pytest.mark.parametrize("change", [{}, {"size": 3, "dimension": 8}, {"size": 1}], ids=str)
def test_a_missing_component_is_pulled_nowhere(change):
    problem = Subspaces(v=0.01, directions=20_000, **change)
    w = problem.without(problem.starts(1, seed=0), 0, slice(0, 1))
    for surrogate in (ReLU(), ClippedReLU()):
        loss, gradient = short(problem, surrogate.passes, w)
        sampled = by_hand(problem, surrogate, w)
        torch.testing.assert_close(loss, sampled[0], rtol=0, atol=1e-3)
        torch.testing.assert_close(gradient, sampled[3], rtol=0, atol=2e-4)


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
def test_on_a_line_levels_begin_where_the_rounding_says(rounding):
    problem = Subspaces(size=1, rounding=rounding, radii=(1.0,))
    points = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64)
    for length in (1.0, 2.0, 1.5):
        h = length * points[:2]
        found = mean_level(torch.tensor([length]), problem)
        assert found.item() == problem.level(h).mean().item()
        for low, high in ((0.0, length), (-length, 0.0), (-length, length), (-math.inf, length), (0.0, 9.0)):
            wanted = (((h > low) & (h < high)) * h).mean().item() / length
            pull = mean_pull(torch.tensor(length), (low, high), problem).item()
            assert pull == pytest.approx(wanted, rel=1e-12)


def test_the_identity_is_pulled_nowhere_while_all_is_short():
    assert mean_pull(torch.tensor([0.3, 2.0]), (-math.inf, math.inf), Subspaces()).abs().max() == 0


@pytest.mark.parametrize("change", [{"classes": 3}, {"noise": 0.1}, {"weights": "binary"}])
def test_short_is_refused_where_it_does_not_hold(change):
    problem = Subspaces(**change)
    with pytest.raises(ValueError, match="two classes"):
        short(problem, (0.0, math.inf), problem.starts(1, 0))


def test_a_missing_component_has_level_zero():
    assert mean_level(torch.zeros(1), Subspaces()).item() == 0
