"""Recovery on inputs of any law: the problems are those said, and a run's fate is told from its data."""

import math

import pytest
import torch

from coarsegrad.core.surrogates import Identity, ReLU
from coarsegrad.problem.laws import Uniform
from coarsegrad.problem.normalized import Normalized
from coarsegrad.sim import recover
from coarsegrad.studies.jeong2025 import inputs

SETTINGS = {
    "n": 8, "m": 3, "v": "unit", "teacher": "balanced", "runs": 6, "samples": 200, "steps": 150,
    "step_sizes": (0.1, 1.0), "seed": 1, "law": "uniform(low=0.0)", "surrogate": "relu",
    "ways": ("none", "z-score", "batch norm"),
}  # fmt: skip


def test_teachers_are_balanced_and_do_not_depend_on_the_law():
    given = inputs.problem(SETTINGS, "z-score")
    assert given.w_star.sum(-1).tolist() == pytest.approx([0] * 6)
    assert torch.allclose(given.w_star.abs(), torch.full((6, 8), 8**-0.5).double())
    assert len({tuple(row.tolist()) for row in given.w_star}) > 3
    assert given.inputs == Normalized(Uniform(low=0.0), "z-score") and not given.batch_norm
    other = inputs.problem({**SETTINGS, "law": "gaussian"}, "batch norm")
    assert torch.equal(other.w_star, given.w_star) and torch.equal(other.v_star, given.v_star)
    assert other.batch_norm and other.inputs.how == "none"
    drawn = inputs.problem({**SETTINGS, "teacher": "random"}, "none").w_star
    assert (drawn.sum(-1).abs() > 0.1).any()


def test_second_layers_have_length_1_and_the_shape_said():
    def v(shape):
        return inputs.problem({**SETTINGS, "v": shape}, "none").v_star

    for shape in inputs.V:
        assert torch.allclose(v(shape).norm(dim=-1), torch.ones(6).double())
    assert torch.allclose(v("ones"), torch.full((6, 3), 3**-0.5).double())
    assert (v("positive") > 0).all() and torch.allclose(v("positive"), v("unit").abs())
    assert v("zero-sum").sum(-1).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("more", "mend"),
    [
        ({"teacher": "other"}, "known: balanced, random"),
        ({"v": "other"}, "known: unit, ones, positive"),
        ({"law": "uniforn"}, "did you mean 'uniform'"),
        ({"surrogate": "rellu"}, "did you mean 'relu'"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_mend(more, mend):
    with pytest.raises(ValueError, match=mend):
        list(inputs.compare({**SETTINGS, **more}, None))


def test_a_row_counts_every_run_once():
    rows = list(inputs.compare(SETTINGS, None))
    assert [(row["how"], row["step_size"]) for row in rows] == [
        (how, step) for how in SETTINGS["ways"] for step in (0.1, 1.0)
    ]
    for row in rows:
        assert sum(row[fate] for fate in inputs.FATES) == 6
        assert row["restored"] <= min(row["restoring"], row["recovered"])
        assert (row["negative"] is None) == (row["recovered"] == 6)
        assert row["hit"] >= row["recovered"]  # without noise the teacher is absorbing
    assert rows == list(inputs.compare(SETTINGS, None))


def followed(surrogate, start, how="none", steps=120, step_size=0.1, **more):
    given = inputs.problem({**SETTINGS, "runs": 1, **more}, how)
    record = range(max(0, steps - inputs.WATCHED), steps + 1)
    u = torch.tensor([start]).double()
    found = recover(
        given, surrogate, runs=1, steps=steps, step_size=step_size, seed=1, start=(given.v_star, u),
        record=record,
    )  # fmt: skip
    return given, found, inputs.fates(given, surrogate, found, 1)


def test_where_every_weight_is_negative_and_inputs_positive_a_relu_is_dead():
    _, found, met = followed(ReLU(), [-1.0] * 8)
    assert met == ["death"] and found.settled.item() == 0


def test_at_the_teacher_a_run_has_recovered():
    given = inputs.problem({**SETTINGS, "runs": 1}, "none")
    assert followed(ReLU(), given.w_star[0].tolist())[2] == ["recovered"]


def test_a_run_on_its_way_is_slow_and_with_time_it_arrives():
    start = [-50.0] + [0.1] * 7
    given, found, met = followed(Identity(), start, how="z-score", steps=300, samples=2000)
    assert met == ["slow"] or given.w_star[0, 0] < 0
    assert found.wrong.item() == int(given.w_star[0, 0] > 0)


def test_with_one_row_a_relu_that_misses_only_positives_is_frozen():
    """What does not fire sends nothing back, and what fires is right: the gradient is 0, yet some pass."""
    met = [
        fate
        for seed in range(6)
        for fate in [followed(ReLU(), [-1.0] * 7 + [1.0], m=1, seed=seed, law="exponential")]
    ]
    for given, found, (fate,) in met:
        still = found.settled.item() >= 0 and not found.last.item()
        assert not still or fate in ("frozen", "death")
        assert given.m == 1


def test_cycling_is_told_from_rest_by_the_signs_of_the_last_steps():
    given, found, _ = followed(ReLU(), [-1.0] * 8)
    signs = found.signs.clone()
    signs[-2, 0, 3] *= -1
    restless = type(found)(**{**vars(found), "signs": signs})
    assert inputs.fates(given, ReLU(), restless, 1) == ["cycling"]


def test_fates_agree_with_the_books():
    """Death and frozen runs that are kept on walking keep their pattern; slow ones do not stay for ever."""
    rows = {}
    for steps in (150, 1500):
        settings = {**SETTINGS, "steps": steps, "runs": 24, "ways": ("none",), "step_sizes": (1.0,)}
        (rows[steps],) = inputs.compare(settings, None)
    resting = [rows[steps]["death"] + rows[steps]["frozen"] for steps in (150, 1500)]
    assert 0 < resting[0] <= resting[1]
    assert rows[1500]["recovered"] >= rows[150]["recovered"]
    assert math.isfinite(rows[150]["negative"]) and rows[150]["negative"] > 0.5
