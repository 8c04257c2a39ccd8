"""The study of sample complexity: its smoke run, and what decides its claims."""

import pytest

from coarsegrad.studies.jeong2025 import complexity
from coarsegrad.studies.study import results, run, verdicts
from coarsegrad.studies.verdict import judge
from studies.jeong2025.cell_rows import grid

STUDY = complexity.STUDY
CLAIMS = {claim.id: claim for claim in STUDY.claims}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("complexity")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_a_longer_preset_begins_with_a_shorter_ones_tasks():
    paper, extended = ([task.id for task in STUDY.planned(p)] for p in ("paper", "extended"))
    assert extended[: len(paper)] == paper and len(extended) > len(paper)


def test_the_verdicts_follow_the_rows():
    rows = {"grid": grid(1.4, 2.0) + grid(1.4, 1.0, "identity")}
    said = {name: judge(claim, rows, "quick").verdict for name, claim in CLAIMS.items()}
    assert said["ergodic-below-square"] == said["last-below-fourth"] == said["absorbing"] == "confirmed"
    assert said["last-needs-more"] == "refuted" and said["three-decades"] == "not run"
    assert CLAIMS["identity-needs-fewer"].estimate(rows).estimate == pytest.approx(2, rel=0.03)
    assert judge(CLAIMS["ergodic-below-square"], {"grid": grid(2.3, 0.1)}, "quick").verdict == "refuted"
    assert judge(CLAIMS["three-decades"], {"far": grid(1.2, 1.0)}, "extended").verdict == "confirmed"
    near = judge(CLAIMS["pull-against-noise"], {"grid": grid(1.0, 1.6)}, "paper")
    assert near.verdict == "confirmed" and near.found.estimate == pytest.approx(1.6 / 1.5708, rel=0.05)


def test_a_last_iterate_that_lags_behind_is_seen():
    rows = grid(1.0, 2.0)
    for row in rows:
        row["last"] = next(r["last"] for r in grid(1.0, 6.0) if r["n"] == row["n"] and r["k"] == row["k"])
    found = CLAIMS["last-needs-more"].estimate({"grid": rows})
    assert found is not None and found.low <= found.estimate <= found.high


def test_a_run_that_leaves_the_teacher_refutes():
    rows = {"grid": grid(1.4, 2.0)}
    rows["grid"][3] = {**rows["grid"][3], "last": rows["grid"][3]["hit"] - 1}
    assert judge(CLAIMS["absorbing"], rows, "quick").verdict == "refuted"


def test_the_glance_is_a_curve():
    rows = grid(1.0, 2.0)
    assert complexity.glance({}) == ""
    told = complexity.glance({"grid": rows})
    assert told.startswith("grid: relu, n = 200: last iterate right ▁") and "█ N = " in told
