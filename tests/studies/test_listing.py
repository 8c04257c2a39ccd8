"""The list of studies says what there is, what it costs, and how it ended."""

import math
from dataclasses import replace

import pytest

from coarsegrad.measure import Interval
from coarsegrad.studies import STUDIES
from coarsegrad.studies.listing import (
    by_how_much,
    claim_rows,
    claims_text,
    cost_text,
    everything,
    study_row,
    text_of,
    verdict_text,
)
from coarsegrad.studies.record import Record
from coarsegrad.studies.verdict import Verdict, decide, judge
from studies import toy
from studies.toy import claim


def fixed(name, estimate, least=0.0, expected="confirmed"):
    """A claim about a number that is known."""
    found = None if estimate is None else Interval(estimate, estimate - 0.5, estimate + 0.5)
    return claim(name, least, expected, lambda rows: found)


CLAIMS = (
    fixed("right", 2), fixed("wrong", -2), fixed("known", -2, expected="refuted"), fixed("across", 0.25),
    fixed("none", None, expected={"paper": "confirmed"}),
)  # fmt: skip
STUDY = toy.study(*CLAIMS)
RECORD = Record("toy", "quick", "2026-01-31", "0.1.0", 5000.0, 1234, 2,
                tuple(judge(claim, {}, "quick") for claim in CLAIMS))  # fmt: skip


def test_the_last_verdict_is_told_and_what_is_not_as_it_should_be_is_named():
    text = text_of(STUDY, RECORD)
    assert "1 confirmed, 2 refuted, 1 unresolved, 1 not run: 3 of 5 as expected; quick, 2026-01-31" in text
    for line in ("refuted, expected confirmed: wrong", "refuted, as expected: known",
                 "unresolved, expected confirmed: across", "not run, as expected: none"):  # fmt: skip
        assert line in text
    assert "right" not in text and "older version" not in text
    assert "claims   5: 5 simulation" in text and "Nobody 2026" in text and "A toy study" in text


def test_every_preset_has_its_cost_and_the_published_one_what_was_measured():
    lines = [line.split(maxsplit=1) for line in text_of(STUDY, RECORD).splitlines()]
    assert [["smoke", "two"], ["quick", "four"], ["measured:", lines[6][1]], ["paper", "six"]] == lines[4:8]
    assert lines[6][1] == "1,234 tasks, 83.3 min if one after the other; 2 cores at most at once"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.04 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (432000, "5 days")],
)
def test_a_duration_has_a_unit_that_suits_it(seconds, words):
    assert f" {words} if one" in cost_text(replace(RECORD, seconds=seconds, cores=1))
    assert cost_text(replace(RECORD, cores=1)).endswith("1 core at most at once")


def test_what_is_not_published_is_told_as_such():
    assert text_of(STUDY, None).endswith("verdict  not published")
    assert study_row(STUDY, None)["published"] is None
    text = claims_text(STUDY, None)
    assert "known (simulation): no verdict, expected refuted\n" in text
    assert "none (simulation): no verdict, expected confirmed (paper)\n" in text
    assert {row["verdict"] for row in claim_rows(STUDY, None)} == {None}


def test_a_record_of_other_claims_is_told_as_such_and_judges_none_of_them():
    newer = toy.study(replace(CLAIMS[0], least=1), *CLAIMS[1:-1], fixed("new", 1))
    assert "record is of an older version; since then changed: right, new, none" in text_of(newer, RECORD)
    assert study_row(newer, RECORD)["published"]["changed"] == ["right", "new", "none"]
    verdicts = {row["claim"]: row["verdict"] for row in claim_rows(newer, RECORD)}
    assert verdicts == {
        "right": None, "wrong": "refuted", "known": "refuted", "across": "unresolved", "new": None
    }  # fmt: skip
    assert "right (simulation): no verdict, expected confirmed" in claims_text(newer, RECORD)


def test_the_claims_have_ranges_numbers_and_verdicts():
    text = claims_text(STUDY, RECORD)
    assert "wrong (simulation): refuted, expected confirmed\n  Says wrong.\n" in text
    assert "mean; claimed: at least 0; found: -2 [-2.5, -1.5], below by 1.5 to 2.5" in text
    assert "none (simulation): not run, as expected\n  Says none.\n" in text
    assert text.endswith("mean; claimed: at least 0; found: not measured")
    row = claim_rows(STUDY, RECORD)[1]
    assert (row["verdict"], row["low"], row["high"], row["preset"]) == ("refuted", -2.5, -1.5, "quick")
    assert row["expected"] == {"smoke": "confirmed", "quick": "confirmed", "paper": "confirmed"}


@pytest.mark.parametrize(
    ("found", "least", "most", "margin", "says"),
    [
        ((3, 2, 4), 0, 1, 0, "above by 1 to 3"),
        ((3, 2, 4), 0, 1, 0.5, "above by 0.5 to 2.5"),
        ((3, 3, 3), 0, 1, 0, "above by 2"),
        ((-3, -math.inf, -2), 0, 1, 0, "below by 2 or more"),
        ((0, -2, 1), 0, 1, 0, "reaches 2 below"),
        ((0, -2, 4), 0, 1, 0, "reaches 2 below and 3 above"),
        ((1, -math.inf, math.inf), 0, math.inf, 0, "reaches inf below"),
        ((0.5, 0.4, 0.7), 0, 1, 0, "inside by 0.3"),
        ((0.5, 0.4, 1.1), 0, 1, 0.2, "inside by 0.1"),
        ((1, 1, 1), 0, 1, 0, "at the edge"),
        ((1, 0, 2), -math.inf, math.inf, 0, "inside"),
        ((math.nan, 0, 1), 0, 1, 0, "no number"),
        (None, 0, 1, 0, "not measured"),
    ],
)
def test_by_how_much_agrees_with_the_verdict(found, least, most, margin, says):
    found = found and Interval(*found)
    judged = decide(found, least, most, margin)
    limits = replace(claim("a", least), most=most, margin=margin)
    assert by_how_much(Verdict(limits, found, judged, "confirmed")) == says
    begins = {"confirmed": ("inside", "at the edge"), "refuted": ("above", "below"),
              "unresolved": ("reaches", "no number"), "not run": ("not measured",)}  # fmt: skip
    assert says.startswith(begins[judged])


def test_every_study_of_the_catalogue_is_told_within_100_columns():
    there = everything()
    assert [study.name for study, _ in there] == list(STUDIES) and "list" not in STUDIES
    for study, record in there:
        text = f"{text_of(study, record)}\n{claims_text(study, record)}"
        assert max(map(len, text.splitlines())) <= 100
        assert all(f"\n{c.id} ({c.kind}): " in text for c in study.claims)
        assert all(f"\n  {preset}" in text for preset in study.presets)
        assert record is None or verdict_text(record.verdicts).endswith("as expected")
