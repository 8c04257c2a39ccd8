import pytest

from coarsegrad.studies.jeong2025 import complexity
from coarsegrad.studies.study import results, run, verdicts
from coarsegrad.studies.verdict import judge

STUDY = complexity.STUDY
CLAIMS = {claim.id: claim for claim in STUDY.claims}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("complexity")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    assert [c.title for c in STUDY.story({})] == ["What is studied", "Thresholds"]
    assert [c.title for c in STUDY.story(smoke)] == ["What is studied", "Thresholds", "What else moves it"]


def grid(power, factor, name="relu"):
    """Cells whose success is a logistic function of log N around factor n^power."""
    rows = []
    for n in (10, 20, 50, 100):
        for multiple in (0.25, 0.5, 0.8, 1.25, 2, 4):
            at = factor * n**power * multiple
            won = round(1000 / (1 + multiple**-3.0))
            about = {"surrogate": name, "n": n, "samples": round(at), "runs": 1000}
            rows.append({**about, "last": won, "ergodic": won, "hit": won})
    return rows


def test_the_exponent_of_the_threshold_is_found():
    rows = {"grid": grid(1.4, 2.0) + grid(1.4, 1.0, "identity")}
    fit = complexity.growth(rows, "relu", "ergodic")
    assert fit.exponent.estimate == pytest.approx(1.4, abs=0.02)
    found = dict(complexity.thresholds(rows, "relu", "last"))
    assert found[50].n50.estimate == pytest.approx(2 * 50**1.4, rel=0.02)
    said = {name: judge(claim, rows, "quick").verdict for name, claim in CLAIMS.items()}
    assert said["ergodic-below-square"] == said["last-below-fourth"] == said["absorbing"] == "confirmed"
    assert CLAIMS["identity-needs-fewer"].estimate(rows).estimate == pytest.approx(2, rel=0.03)
    assert judge(CLAIMS["ergodic-below-square"], {"grid": grid(2.3, 0.1)}, "quick").verdict == "refuted"


def test_a_run_that_leaves_the_teacher_refutes():
    rows = {"grid": grid(1.4, 2.0)}
    rows["grid"][3] = {**rows["grid"][3], "last": rows["grid"][3]["hit"] - 1}
    assert judge(CLAIMS["absorbing"], rows, "quick").verdict == "refuted"


def test_where_nothing_or_everything_succeeds_there_is_no_threshold():
    rows = [{"samples": n, "runs": 5, "last": 0} for n in (10, 20)]
    assert complexity.fitted(rows, "last") is None
    assert complexity.fitted([{**row, "last": 5} for row in rows], "last") is None
    assert complexity.growth({"grid": []}, "relu", "last") is None
