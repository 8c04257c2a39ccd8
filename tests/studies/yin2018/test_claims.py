"""Claims: what the smoke preset gives, and that other rows give other verdicts."""

import pytest

from coarsegrad.studies.study import verdicts
from coarsegrad.studies.verdict import judge
from coarsegrad.studies.yin2018 import STUDY, training

CLAIMS = {claim.id: claim for claim in STUDY.claims}


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_without_rows_nothing_is_claimed():
    assert {v.verdict for v in verdicts(STUDY, {}, "paper")} == {"not run"}


def descent(weights, trained, ratio, run, **other):
    """A run as the claims would have it."""
    known, settles = trained == "w", ratio > 0 and trained == "both"
    settles = settles or (known and weights == "fixed" and ratio >= 1)
    row = {
        "weights": weights, "trained": trained, "ratio": ratio, "run": run, "surrogate": "relu", "n": 8,
        "seed": 5, "step_size": 0.5, "steps": 3000, "inner": 1.01 if ratio else 0.001 + run,
        "least": -0.1 if ratio < 1 else 0.01, "excess": 0.01 if known and ratio >= 1 else None,
        "late_rises": int(not settles), "late_turns": int(not settles), "rises": 3, "elsewhere": 0,
        "hits": 1.0 if ratio == 1 else 0.4, "wrong": 0.1, "foretold_wrong": 0.1,
        "late_loss": {0.0: 0.2, 0.1: 0.1}.get(ratio, 0.3) + 0.001 * run,
    }  # fmt: skip
    return {**row, **other}


def network(kind, arm, seed, **other):
    values = {"clip()": (0.1, 95.0, 5.0), "": (0.1, 95.0, 5.0),
              training.AUTHORS: (0.1, 95.0 + (-1) ** seed, 5.0),
              training.CAP: (0.05, 97.0, 0.5), training.HEAVY: (0.2, 96.0, 0.1)}  # fmt: skip
    loss, accuracy, flips = values[arm]
    row = {"arm": arm, "seed": seed, "schedule": "constant", "epoch": 3, "epochs": 3, "largest": 0.5}
    row |= {"train_loss": loss + 0.001 * seed, "test_accuracy": accuracy + 0.1 * seed, "flips": flips}
    return {**row, "kind": kind, **other}


def good():
    """Rows with which every claim ends as the paper preset expects."""
    found = [
        descent(weights, trained, ratio, run) for weights in ("fixed", "binary", "ternary", "grid")
        for trained in ("w", "both") for ratio in (0.0, 0.1, 0.3, 1.0, 3.0) for run in range(40)
    ]  # fmt: skip
    found += [
        descent("binary", "both", 0.3, run, surrogate="identity", late_turns=int(run < 50))
        for run in range(100)
    ]
    arms, seeds = ("clip()", "", training.AUTHORS, training.CAP, training.HEAVY), range(4)
    digits = [network("digits", arm, seed) for arm in arms for seed in seeds]
    digits += [{**row, "schedule": "cosine"} for row in digits]
    resnet = [network("resnet20", a, s, epoch=e) for a in arms[:4] for s in seeds for e in (2, 3)]
    return {"descents": found, "digits": digits, "resnet20": resnet}


def test_rows_as_claimed_give_the_verdicts_that_were_committed():
    assert {v.claim.id: v.verdict for v in verdicts(STUDY, good(), "paper") if not v.as_expected} == {}


def changed(kind, where, **values):
    rows = good()
    for row in rows[kind]:
        if where.items() <= row.items():
            row.update(values)
    return rows


KNOWN, FREE = {"trained": "w"}, {"trained": "both", "weights": "binary", "surrogate": "relu"}


@pytest.mark.parametrize(
    ("name", "kind", "where", "values"),
    [
        ("inner-product", "descents", {"ratio": 0.3, "run": 1}, {"inner": 0.9}),
        ("nothing-without", "descents", {"ratio": 0.0}, {"inner": 0.2}),
        ("enough-weight", "descents", {**KNOWN, "ratio": 1.0, "run": 2}, {"excess": -0.01}),
        ("no-better-constant", "descents", KNOWN, {"excess": 0.1}),
        ("oscillates-without", "descents", {**KNOWN, "ratio": 0.0, "run": 0}, {"late_rises": 0}),
        ("settles-where-said", "descents", {"weights": "fixed", "run": 3}, {"elsewhere": 1}),
        ("sweet-spot", "descents", {"weights": "fixed", "ratio": 1.0, "run": 1}, {"hits": 0.9}),
        ("time-wrong", "descents", {"weights": "fixed"}, {"wrong": 0.5}),
        ("free-scale-known", "descents", {**KNOWN, "weights": "ternary", "run": 1}, {"late_rises": 0}),
        ("free-scale-trained", "descents", FREE, {"late_turns": 9}),
        ("trained-without", "descents", {**FREE, "ratio": 0.0}, {"late_turns": 0}),
        ("identity-does-not", "descents", {"surrogate": "identity"}, {"late_turns": 0}),
        ("a-little-helps", "descents", {"trained": "both", "ratio": 0.0}, {"late_loss": 0.0}),
        ("much-freezes", "descents", {"trained": "both", "ratio": 3.0}, {"late_loss": 0.0}),
        ("digits-constant", "digits", {"arm": training.CAP}, {"train_loss": 0.5}),
        ("digits-binary-connect", "digits", {"arm": training.CAP}, {"train_loss": 0.5}),
        ("digits-constant-accuracy", "digits", {"arm": training.CAP}, {"test_accuracy": 50.0}),
        ("digits-constant-much", "digits", {"arm": training.HEAVY}, {"train_loss": 0.0}),
        ("digits-authors", "digits", {"arm": training.AUTHORS}, {"train_loss": 0.2}),
        ("digits-flips", "digits", {"arm": training.CAP}, {"flips": 9.0}),
        ("digits-cosine", "digits", {"arm": training.HEAVY}, {"train_loss": 0.0}),
        ("resnet20-authors", "resnet20", {"arm": training.AUTHORS}, {"test_accuracy": 80.0}),
        ("resnet20-flips", "resnet20", {"arm": training.CAP}, {"flips": 9.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_rows_refute(name, kind, where, values):
    assert judge(CLAIMS[name], changed(kind, where, **values), "paper").verdict == "refuted"


def test_a_share_of_all_or_none_has_an_interval_and_too_few_runs_decide_nothing():
    found = CLAIMS["free-scale-trained"].estimate(good())
    assert found.estimate == found.high == 1 and 0.9 < found.low < 0.95
    few = {"descents": [row for row in good()["descents"] if row["run"] < 4]}
    assert judge(CLAIMS["free-scale-trained"], few, "paper").verdict == "unresolved"


def test_the_effect_of_blending_is_read_beside_none_and_not_beside_the_clip():
    rows = changed("digits", {"arm": "clip()"}, train_loss=0.0, flips=0.0)
    told = {name: judge(CLAIMS[name], rows, "paper").verdict for name in ("digits-constant", "digits-flips")}
    assert set(told.values()) == {"confirmed"}
    assert judge(CLAIMS["digits-binary-connect"], rows, "paper").verdict == "refuted"


def test_descent_at_any_weight_would_be_confirmed_where_it_held():
    assert judge(CLAIMS["any-weight"], changed("descents", {}, least=0.1), "paper").verdict == "confirmed"


def test_runs_too_short_to_settle_are_not_asked_to():
    short = [{**row, "steps": 3} for row in good()["descents"]]
    assert judge(CLAIMS["free-scale-trained"], {"descents": short}, "paper").verdict == "not run"
