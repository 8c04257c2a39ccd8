"""The grid's numbers on rows whose answer is known."""

import pytest

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


def test_one_order_agrees_and_a_turned_one_disagrees():
    rising, falling = {"a": [1, 1], "b": [2, 2], "c": [3, 3]}, {"a": [3, 3], "b": [2, 2], "c": [1, 1]}
    assert g.agreement(scores(sgd=rising, adam=rising), one=False) == [1, 1]
    turned = scores(sgd=rising, adam=falling)
    assert g.agreement(turned, one=False) == [-1, -1] and g.agreement(turned, one=True) == [1, 1]


def test_agreement_never_compares_runs_of_one_seed():
    """The order is the seed's alone: two optimizers agree on one seed, and never on two."""
    by_seed = {"a": [1, 3], "b": [2, 2], "c": [3, 1]}
    assert g.agreement(scores(sgd=by_seed, adam=by_seed), one=False) == [-1, -1]


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


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [([1, 2, 3], [4, 5, 6], 1), ([1, 2, 3], [6, 5, 4], -1), ([1, 1, 1], [1, 2, 3], 0),
     ([1, 2, 2, 3], [1, 2, 2, 3], 1)],
    ids=["same", "turned", "flat", "ties"],
)  # fmt: skip
def test_the_rank_correlation_is_spearmans(a, b, value):
    assert g.rank_correlation(a, b) == pytest.approx(value)


def test_it_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="needs scipy: pip install scipy")
    a, b = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0], [2.0, 7.0, 1.0, 8.0, 2.0, 8.0]
    assert g.rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_an_interval_needs_two_seeds():
    assert g.over_seeds([1.0]) is None and g.over_seeds([1.0, 3.0]).estimate == 2
