"""A record reads back as it was written, and is refused where it cannot be true."""

import json
import math
import re
from dataclasses import replace

import pytest

from coarsegrad.measure import Interval
from coarsegrad.studies import record as module
from coarsegrad.studies.record import changed, published, read, record_of, write
from coarsegrad.studies.study import cost, results, run, verdicts
from coarsegrad.train.checkpoint import installed
from studies import toy
from studies.toy import STUDY, claim


@pytest.fixture
def kept(tmp_path):
    """The record of a small study, and its file."""
    list(run(STUDY, "quick", tmp_path))
    record = record_of(STUDY, "quick", tmp_path, verdicts(STUDY, results(STUDY, "quick", tmp_path), "quick"))
    return record, write(record, tmp_path / "records")


def rows(record):
    return [(v.row(), v.claim.says, v.claim.source, v.claim.number, v.claim.margin) for v in record.verdicts]


def test_what_is_written_reads_back(kept, tmp_path):
    record, path = kept
    again = read(path)
    assert rows(again) == rows(record) and replace(again, verdicts=()) == replace(record, verdicts=())
    assert [v.verdict for v in again.verdicts] == ["confirmed", "not run", "confirmed"]
    assert path.name == "toy.json" and write(again, tmp_path / "b").read_text() == path.read_text()
    taken = cost(STUDY, "quick", tmp_path)["draw"]
    assert (record.tasks, record.cores) == (4, taken["cores"])
    assert record.seconds == pytest.approx(taken["seconds"], abs=0.05)
    assert record.version == installed() and re.fullmatch(r"\d{4}-\d\d-\d\d", record.date)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Interval(1.0, -math.inf, math.inf), "unresolved"),
        (Interval(math.nan, math.nan, math.nan), "unresolved"),
        (Interval(1 / 3, 1 / 3, 1 / 3), "confirmed"),
        (None, "not run"),
    ],
    ids=["infinite", "not a number", "exact", "nothing"],
)
def test_numbers_come_back_to_the_last_bit_in_json_that_everybody_reads(tmp_path, found, verdict):
    study = toy.study(replace(claim("odd", 0.1, estimate=lambda rows: found), margin=1e-300))
    path = write(record_of(study, "quick", tmp_path, verdicts(study, {}, "quick")), tmp_path)
    (again,) = read(path).verdicts
    assert repr(again.found) == repr(found) and again.verdict == verdict
    assert (again.claim.least, again.claim.most, again.claim.margin) == (0.1, math.inf, 1e-300)
    json.loads(path.read_text(), parse_constant=pytest.fail)  # no Infinity, no NaN


def test_a_claim_that_was_changed_is_new_or_gone_is_named(kept):
    record, _ = kept
    low, none, count = STUDY.claims
    assert changed(record, STUDY) == []
    for other in (
        {"least": 0.5}, {"most": 9.0}, {"margin": 0.1}, {"says": "Else."}, {"kind": "theorem"},
        {"expected": "refuted"}, {"source": "there"}, {"number": "median"},
    ):  # fmt: skip
        assert changed(record, toy.study(replace(low, **other), none, count)) == ["low"]
    assert (
        changed(record, toy.study(low, none, replace(count, expected="confirmed"))) == []
    )  # for this preset
    assert changed(record, toy.study(low, none, replace(count, id="new"))) == ["new", "count"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"preset"', '"present"', "'preset' is missing"),
        ('"least"', '"last"', "'least' is missing"),
        ('"verdict": "confirmed"', '"verdict": "refuted"', "the verdict on low does not follow"),
        ('"kind": "simulation"', '"kind": "rumour"', "known: theorem, simulation, heuristic"),
        ('"margin": 0.0', '"margin": "none"', "could not convert"),
        ('"claims"', "claims", "Expecting property name"),
        ('"expected": "', '"expected": null, "once": "', "no attribute"),
    ],
)
def test_what_is_no_record_is_refused_with_the_mend(kept, old, new, says):
    _, path = kept
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"toy.json is not a record .*{re.escape(says)}.*--record RECORDS"):
        read(path)


def test_a_study_without_a_record_is_not_published(kept, monkeypatch):
    _, path = kept
    assert published("toy") is None
    monkeypatch.setattr(module, "PUBLISHED", path.parent)
    assert published("toy").preset == "quick"
