import pytest

from coarsegrad.studies.leaderboard import CLAIMS, STUDY, chosen
from coarsegrad.studies.leaderboard.story import paired
from coarsegrad.studies.study import verdicts


def row(method, accuracy, seed=1, bits="w1a1", what="epoch", lr=0.1, loss=1.0):
    return {
        "data": "digits", "bits": bits, "method": method, "what": what, "final": True, "epoch": 3, "lr": lr,
        "setting": None, "seed": seed, "test_accuracy": accuracy, "test_loss": loss,
    }  # fmt: skip


def test_the_best_trial_has_the_highest_accuracy_then_the_lowest_loss():
    trials = [row("ste", 80.0, lr=0.1), row("ste", 81.0, lr=0.2), row("ste", 81.0, lr=0.3, loss=0.5)]
    assert chosen({"trial": trials}) == {("digits", "w1a1", "ste"): (0.3, None)}
    failed = {**row("ste", 99.0), "what": "failed"}
    assert chosen({"trial": [failed]}) == {}


def test_differences_are_paired_by_seed():
    rows = {"run": [row("ste", 80.0, 1), row("ste", 90.0, 2), row("ede", 91.0, 2), row("ede", 79.0, 3)]}
    assert paired(rows, ("digits", "w1a1", "ede"), ("digits", "w1a1", "ste")) == [1.0]


def test_a_claim_is_about_the_difference_it_names():
    rows = {"run": [r for s in (1, 2, 3) for r in (row("ste", 80.0 + s, s), row("ede", 81.0 + 1.1 * s, s))]}
    found = {v.claim.id: v for v in verdicts(STUDY, rows, "quick")}
    assert found["ede-over-plain-w1a1"].found.estimate == pytest.approx(1.2)
    assert found["ede-over-plain-w1a1"].verdict == "confirmed"
    assert found["reste-over-plain-w1a1"].verdict == "not run"


def test_a_method_with_a_seed_that_failed_has_no_place_and_no_verdict():
    rows = {"run": [r for s in (1, 2, 3) for r in (row("ste", 80.0 + s, s), row("float", 90.0, s, "float"))]}
    rows["run"] += [row("ede", 90.0 + s / 9, s) for s in (1, 2)]
    rows["run"] += [{**row("ede", 0.0, 3), "what": "failed", "reason": "The loss is nan"}]
    found = {v.claim.id: v.verdict for v in verdicts(STUDY, rows, "quick")}
    assert found["ede-over-plain-w1a1"] == "unresolved"
    chapter = STUDY.story(rows)[1]
    board = [dict(zip(chapter.tables[0].columns, r, strict=True)) for r in chapter.tables[0].rows]
    assert [(r["method"], r["place"], r["seeds"]) for r in board] == [
        ("float", None, 3), ("ste", 1, 3), ("ede", None, 2)
    ]  # fmt: skip
    assert "Seed 3 of ede: The loss is nan" in chapter.text and "**ste**" in chapter.text


def test_a_cell_whose_trials_all_failed_is_named_and_so_is_a_missing_float_model():
    rows = {"run": [row("ste", 80.0)], "trial": [{**row("ede", 0.0), "what": "failed"}]}
    assert "no trial ended in finite numbers: ede" in STUDY.story(rows)[1].text


def test_a_width_where_nothing_was_trained_is_not_run_though_the_float_model_was_calibrated_there():
    rows = {"run": [row("ste", 80.0), row("float", 70.0, bits="w4a4", what="ptq")]}
    assert "the widths W1A2, W2A2, W4A4, W32A2" in STUDY.story(rows)[0].text


def test_the_smoke_preset_tells_the_whole_page(smoke):
    chapters = STUDY.story(smoke)
    assert [chapter.title for chapter in chapters] == [
        "What is studied", "digits, W1A1", "digits, W2A2", "Which cells are valid", "All tuning"
    ]  # fmt: skip
    board = chapters[1].tables[0]
    assert len(board.rows) == 10 and board.rows[0][1] == "float" and board.rows[-1][1].startswith("untrained")
    assert len(chapters[-1].tables[0].rows) == 15
    assert "Not run" in chapters[0].text and "CIFAR-10" in chapters[0].text
    assert all(v.as_expected for v in verdicts(STUDY, smoke, "smoke"))


def test_without_rows_there_is_a_page_too():
    assert STUDY.story({})[0].title == "What is studied"
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
