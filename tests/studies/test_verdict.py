import math

import pytest

from coarsegrad.measure import Interval
from coarsegrad.studies.verdict import VERDICTS, Claim, decide, exactly, judge
from studies.toy import claim


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ((2, 1, 3), "confirmed"),
        ((1, 0.9, 1.2), "confirmed"),  # an edge, and the margin beyond it
        ((1, 0.89, 1.2), "unresolved"),
        ((0, -1, 0.5), "refuted"),
        ((9, 5, 12), "unresolved"),
        ((12, 11, 13), "refuted"),
        ((2, -math.inf, math.inf), "unresolved"),
        ((math.nan, math.nan, math.nan), "unresolved"),
        ((2, math.nan, 3), "unresolved"),
    ],
)
def test_the_interval_decides_against_the_range_and_its_margin(found, verdict):
    assert decide(Interval(*found), 1, 10, 0.1) == verdict


def test_nothing_measured_is_not_run():
    assert (
        decide(None, 0, 1)
        == "not run"
        == judge(claim("a", 0, estimate=lambda rows: None), {}, "quick").verdict
    )
    assert exactly(None) is None


def test_a_number_without_error_is_in_or_out():
    assert [decide(exactly(x), 0, 0) for x in (0, 1)] == ["confirmed", "refuted"]


def test_expected_verdicts_are_per_preset_and_else_not_run():
    named = claim("a", 0, {"paper": "refuted"})
    assert [named.expects(preset) for preset in ("smoke", "paper")] == ["not run", "refuted"]
    assert claim("a", 0).expects("smoke") == "confirmed"


def test_a_verdict_is_as_expected_or_not():
    rows = {"draw": [{"value": -1.0}]}
    for expected in VERDICTS:
        verdict = judge(claim("a", 0, expected), rows, "quick")
        assert verdict.verdict == "refuted" and verdict.as_expected == (expected == "refuted")
    assert verdict.row()["estimate"] == -1.0


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "rumour"}, {"expected": "likely"}, {"expected": {"quick": "yes"}}, {"least": 2, "most": 1},
              {"margin": -1.0}, {"margin": math.inf}],
)  # fmt: skip
def test_a_claim_that_cannot_be_judged_is_refused(wrong):
    given = {
        "id": "a",
        "says": "",
        "kind": "theorem",
        "source": "",
        "number": "",
        "estimate": lambda rows: None,
    }
    with pytest.raises(ValueError, match="Claim"):
        Claim(**(given | wrong))


def test_the_range_is_told_in_words():
    assert [claim("a", least).range for least in (-math.inf, 1)] == ["any", "at least 1"]
    made = Claim("a", "", "theorem", "", "", lambda rows: None, least=1, most=1, margin=0.1)
    assert made.range == "1, margin 0.1"
