"""The grid's numbers on rows whose answer is known."""

import math
import random

import pytest

from coarsegrad.measure import mean_interval
from coarsegrad.studies.optimizers import grid as g


def rows(losses, held_out=None):
    """``losses``: {(optimizer, estimator): {rate: [loss of seed 0, 1, ...]}}."""
    return {
        "train": [
            {"optimizer": o, "estimator": e, "lr": lr, "seed": seed, "loss": loss,
             "held_out": (held_out or losses)[o, e][lr][seed], "data": "text", "bits": "w1a2"}
            for (o, e), by in losses.items() for lr, runs in by.items() for seed, loss in enumerate(runs)
        ]
    }  # fmt: skip


def scores(**by_optimizer):
    """``sgd={"window": [1, 2]}``: losses by seed."""
    return {o: {e: dict(enumerate(v)) for e, v in by.items()} for o, by in by_optimizer.items()}


def test_the_rate_of_a_seed_is_chosen_by_the_other_seeds_on_what_is_held_out():
    held_out = {("sgd", "window"): {0.1: [0, 9, 9], 0.2: [5, 5, 5], 0.3: [5.1, 5, 5]}}
    test = {("sgd", "window"): {0.1: [1, 1, 1], 0.2: [7, 8, 9], 0.3: [0, 0, 0]}}
    found = g.grid(rows(test, held_out))
    cell = found["sgd"]["window"]
    assert [g.tuned_rate(cell, seed) for seed in range(3)] == [0.2, 0.1, 0.1]
    assert g.tuned(found) == {"sgd": {"window": {0: 7, 1: 1, 2: 1}}}
    assert g.at_top_rate(found) == {"sgd": {"window": {0: 0, 1: 0, 2: 0}}}


def test_of_equal_rates_the_smallest_and_a_seed_alone_chooses_for_itself():
    found = g.grid(rows({("sgd", "window"): {0.3: [1.0], 0.1: [1.0], 0.2: [2.0]}}))
    assert g.tuned_rate(found["sgd"]["window"], 0) == 0.1


def test_only_rows_of_these_settings_and_seeds_that_all_have():
    made = rows({("sgd", "window"): {0.1: [1, 2, 3]}, ("sgd", "relu"): {0.1: [1, 2]}})
    assert g.grid(made, data="text", width=64) == {}
    assert g.seeds_of(g.tuned(g.grid(made, data="text", width=None))) == [0, 1]
    assert g.tuned(g.grid({})) == {} and g.seeds_of({}) == []


def test_gaps_and_spreads_are_paired_by_seed():
    made = scores(sgd={"a": [1, 2], "b": [4, 2.5]}, adam={"a": [0, 0], "b": [1, 1]})
    assert g.gap(made, "sgd", "a", "b") == [3, 0.5] and g.gap(made, "sgd", "a", "c") == []
    assert g.mean_gap(made, "a", "b") == [2, 0.75]
    assert g.spread(made, "sgd") == [3, 0.5] and g.spread(made, "lion") == []
    assert g.spread_of_estimators(made) == [2, 0.75]
    assert g.spread_of_optimizers(made) == [2, 1.75]


def test_the_best_and_the_worst_of_a_spread_are_chosen_on_the_other_seeds():
    made = scores(sgd={"a": [0, 6, 6], "b": [2, 2, 2], "c": [3, 0, 0]})
    assert g.spread(made, "sgd") == [0 - 3, 6 - 0, 6 - 0]
    assert g.spread(scores(sgd={"a": [1], "b": [2]}), "sgd") == []


def test_a_spread_by_chance_alone_is_0_in_the_mean_whatever_the_number_and_the_noise():
    draw, count = random.Random(3), 1500
    noise = dict.fromkeys(("sgd", "adam", "adamw", "muon"), 1.0) | {"lion": 2.0}
    optimizers, lion = [], []
    for _ in range(count):
        made = scores(
            **{o: {e: [draw.gauss(0, s) for _ in range(4)] for e in "abcd"} for o, s in noise.items()}
        )
        spreads = (g.spread_of_optimizers(made), g.spread_of_estimators(made))
        optimizers.append(sum(spreads[0]) - sum(spreads[1]))
        lion.append(sum(g.spread(made, "lion")) - sum(g.spread(made, "adam")))
    for values in (optimizers, lion):  # four standard errors: one false alarm in 16,000
        told = mean_interval(values, confidence=1 - 6.3e-5)
        assert told.low < 0 < told.high


def estimates(*found):
    return [value.estimate for value in found]


def test_one_order_agrees_and_a_turned_one_disagrees():
    rising, falling = (
        {e: [loss] * 3 for e, loss in zip("abc", order, strict=True)} for order in ((1, 2, 3), (3, 2, 1))
    )
    same, turned = scores(sgd=rising, adam=rising), scores(sgd=rising, adam=falling)
    assert estimates(g.agreement(same, one=False), g.moved(same)) == [1, 0]
    assert estimates(*(g.agreement(turned, one=one) for one in (False, True)), g.moved(turned)) == [-1, 1, 2]


def test_agreement_never_compares_runs_of_one_seed():
    """The order is the seed's alone: two optimizers agree on one seed, and on no two."""
    by_seed = {"a": [1, 2, 3], "b": [2, 3, 1], "c": [3, 1, 2]}
    made = scores(sgd=by_seed, adam=by_seed)
    assert g.agreement(made, one=False).estimate == pytest.approx(-0.5)
    assert math.isnan(g.moved(made).estimate)


def test_two_seeds_tell_nothing_about_orders():
    made = scores(sgd={"a": [1, 1], "b": [2, 2]}, adam={"a": [1, 1], "b": [2, 2]})
    assert g.agreement(made, one=False) is g.agreement(made, one=True) is g.moved(made) is None


@pytest.mark.parametrize("seeds", [3, 8])
def test_an_optimizer_that_is_only_noisier_moves_no_order(seeds):
    """One order for all, told more or less well: the plain difference of correlations would see a move."""
    draw, count = random.Random(seeds), 200
    noise = {"sgd": 0.3, "adam": 0.5, "lion": 1.0, "muon": 1.5}
    known, seen, plain = 0, 0, []
    for _ in range(count):
        made = {
            o: {e: {seed: k + draw.gauss(0, s) for seed in range(seeds)} for k, e in enumerate("abcd")}
            for o, s in noise.items()
        }
        told = g.moved(made)
        known += not math.isnan(told.estimate)
        seen += told.low >= 0
        plain.append(g.agreement(made, one=True).estimate - g.agreement(made, one=False).estimate)
    assert known > 0.2 * count and seen < 0.05 * count
    assert sum(plain) / count > 0.02


def test_a_carried_winner_costs_what_it_loses_where_it_is_used():
    made = scores(sgd={"a": [1, 1, 1], "b": [2, 2, 2]}, adam={"a": [3, 3, 3], "b": [1, 1, 1]})
    assert g.winner(made, "sgd") == "a" and g.winner(made, "adam") == "b"
    assert g.cost_of_winner(made, "sgd", "adam") == [2, 2, 2]
    assert g.mean_cost(made) == [1.5, 1.5, 1.5]


def test_a_winner_by_chance_is_no_gain():
    """Whoever wins on this seed, the winner is chosen on the others."""
    made = scores(sgd={"a": [0, 5, 5], "b": [5, 0, 0]}, adam={"a": [1, 1, 1], "b": [2, 2, 2]})
    assert g.winner(made, "sgd", but=0) == "b" and g.winner(made, "sgd", but=1) in "ab"
    assert g.cost_of_winner(made, "adam", "sgd")[0] == 0 - 5


def test_an_interval_needs_two_seeds():
    assert g.over_seeds([1.0]) is None and g.over_seeds([1.0, 3.0]).estimate == 2
