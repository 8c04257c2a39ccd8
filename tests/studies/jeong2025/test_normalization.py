"""The claims about inputs: the smoke run, and rows made up so that each verdict turns."""

import pytest

from coarsegrad.studies.jeong2025 import normalization
from coarsegrad.studies.study import results, run, verdicts
from coarsegrad.studies.verdict import judge
from studies.jeong2025.ideal_inputs import IDEAL

STUDY = normalization.STUDY
CLAIMS = {claim.id: claim for claim in STUDY.claims}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("normalization")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    titles = [
        "What is studied", "Laws and normalizations", "How runs fail", "One property at a time",
        "Other second layers, an unbalanced teacher", "The rule",
    ]  # fmt: skip
    empty = STUDY.story({})
    assert [c.title for c in empty] == [c.title for c in STUDY.story(smoke)] == titles
    assert all(c.text == "Nothing was measured yet." for c in empty[1:])


def said(rows, preset="paper"):
    return {name: judge(claim, rows, preset).verdict for name, claim in CLAIMS.items()}


def test_every_claim_can_end_as_expected():
    assert said(IDEAL) == {name: claim.expects("paper") for name, claim in CLAIMS.items()}
    assert [name for name, verdict in said(IDEAL).items() if verdict != "confirmed"] == [
        "not-gaussian-breaks"
    ]


def test_the_claim_that_is_to_be_refuted_could_be_confirmed():
    rows = altered(LOST, inputs=normalization.NOT_GAUSSIAN, surrogate="relu", how="none")
    assert said(rows)["not-gaussian-breaks"] == "confirmed"


def altered(change, **where):
    """The ideal rows with these changed, at every step size."""

    def fits(row):
        return all(row.get(k) in (v if isinstance(v, tuple) else (v,)) for k, v in where.items())

    found = {kind: [{**row, **change} if fits(row) else row for row in rows] for kind, rows in IDEAL.items()}
    assert found != IDEAL
    return found


LOST = {"recovered": 4, "restored": 0, "cycling": 36, "death": 0}
WON = {"recovered": 40, "restored": 16, "cycling": 0, "death": 0}


@pytest.mark.parametrize(
    ("claim", "change", "where"),
    [
        ("relu-breaks", WON, {"inputs": "U[0, 1]", "surrogate": "relu", "how": "none"}),
        ("z-score-mends", LOST, {"inputs": "U[0, 1]", "surrogate": "relu", "how": "z-score"}),
        ("identity-bears-it", LOST, {"inputs": "Laplace", "surrogate": "identity", "how": "none"}),
        ("mean-breaks", WON, {"inputs": "Poisson(1)", "surrogate": "clipped_relu", "how": "none"}),
        ("sum-of-v-decides", WON, {"inputs": "Exp(1)", "surrogate": "relu", "how": "none"}),
        ("sum-of-v-saves", {"restored": 1}, {"inputs": "N(0.5, 1)", "surrogate": "relu", "how": "none"}),
        ("centring-mends", LOST, {"inputs": "lognormal", "surrogate": "clipped_relu", "how": "centring"}),
        ("scaling-does-not", WON, {"inputs": "N(1, 1)", "surrogate": "relu", "how": "scaling"}),
        ("length-does-not", WON, {"inputs": "half-normal", "surrogate": "relu", "how": "L2"}),
        ("rows-mend", LOST, {"inputs": "Exp(1)", "surrogate": "relu", "how": "layer norm"}),
        ("rows-mend", LOST, {"inputs": "Exp(1)", "surrogate": "clipped_relu", "how": "whitening"}),
        ("batch-norm-mends", LOST, {"inputs": "Exp(1)", "surrogate": "relu", "how": "batch norm"}),
        ("other-properties-do-not", LOST, {"inputs": "bimodal", "surrogate": "relu", "how": "none"}),
        ("two-sided-bear-it", LOST, {"inputs": "U[0, 1]", "surrogate": "hardtanh", "how": "none"}),
        ("windows-end", WON, {"factor": "mean", "value": 4.0, "surrogate": "hardtanh", "how": "none"}),
        ("identity-bears-any", LOST, {"factor": "mean", "value": 4.0, "surrogate": "identity"}),
        ("shift-ends", WON, {"factor": "shift", "value": 8.0, "surrogate": "clipped_relu", "how": "none"}),
        ("rows-mend-shift", LOST, {"factor": "shift", "value": 8.0, "how": "layer norm"}),
        ("correlation-ends", WON, {"factor": "neighbours", "value": 0.99, "surrogate": "sigmoid"}),
        ("whitening-mends", LOST, {"factor": "neighbours", "value": 0.99, "how": "whitening"}),
        ("batch-norm-leaves-it", WON, {"factor": "neighbours", "value": 0.99, "how": "batch norm"}),
        ("scales-end", WON, {"factor": "spread", "value": 1000.0, "surrogate": "identity"}),
        ("scales-mended", LOST, {"factor": "spread", "value": 1000.0, "how": "z-score"}),
        ("long-steps-die", LOST, {"inputs": "U[0, 1]", "surrogate": "relu", "how": "none"}),
        ("v-alike-recovers", LOST, {"shape": 0, "surrogate": "relu", "how": "none"}),
        ("v-of-sum-0-fails", WON, {"shape": 3, "surrogate": "relu", "how": "none"}),
        ("centred-any-v", LOST, {"shape": 5, "surrogate": "relu", "how": "centring"}),
    ],
)  # fmt: skip
def test_a_claim_is_refuted_by_rows_that_contradict_it(claim, change, where):
    assert said(altered(change, **where))[claim] == "refuted"


def test_a_batch_norm_that_gains_runs_refutes():
    rows = altered(LOST, inputs="Cauchy", how="none")
    gains = [row["inputs"] == "Cauchy" and row["how"] == "batch norm" for row in rows["cell"]]
    rows["cell"] = [{**row, **WON} if more else row for row, more in zip(rows["cell"], gains, strict=True)]
    assert said(rows)["batch-norm-is-not-centring"] == "refuted"


def test_one_bad_step_alone_refutes_nothing_where_the_better_one_counts():
    rows = {
        kind: [{**row, **LOST} if row["step_size"] == 1.0 and row["recovered"] == 40 else row for row in mine]
        for kind, mine in IDEAL.items()
    }
    changed = {name for name, verdict in said(rows).items() if verdict != "confirmed"}
    assert changed <= {"long-steps-die", "not-gaussian-breaks"}


def test_a_mean_of_v_is_not_hidden_by_the_other_runs():
    """22 of the 24 runs with K <= 0 recover, none of the others: the share of all would look smaller."""
    where = {"inputs": "Exp(1)", "surrogate": "relu", "how": "none"}
    found = CLAIMS["sum-of-v-decides"].estimate(altered({"recovered": 22, "restored": 0}, **where))
    assert found.estimate == pytest.approx(22 / 24)
