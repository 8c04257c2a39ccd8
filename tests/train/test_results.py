import math

import pytest

from coarsegrad.train.compare import Comparison
from coarsegrad.train.results import collapsed, differences, finals, sentences, summary


def rows_of(scores):
    """Two epochs per run; the last one has the score."""
    made = []
    for (bits, surrogate), values in scores.items():
        for seed, value in enumerate(values):
            for epoch, accuracy in ((0, value),) if surrogate == "ptq" else ((1, 95.0), (2, value)):
                arm = (
                    {}
                    if surrogate == "ptq"
                    else {
                        "weight_surrogate": "usual" if surrogate else "",
                        "activation_surrogate": surrogate,
                    }
                )
                made.append(
                    {
                        "task": f"{bits} {surrogate} {seed}",
                        "bits": bits,
                        **arm,
                        "seed": seed,
                        "rate": 0.1,
                        "epoch": epoch,
                        "test_accuracy": accuracy,
                    }
                )
    return made


THREE = Comparison(surrogates=("relu", "identity", "tanh"), seeds=4)
SCORES = {
    ("float", ""): [99.0, 99.1, 99.0, 98.9],
    ("w1a2", "ptq"): [60.0, 61.0, 62.0, 61.0],
    ("w1a2", "relu"): [97.0, 97.2, 97.1, 97.3],
    ("w1a2", "identity"): [90.1, 90.0, 90.4, 90.2],
    ("w1a2", "tanh"): [97.1, 97.0, 97.3, 97.2],
}


def test_the_last_epoch_counts_and_float_stands_first_then_untrained():
    found = summary(rows_of(SCORES), THREE)
    assert [row["arm"] for row in found] == [
        "float",
        "w1a2 calibrated only",
        "w1a2 relu",
        "w1a2 identity",
        "w1a2 tanh",
    ]
    assert [row["accuracy"] for row in found] == pytest.approx([99.0, 61.0, 97.15, 90.175, 97.15])
    assert all(row["low"] < row["accuracy"] < row["high"] <= 100 for row in found)


def test_a_clear_difference_is_resolved_and_a_blur_says_what_it_would_take():
    pairs = {(r["a"], r["b"]): r for r in differences(rows_of(SCORES), THREE)}
    assert len(pairs) == 3
    clear, blur = pairs["w1a2 relu", "w1a2 identity"], pairs["w1a2 relu", "w1a2 tanh"]
    assert clear["resolved"] and clear["p_holm"] >= clear["p"] and clear["more_seeds"] == 0
    assert not blur["resolved"] and (blur["more_seeds"] is None or blur["more_seeds"] > 0)


def test_differences_equal_in_all_seeds_are_not_taken_for_certain():
    same = {("w1a2", "relu"): [97.0, 97.5], ("w1a2", "identity"): [96.5, 97.0]}
    (pair,) = differences(rows_of(same), Comparison(surrogates=("relu", "identity"), seeds=2))
    assert not pair["resolved"] and pair["p"] == 1 and pair["more_seeds"] is None and pair["high"] == math.inf


def test_a_missing_run_leaves_its_pair_out_and_other_seeds_and_arms_are_not_counted():
    rows = [r for r in rows_of(SCORES) if (r.get("activation_surrogate"), r["seed"]) != ("relu", 2)]
    rows += rows_of({("w4a4", "relu"): [50.0]})
    pairs = {(r["a"], r["b"]): r["pairs"] for r in differences(rows, THREE)}
    assert pairs["w1a2 relu", "w1a2 identity"] == 3 and pairs["w1a2 identity", "w1a2 tanh"] == 4
    assert {arm.bits for arm in finals(rows, THREE)} == {"float", "w1a2"}


def test_one_seed_claims_nothing():
    one = {key: values[:1] for key, values in SCORES.items()}
    c = Comparison(surrogates=("relu", "identity", "tanh"), seeds=1)
    assert not any(r["resolved"] for r in differences(rows_of(one), c))


def test_a_collapse_is_told():
    scores = {**SCORES, ("w1a2", "tanh"): [97.1, 10.0, 97.3, 97.2]}
    assert collapsed(rows_of(scores), THREE) == ["w1a2 tanh, seed 1: 95.0 % at best, 10.0 % at the end"]
    assert [text.split(":")[0] for text in sentences(rows_of(scores), THREE)][-1] == "Collapsed in training"


def test_no_rows_no_claims():
    assert sentences([], THREE) == []
    assert all(row["accuracy"] is None for row in summary([], THREE))
