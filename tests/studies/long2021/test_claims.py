"""The claims: the smoke run, and rows made up so that each verdict turns."""

import pytest

from coarsegrad.measure import Interval
from coarsegrad.studies import find
from coarsegrad.studies.long2021 import STUDY
from coarsegrad.studies.long2021.claims import CLAIMS, outermost
from coarsegrad.studies.study import verdicts
from coarsegrad.studies.verdict import judge
from studies.long2021.ideal import IDEAL

BY = {claim.id: claim for claim in CLAIMS}


def said(rows, preset="paper"):
    return {name: judge(claim, rows, preset).verdict for name, claim in BY.items()}


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_at_zero_loss_every_point_is_right(smoke):
    cells = [row for rows in smoke.values() for row in rows if "solved" in row and not row["noise"]]
    assert any(row["solved"] for row in cells)
    assert all(row["solved"] == row["right"] for row in cells)


def test_it_is_found_by_its_name():
    assert find("long2021") is STUDY


def test_every_claim_can_end_as_expected():
    assert said(IDEAL) == {name: claim.expects("paper") for name, claim in BY.items()}


def altered(change, *kinds, **where):
    def fits(kind, row):
        return kind in kinds and all(
            row.get(k) in (v if isinstance(v, tuple) else (v,)) for k, v in where.items()
        )

    found = {kind: [{**r, **change} if fits(kind, r) else r for r in rows] for kind, rows in IDEAL.items()}
    assert found != IDEAL
    return found


LOST = {"solved": 40, "right": 40}
WON = {"solved": 60, "right": 60}


@pytest.mark.parametrize(
    ("claim", "change", "kind", "where"),
    [
        ("orthogonal-converges", LOST, "ceil", {"bits": 4, "surrogate": "relu"}),
        ("orthogonal-converges", LOST, "neurons", {"neurons": 96, "surrogate": "log_tailed_relu"}),
        ("orthogonal-converges", LOST, "size", {"size": 6, "surrogate": "reverse_exponential"}),
        ("orthogonal-converges", LOST, "classes", {"classes": 6, "surrogate": "relu"}),
        ("angles-converge", LOST, "angle", {"angle": 20.0, "surrogate": "relu"}),
        ("floor-converges", LOST, "floor", {"bits": 2, "surrogate": "relu"}),
        ("identity-fails", WON, "angle", {"surrogate": "identity", "angle": 45.0}),
        ("smaller-angles-take-longer", {"log_mean": 5.0, "log_low": 4.9, "log_high": 5.1}, "angle",
         {"angle": 30.0, "surrogate": "relu"}),
        ("the-three-are-alike", {"log_mean": 8.0, "log_low": 7.9, "log_high": 8.1}, "angle",
         {"angle": 30.0, "surrogate": "log_tailed_relu"}),
        ("one-bit-ceil-cannot", {"least_loss": 0.9}, "ceil", {"bits": 1, "surrogate": "relu"}),
        ("one-bit-floor-can", LOST, "floor", {"bits": 1, "surrogate": "relu"}),
        ("admissible-suffices", LOST, "catalogue", {"surrogate": "relu", "angle": 90.0}),
        ("admissible-suffices-oblique", LOST, "catalogue", {"surrogate": "relu", "angle": 45.0}),
        ("even-slopes-fail", WON, "catalogue", {"surrogate": "magnitude_aware_sign"}),
        ("shared-line-cannot", WON, "below", {"angle": 0.0}),
        ("joint-dependence-is-borne", LOST, "below", {"what": "dependent", "size": 1}),
        ("small-angles-stall", WON, "below", {"angle": 2.0}),
        ("noise-prevents-zero-loss", WON, "below", {"noise": 0.4}),
        ("noise-is-averaged", {"accuracy": 0.9, "accuracy_low": 0.89, "accuracy_high": 0.91}, "below",
         {"noise": 0.05}),
        ("one-neuron-is-too-few", WON, "below", {"neurons": 2}),
        ("two-neurons-do-not", WON, "below", {"neurons": 4}),
        ("missing-component-stops", WON, "below", {"missing": "all neurons", "angle": 90.0}),
        ("one-missing-is-borne", LOST, "below", {"missing": "one neuron", "angle": 60.0}),
        ("binary-along-axes-cannot", {"least_loss": 0.5}, "binary", {"dimension": None}),
        ("binary-converges", LOST, "binary", {"dimension": 256, "surrogate": "relu"}),
        ("binary-identity-fails", WON, "binary", {"dimension": 64, "surrogate": "identity"}),
    ],
)  # fmt: skip
def test_a_claim_is_refuted_by_rows_that_contradict_it(claim, change, kind, where):
    assert said(altered(change, kind, **where))[claim] == "refuted"


def test_steps_of_runs_that_never_ended_are_no_upper_bound():
    rows = altered({"solved": 90, "right": 90}, "angle", angle=30.0, surrogate="log_tailed_relu")
    assert said(rows)["the-three-are-alike"] == "unresolved"
    assert said(rows)["smaller-angles-take-longer"] == "confirmed"  # longer still, if at all


def test_the_outermost_interval_of_several_reaches_as_far_as_any():
    narrow, wide = Interval(1.0, 0.9, 1.1), Interval(1.2, 0.5, 1.9)
    assert outermost(min, [narrow, wide]) == Interval(1.0, 0.5, 1.1)
    assert outermost(max, [narrow, wide]) == Interval(1.2, 0.5, 1.9) and outermost(min, []) is None


def test_the_claim_that_is_to_be_refuted_could_be_confirmed():
    rows = altered({"solved": 0, "right": 0}, "catalogue", answer="no")
    assert said(rows)["admissible-is-needed"] == "confirmed"


def test_nothing_is_judged_where_nothing_was_measured():
    assert set(said({}).values()) == {"not run"}
