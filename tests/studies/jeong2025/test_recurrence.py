import pytest

from coarsegrad.studies.jeong2025 import recurrence
from coarsegrad.studies.study import results, run, verdicts
from coarsegrad.studies.verdict import judge

STUDY = recurrence.STUDY
CLAIMS = {claim.id: claim for claim in STUDY.claims}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recurrence")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_a_cell_has_the_same_seed_for_all_surrogates_and_another_than_its_neighbours():
    tasks = [task.settings for task in STUDY.planned("paper") if task.kind == "noise"]
    seeds = {}
    for cell in tasks:
        seeds.setdefault(cell["seed"], set()).add((cell["n"], cell["multiple"], cell["noise"]))
    assert all(len(cells) == 1 for cells in seeds.values())
    assert len(seeds) == len(set().union(*seeds.values()))
    assert {"identity", "relu", "clipped_relu"} == {cell["surrogate"] for cell in tasks}
    assert all(cell["steps"] >= 1_000_000 and cell["multiple"] >= 32 for cell in tasks)


def test_cells_where_no_pattern_recurs_are_left_out():
    tasks = [task.settings for task in STUDY.planned("paper") if task.kind == "noise"]
    assert max(cell["noise"] for cell in tasks if cell["n"] == 50) == 0.1
    assert max(cell["noise"] for cell in tasks if cell["n"] == 10) == 1.0


def one(**other):
    """A run as the claims would have it."""
    row = {
        "what": "run", "n": 20, "multiple": 128, "noise": 0.3, "surrogate": "relu", "steps": 1_000_000,
        "step_size": 0.05, "seed": 1, "run": 0, "last": 1, "ergodic": 1, "hit": 1, "visits": 5000,
        "occupancy": 0.7, "own": 0.7, "own_wrong": 0.3, "coupled": 0.7, "averaged": 0.7,
        "averaged_wrong": 0.3,
    }  # fmt: skip
    return {**row, **other}


def good():
    found = []
    for seed, noise, multiple in ((1, 0.1, 128), (2, 0.3, 128), (3, 0.1, 32)):
        for k in range(40):
            about = {"seed": seed, "noise": noise, "multiple": multiple, "run": k, "last": int(k % 10 < 7)}
            few = 0.05 + 0.001 * (k % 2) if multiple == 32 else 0.001 * (k % 2)
            found.append(one(**about, own=0.7 - few, coupled=0.7 - few))
            found.append(one(**about, own=0.7 - few, coupled=0.7 - few, surrogate="identity"))
    for row in found:
        if row["surrogate"] == "identity":
            row.update(
                occupancy=0.777, own=row["own"] + 0.077, coupled=row["coupled"] + 0.077, averaged=0.777
            )
            row["last"] = int(row["run"] % 10 < 8)
    quiet = [one(noise=0.0, seed=9, run=k, visits=1, occupancy=0.99) for k in range(5)]
    walks = [
        {"what": "run", "weights": "binary", "spread": 0.1, "steps": 1_000_000, "run": 0, "seed": 4,
         "occupancy": 0.6, "own": 0.6, "own_wrong": 0.45, "late_visits": 9},
        {"what": "run", "weights": "ternary", "spread": 0.1, "steps": 1_000_000, "run": 0, "seed": 5,
         "occupancy": 0.6, "late_visits": 9},
    ]  # fmt: skip
    return {
        "noise": found + quiet,
        "rates": [one(seed=2, run=k, step_size=0.3, occupancy=0.7001) for k in range(40)],
        "float": [one(seed=6, run=k, noise=0.0, occupancy=0.7 + 0.001 * (k % 2)) for k in range(9)],
        "population": walks,
        "example": [{**walks[0], "late_visits": late, "run": k} for k, late in enumerate((0, 3000))],
    }


def verdict(name, rows):
    return judge(CLAIMS[name], rows, "quick").verdict


def test_rows_as_claimed_give_the_verdicts_that_were_committed():
    assert {v.claim.id: v.verdict for v in verdicts(STUDY, good(), "quick") if not v.as_expected} == {}


def changed(kind, which, **values):
    rows = good()
    for row in rows[kind]:
        if which(row):
            row.update(values)
    return rows


def noisy(row):
    return row["noise"] > 0


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("absorbing", changed("noise", lambda row: row["noise"] == 0 and row["run"] == 2, visits=2)),
        ("absorbing", changed("noise", lambda row: row["noise"] == 0 and row["run"] == 2, last=0)),
        ("left-and-revisited", changed("noise", lambda row: row["run"] < 20, visits=1)),
        ("ergodic-stays", changed("noise", lambda row: row["run"] < 20, ergodic=0)),
        ("last-is-a-coin", changed("noise", lambda row: row["seed"] == 1, last=0)),
        ("last-is-a-coin", changed("noise", lambda row: row["seed"] == 1, last=1, occupancy=0.5)),
        ("product", changed("noise", noisy, own=0.9)),
        ("coupled", changed("noise", noisy, coupled=0.9)),
        ("coupled", changed("noise", noisy, coupled=None)),
        ("averaged", changed("noise", noisy, averaged=0.9)),
        ("relu-loses-more", changed("noise", lambda row: row["surrogate"] == "identity", occupancy=0.7)),
        ("any-step", changed("rates", lambda row: True, occupancy=0.8)),
        ("bound", changed("population", lambda row: row["weights"] == "binary", occupancy=0.5)),
        ("population-product", changed("population", lambda row: row["weights"] == "binary", own=0.65)),
        ("avoided", changed("example", lambda row: row["run"] == 0, late_visits=1)),
        ("not-avoided", changed("example", lambda row: row["run"] == 1, late_visits=0)),
        ("ternary-close", changed("population", lambda row: row["weights"] == "ternary", late_visits=0)),
        ("float-on-samples", changed("float", lambda row: True, coupled=0.5)),
    ],
)
def test_other_rows_refute(name, rows):
    assert verdict(name, rows) == "refuted"


def test_predictions_that_hold_at_few_samples_too_are_not_refuted():
    rows = good()
    for row in rows["noise"]:
        row["own"] = row["coupled"] = row["occupancy"]
    assert verdict("product-few-samples", rows) == verdict("coupled-few-samples", rows) == "confirmed"


def test_errors_of_one_cell_are_not_made_good_by_another():
    rows = good()
    for row in rows["noise"]:
        row["averaged"] += 0.2 if row["seed"] == 1 else -0.1
    assert verdict("averaged", rows) == "refuted"


def test_a_cells_seed_does_not_depend_on_the_other_cells():
    few = {(c["n"], c["multiple"], c["noise"]): c["seed"] for c in settings("quick")}
    many = {(c["n"], c["multiple"], c["noise"]): c["seed"] for c in settings("paper")}
    assert all(many[cell] == seed for cell, seed in few.items()) and len(set(many.values())) == len(many)


def settings(preset):
    return [task.settings for task in STUDY.planned(preset) if task.kind == "noise"]


def test_short_runs_and_cells_of_much_noise_do_not_count():
    measured = [name for name, claim in CLAIMS.items() if not isinstance(claim.expected, str)]
    short = {kind: [{**row, "steps": 1000} for row in rows] for kind, rows in good().items()}
    assert {verdict(name, short) for name in measured} == {"not run"}
    loud = changed("noise", noisy, averaged_wrong=1.5)
    assert verdict("ergodic-stays", loud) == "not run"


def test_runs_that_share_their_samples_count_once():
    rows = [one(run=k, surrogate=name) for k in range(5) for name in ("relu", "identity")]
    found = recurrence.clustered(rows, lambda row: float(row["run"]))
    alone = recurrence.clustered(rows[::2], lambda row: float(row["run"]))
    assert found == alone and found.estimate == 2
    assert recurrence.clustered(rows[:2], lambda row: 1.0) is None
