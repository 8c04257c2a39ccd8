"""The claims: the smoke run, and planted rows so that each verdict turns."""

import pytest

from coarsegrad.studies import find
from coarsegrad.studies.optimizers import STUDY
from coarsegrad.studies.optimizers.claims import CLAIMS, JUDGED, log_ratios
from coarsegrad.studies.study import verdicts
from coarsegrad.studies.verdict import judge
from studies.optimizers.planted import planted, twins

BY = {claim.id: claim for claim in CLAIMS}


def verdict(name, rows):
    return judge(BY[name], rows, "paper").verdict


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_it_is_found_by_its_name():
    assert find("optimizers") is STUDY


def test_every_net_has_the_same_claims_and_every_bet_is_on_one(tmp_path):
    names = [{c.id.removeprefix(f"{net}-") for c in CLAIMS if c.id.startswith(f"{net}-")} for net in JUDGED]
    assert names[0] == names[1] and len(names[0]) == 9
    assert all(c.expects("smoke") == "not run" for c in CLAIMS if c.kind == "simulation")


@pytest.mark.parametrize("net", JUDGED)
def test_planted_effects_are_found(net, tmp_path):
    rows = planted(tmp_path)
    confirmed = ("order", "winner-carries", "interplay", "smooth-weights", "optimizer-first", "fewer-bits")
    assert {name: verdict(f"{net}-{name}", rows) for name in confirmed} == dict.fromkeys(
        confirmed, "confirmed"
    )
    found = BY[f"{net}-interplay"].estimate(rows)
    assert found.low < 0.1 < found.high and found.high - found.low < 0.05
    assert verdict(f"{net}-rate-too-high", rows) == "confirmed"
    assert BY[f"{net}-rate-too-high"].estimate(rows).estimate == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("order", {"swap": ("sgd", "adam", "muon")}),
        ("winner-carries", {"swap": ("sgd", "adam")}),
        ("interplay", {"interplay": -0.1}),
        ("smooth-weights", {"few": -1.0}),
        ("optimizer-first", {"few": 20.0}),
        ("rate-too-high", {"too_high": -0.2}),
        ("fewer-bits", {"few": 0.01, "interplay": 0.0, "too_high": 0.0}),
        ("lion-sensitive", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_planted_effects_the_other_way_refute(name, changes, tmp_path):
    assert verdict(f"text-{name}", planted(tmp_path, **changes)) == "refuted"


def test_an_order_that_turns_with_the_optimizer_is_told_from_chance(tmp_path):
    turned = planted(tmp_path, swap=("sgd", "adam", "muon"), noise=1e-4)
    assert verdict("text-order-moves", turned) == "confirmed"


def test_what_quick_trains_is_not_judged(tmp_path):
    rows = planted(tmp_path)
    smaller = [{**row, "width": 32} for row in rows["train"] if row["data"] == "text"]
    smaller += [{**row, "data": "digits"} for row in rows["train"] if row["data"] != "text"]
    grid = [claim.id for claim in CLAIMS if claim.id.split("-")[0] in JUDGED]
    assert {verdict(name, {"train": smaller}) for name in grid} == {"not run"}


def test_one_seed_judges_nothing_about_the_grid(tmp_path):
    rows = {"train": [row for row in planted(tmp_path)["train"] if row["seed"] == 2018]}
    assert verdict("text-order", rows) == verdict("text-fewer-bits", rows) == "not run"


def test_disguises_are_judged_by_ratios_to_a_rerun():
    found = {claim.id: verdict(claim.id, {"twins": twins()}) for claim in CLAIMS[:9]}
    assert set(found.values()) == {"confirmed"}
    rows = {"twins": twins(wave={"adam": 0.2, "muon": -0.2, "lion": 0.2})}
    assert [verdict(f"{name}-wave", rows) for name in ("adam", "muon", "lion")] == ["refuted"] * 3
    assert verdict("sgd-wave", rows) == "refuted"
    for row in rows["twins"]:
        row["distance"] += 1e-9 * (row["optimizer"] == "lion")
    assert verdict("lion-multiples", rows) == "refuted"


@pytest.mark.parametrize("run", ["plain", "times 8"])
def test_a_twin_that_broke_leaves_its_claims_open(run):
    rows = {"twins": twins()}
    for row in rows["twins"]:
        if row["seed"] == 3 and row["optimizer"] in ("adam", "lion") and run in ("plain", row["run"]):
            row.update(broke=True, distance=None, same=None, loss=None)
    open_ = {claim.id for claim in CLAIMS[:9] if verdict(claim.id, rows) == "unresolved"}
    more = {"adam-wave", "lion-wave", "sgd-wave"} if run == "plain" else set()
    assert open_ == {"lion-multiples", "adam-multiples"} | more


def test_ratios_are_paired_by_seed():
    rows = {"twins": [row for row in twins() if (row["optimizer"], row["seed"]) != ("sgd", 3)]}
    assert sorted(log_ratios(rows, "sgd", "wave")) == [0, 1, 2, 4, 5, 6, 7]
    assert verdict("sgd-wave", rows) == "confirmed"
