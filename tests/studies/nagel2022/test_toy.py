from fractions import Fraction

import pytest

from coarsegrad.studies.nagel2022 import toy

EXACT = {"bits": 2, "steps": 60, "step": "1/3", "targets": 7, "phases": 3, "curvature": "3/2"}


@pytest.mark.parametrize("step", ["2/3", "1/3", "1/50"])
def test_every_code_is_the_formulas_up_to_the_edge(step):
    (row,) = toy.exact({**EXACT, "step": step}, None)
    assert row["codes"] == 3 * 7 * 3 * 60
    assert row["wrong"] == 0 and row["off_changes"] <= 2 and row["off_mean"] <= 1


def test_another_formula_is_found_out(monkeypatch):
    monkeypatch.setattr(
        toy.oscillation, "visits", lambda share, at, k: int(at + k * share * Fraction(99, 100))
    )
    (row,) = toy.exact(EXACT, None)
    assert row["wrong"] > 0


def test_the_float_loss_with_the_term_is_the_quantized_loss():
    (row,) = toy.twins({"targets": 5, "steps": 40, "step": "1/10"}, None)
    assert row == {"latents": 200, "apart": 0}


def counted(method, start=0.4, step=0.02, targets=8):
    settings = {"targets": targets, "steps": 3000, "step": step, "start": start, **toy.METHODS[method]}
    return list(toy.methods(settings, None))


@pytest.mark.parametrize("method", toy.METHODS)
def test_no_method_stops_a_weight_between_two_levels(method):
    rows = counted(method)
    assert min(row["changes"] for row in rows) > 0.01
    assert max(abs(row["mean"] - row["share"]) for row in rows) < 0.01


@pytest.mark.parametrize(("method", "step"), [("plain", 1.5), ("momentum 0.5", 1.0), ("momentum 0.9", 0.3)])
def test_large_steps_visit_more_levels_and_keep_the_mean_not_the_frequency(method, step):
    rows = counted(method, step=step, targets=40)
    assert max(row["levels"] for row in rows) > 2 == max(row["levels"] for row in counted(method))
    assert max(row["changes"] / (2 * min(row["share"], 1 - row["share"])) for row in rows) > 1.5
    assert max(abs(row["mean"] - row["share"]) for row in rows) < 0.01


def test_psg_stops_a_weight_that_comes_from_beyond_and_no_other_does():
    assert all(row["changes"] == 0 and row["last"] == 1 for row in counted("PSG", start=1.2))
    assert all(row["changes"] > 0 for row in counted("EWGS 1", start=1.2))


def test_a_weight_is_dampened_at_its_distance_and_no_sooner():
    settings = {"targets": 5, "steps": 4000, "step": 0.01, "strengths": (-0.35, -0.25, 0.2)}
    rows = list(toy.pushed(settings, None))
    assert len(rows) == 5 * 2 * (3 + 1)  # the float loss with the one strength that suits it
    at = {(r["strength"], round(r["share"], 1), r["side"]): r for r in rows if r["quantized"]}
    for side in (0, 1):
        assert at[-0.25, 0.3, side]["changes"] > 0 == at[-0.35, 0.3, side]["changes"]
        assert at[-0.35, 0.3, side]["last"] == 0 and at[-0.35, 0.7, side]["last"] == 1
        assert at[0.2, 0.1, side]["changes"] > 2 * at[0.2, 0.1, side]["share"]


def test_a_trace_climbs_to_the_threshold_and_stays_about_it():
    rows = list(toy.trace({"share": 0.3, "start": 0.1, "step": 0.1, "steps": 60}, None))
    assert [row["at"] for row in rows] == list(range(60)) and rows[0]["latent"] == 0.1
    assert all(0.5 - 0.07 - 1e-9 <= row["latent"] < 0.53 + 1e-9 for row in rows[20:])
