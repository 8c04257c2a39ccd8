import math

import pytest
import torch

from coarsegrad.studies.ichikawa2025 import STUDY, claims, runs
from coarsegrad.studies.ichikawa2025.plateau import BAND, FALL
from coarsegrad.studies.study import verdicts
from coarsegrad.studies.verdict import judge
from studies.ichikawa2025.ideal import ideal

CLAIMS = {claim.id: claim for claim in STUDY.claims}


def verdict(name, rows):
    return judge(CLAIMS[name], rows, "quick").verdict


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_nothing_measured_is_nothing_judged():
    assert {v.verdict for v in verdicts(STUDY, {}, "quick")} == {"not run"}


def test_rows_as_claimed_give_the_verdicts_that_were_committed():
    assert {v.claim.id: v.verdict for v in verdicts(STUDY, ideal(), "paper") if not v.as_expected} == {}


def changed(kind, which=lambda row: True, **values):
    rows = ideal()
    for row in rows[kind]:
        if which(row):
            row.update({k: value(row) if callable(value) else value for k, value in values.items()})
    return rows


def narrow_drop(row):
    return row["what"] == "limit" and row["reach"] == 1.2


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("limit-float", changed("size", off=0.1)),
        ("limit-quantized", changed("size", lambda row: row["inputs"], off=lambda row: 1 / row["d"])),
        ("close", changed("size", off=0.2)),
        ("no-bias", changed("size", signed=lambda row: 0.05)),
        ("heard", changed("size", late_residual=0.5)),
        ("law", changed("law", distance=0.1)),
        ("law", changed("law", lambda row: row["zero"], distance=1.2 / math.sqrt(3000))),
        ("not-monotone", changed("law", error=0.4)),
        ("plateau-and-drop", changed("curve", narrow_drop, fall_sharpness=0.3)),
        ("plateau-longer", changed("curve", narrow_drop, fall_length=1.0)),
        ("plateau-longer", changed("curve", lambda row: row["what"] == "limit", fall_length=0.0)),
        ("plateau-time", changed("curve", narrow_drop, fall_middle=100.0)),
        ("plateau-time", changed("curve", narrow_drop, fall_middle=None)),
        ("plateau-simulated", changed("simulated", lambda row: row["what"] == "run", fall_middle=90.0)),
        ("plateau-simulated", changed("simulated", lambda row: row["what"] == "run", fall_middle=None)),
        ("plateau-rises", changed("curve", rise_sharpness=0.2)),
        ("fixed-point", changed("fixed", flow=0.1)),
        ("fixed-point-simulated", changed("fixed", seen=lambda row: 2 * row["closed"])),
        ("gap", changed("formula", closed=lambda row: row["spacing"] ** 2)),
        ("best-range", changed("range", closed=lambda row: 1 + 0.001 * row["reach"])),
        ("regularizer", changed("fixed", float_seen=0.01)),
        ("stable", changed("fixed", lambda row: row["step_size"] > 2, float_seen=3.0)),
        ("slopes", changed("slope", lambda row: row["surrogate"] == "hardtanh", late_limit=0.2)),
        ("clipping-costs", changed("slope", late=0.12)),
        ("leak-mends", changed("slope", lambda row: "leaky" in row["surrogate"], late=0.3)),
    ],
)
def test_other_rows_refute(name, rows):
    assert verdict(name, rows) == "refuted"


def test_a_plateau_from_a_normal_start_would_not_be_refuted():
    assert verdict("plateau-from-normal", changed("wide", fall_sharpness=2.0)) == "confirmed"


def test_errors_that_left_the_floats_count_as_run_away():
    assert (
        verdict("stable", changed("fixed", lambda row: row["step_size"] > 2, float_seen=None)) == "confirmed"
    )


def test_one_run_or_two_sizes_are_too_few():
    rows = ideal()
    rows["size"] = [row for row in rows["size"] if row["d"] < 1000]
    rows["law"] = [row for row in rows["law"] if row.get("run", 0) == 0 and not row["zero"]]
    found = {name: verdict(name, rows) for name in ("limit-float", "law", "not-monotone")}
    assert set(found.values()) == {"not run"}


def test_errors_of_opposite_sign_with_float_and_quantized_inputs_do_not_cancel():
    up = changed("size", lambda row: row["inputs"], signed=lambda row: 0.05)["size"]
    rows = {"size": [row if row["inputs"] else {**row, "signed": -0.05} for row in up]}
    assert verdict("no-bias", rows) == "refuted"


def test_only_the_largest_d_is_held_to_its_own_size():
    rows = changed("size", lambda row: row["d"] < 1000, off=9.0, signed=9.0)
    assert verdict("close", rows) == verdict("no-bias", rows) == "confirmed"


def test_a_run_counts_once():
    rows = ideal()
    twice = {"slope": rows["slope"] + rows["slope"]}
    assert CLAIMS["slopes"].estimate(twice) == CLAIMS["slopes"].estimate(rows)


def test_errors_of_opposite_sign_do_not_cancel():
    steps = changed(
        "fixed", lambda r: r["step_size"] < 2, seen=lambda r: r["closed"] * (2.4 - r["step_size"])
    )
    assert CLAIMS["fixed-point-simulated"].estimate(steps).estimate == pytest.approx(1.9)
    off = {"identity": 0.0, "hardtanh": 0.2, "leaky_hardtanh": -0.3}
    late = {"late": lambda r: r["late_limit"] + off[r["surrogate"]]}
    slopes = changed("slope", lambda r: r["what"] == "run", **late)
    assert CLAIMS["slopes"].estimate(slopes).estimate == pytest.approx(-0.3)
    assert verdict("fixed-point-simulated", steps) == verdict("slopes", slopes) == "refuted"


def test_independent_draws_are_as_far_from_their_law_as_is_said():
    """sqrt(d) Kolmogorov's distance of uniform draws; the bias of a finite d is about 1 / (6 sqrt d)."""
    d, count = 2000, 800
    draws = (
        torch.rand(count, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort().values
    )
    above, below = torch.arange(1, d + 1) / d - draws, draws - torch.arange(d) / d
    mean = math.sqrt(d) * float(torch.maximum(above.amax(1), below.amax(1)).mean())
    assert mean == pytest.approx(claims.INDEPENDENT, abs=4 * 0.26 / math.sqrt(count) + 1 / (6 * math.sqrt(d)))


def test_what_a_name_stands_for_is_settled():
    """Ids of tasks hold names, and rows hold plateaus: whoever changes these raises the tasks' version."""
    assert (BAND, FALL, runs._BINS, runs._LEAST) == (1.1, 2.0, 100, 1e-9)
    assert {name: len(values) for name, values in runs.TEACHERS.items()} == {
        "ones": 1, "normal, 16 values": 16, "normal, 64 values": 64,
    }  # fmt: skip
    assert runs.TEACHERS["ones"] == (1.0,)
    for name, first in (("normal, 16 values", -1.862731867), ("normal, 64 values", -2.417559016)):
        assert runs.TEACHERS[name][0] == pytest.approx(first, abs=1e-9)


def test_the_gap_is_in_sixths_of_a_squared_spacing_and_the_best_range_is_the_least():
    assert claims.gap({"closed": 0.5, "unquantized": 0.2, "spacing": 3.0}) == pytest.approx(0.2)
    best, worse = claims.best_range(ideal(), 2, True)
    assert best == pytest.approx(1.0) and worse == pytest.approx(math.exp(math.log(2) ** 2))


def test_seeds_of_simulations_differ():
    for preset in ("quick", "paper"):
        seeds = [
            task.settings["seed"] for task in STUDY.planned(preset)
            if task.settings.get("runs") and task.kind != "slope"
        ]  # fmt: skip
        assert len(seeds) == len(set(seeds)) > 5
