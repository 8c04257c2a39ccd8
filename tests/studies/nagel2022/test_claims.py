from importlib import import_module

import pytest

from coarsegrad.studies.nagel2022 import STUDY, claims, toy
from coarsegrad.studies.study import verdicts
from coarsegrad.studies.verdict import judge
from studies.nagel2022.network_rows import network_rows

CLAIMS = {claim.id: claim for claim in STUDY.claims}
formulas = import_module("coarsegrad.theory.oscillation")


def verdict(name, rows, preset="paper"):
    return judge(CLAIMS[name], rows, preset).verdict


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []
    ended = {v.verdict for v in verdicts(STUDY, smoke, "smoke")}
    assert ended == {"confirmed", "refuted", "not run"}  # of one seed there is no interval


def test_nothing_measured_is_nothing_judged():
    assert {v.verdict for v in verdicts(STUDY, {}, "paper")} == {"not run"}


@pytest.mark.parametrize(
    ("formula", "value", "broken"),
    [
        ("level_changes", lambda share: 1.9 * min(share, 1 - share), "factors-do-not-stop-it"),
        ("duty", lambda rise, fall: 0.5, "dampening-stops-at-the-distance"),
    ],
    ids=["level_changes", "duty"],
)
def test_a_broken_formula_changes_a_verdict(monkeypatch, formula, value, broken):
    settings = {"targets": 8, "steps": 3000, "step": 0.01}
    monkeypatch.setattr(formulas, formula, value)
    monkeypatch.setattr(claims, "level_changes", formulas.level_changes)
    about = {"method": "EWGS 0.2", "start": 0.4, **toy.METHODS["EWGS 0.2"], **settings}
    rows = {
        "methods": [{**about, **row} for row in toy.methods(about, None)],
        "pushed": list(toy.pushed({**settings, "strengths": (-0.4, -0.1)}, None)),
    }
    assert verdict(broken, rows) == "refuted"


def test_starts_from_beyond_are_kept_apart_from_those_between():
    row = {"share": 0.3, "mean": 0.3, "changes": 0.6, "step": 0.1, "levels": 2}
    rows = {"methods": [{**row, "method": "PSG", "start": 0.4},
                        {**row, "method": "PSG", "start": 1.2, "changes": 0.0}]}  # fmt: skip
    assert verdict("factors-do-not-stop-it", rows) == verdict("psg-stops-beyond", rows) == "confirmed"
    rows["methods"][0]["changes"] = 0.0
    assert verdict("factors-do-not-stop-it", rows) == "refuted"


def test_the_frequency_of_plain_steps_is_bounded_on_both_sides():
    row = {"method": "plain", "start": 0.4, "share": 0.3, "step": 0.1, "levels": 2}
    for changes, said in ((0.6, "confirmed"), (0.5, "refuted"), (0.7, "refuted")):
        assert verdict("any-step", {"methods": [{**row, "changes": changes}]}) == said


def test_momentum_binds_changes_only_where_two_levels_are_visited():
    row = {"method": "momentum 0.9", "start": 0.4, "share": 0.3, "step": 0.3, "changes": 0.9}
    for levels, said in ((2, "refuted"), (3, "not run")):
        rows = {"large": [{**row, "levels": levels}]}
        assert verdict("momentum-is-slower", rows) == said
        assert verdict("momentum-is-slower-at-all", rows) == "refuted"


def test_networks_are_compared_seed_by_seed():
    rows = {"network": network_rows(fresh={"dampening": -2.0, "freezing": 1.0, "induced float": -3.0})}
    assert verdict("dampening-gains-beyond", rows) == "refuted"
    assert verdict("dampening-fragile", rows) == verdict("freezing-gains-beyond", rows) == "confirmed"
    assert verdict("induced-float-recovers", rows) == "refuted"
    assert verdict("stale-statistics-cost-annealed", rows) == "refuted"
    assert CLAIMS["dampening-gains-beyond"].estimate(rows).estimate == pytest.approx(-2.0)


def test_re_estimation_gains_what_fresh_is_above_stale():
    rows = {"network": network_rows(stale={"none": -4.0, "float": -1.0, "dampening": 2.0})}
    gained = CLAIMS["stale-statistics-cost"].estimate(rows)
    assert gained.estimate == pytest.approx(4.0, abs=0.02) and gained.low > 3.9
    more = CLAIMS["stale-for-being-quantized"].estimate(rows)
    assert more.estimate == pytest.approx(3.0) and verdict("stale-for-being-quantized", rows) == "confirmed"
    assert verdict("dampening-mends-stale", rows) == "confirmed"
    assert verdict("inducing-worsens-stale", rows) == "refuted"


def test_shares_and_statistics_are_compared_in_their_own_units():
    rows = {"network": network_rows(oscillating={"none": 0.4, "dampening": 0.1, "inducing": 0.3})}
    assert CLAIMS["dampening-stops"].estimate(rows).estimate == pytest.approx(0.3)
    assert verdict("inducing-induces", rows) == "refuted"
    assert verdict("depthwise-most", rows) == "confirmed"


def test_a_seed_that_lacks_an_arm_is_left_out():
    rows = {"network": [r for r in network_rows() if r.get("arm") != "freezing" or r["seed"] != 2]}
    assert verdict("freezing-gains-beyond", rows) != "not run"
    rows = {"network": [r for r in network_rows() if r.get("arm") != "freezing"]}
    assert verdict("freezing-gains-beyond", rows) == "not run"


def test_what_digits_cannot_tell_is_not_judged_on_them():
    rows = {"network": [{**row, "data": "digits"} for row in network_rows(fresh={"freezing": 1.0})]}
    assert verdict("freezing-gains-beyond", rows) == "not run"
    assert verdict("dampening-stops", rows) != "not run"
