"""The chapter on trained networks, from rows made up."""

from coarsegrad.studies.long2021.trained import chapter, findings

SCORES = {"train_loss": 0.1, "captured": 0.9, "angle": 40.0, "conditioned": 0.2, "failed": None}
SHARED = {"epochs": 10, "pretrain_epochs": 3}
RELU = {"weights": "binary", "bits": 2, "surrogate": "relu"}


def final(seed, accuracy, **about):
    return {"what": "final", "seed": seed, "test_accuracy": accuracy, **RELU, **SCORES, **SHARED, **about}


ROWS = [
    *(final(seed, 98.0 + seed) for seed in (1, 2)),
    *(final(seed, 98.5 + seed, surrogate="log_tailed_relu") for seed in (1, 2)),
    *(final(seed, None, weights="float", bits=32, surrogate="untrained") for seed in (1, 2)),
]
DRAWN = [
    {"what": "ray", "view": "nearest", "class": c, "between": 40.0, "x": 1.0, "y": c, "seed": s, **RELU}
    for c in (3, 5) for s in (1, 2)
] + [
    {"what": "point", "view": view, "class": c, "between": 40.0, "x": float(c), "y": 1.0, "seed": s, **RELU}
    for view in ("nearest", "all") for c in (3, 5) for s in (1, 2)
]  # fmt: skip


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_means_over_seeds_stand_beside_relu():
    told = chapter({"lenet5": ROWS})
    accuracies, geometry = map(rows_of, told.tables)
    assert [row["seeds"] for row in accuracies] == [2, 2] and "10 epochs" not in accuracies[0].values()
    assert [row["beside ReLU [points]"].split(" ")[0] for row in accuracies] == ["–", "0.5"]
    assert "for 10, the float" in told.text and told.figures == {}
    assert [row["network"] for row in geometry][-1] == "untrained"


def test_the_first_seed_is_drawn():
    figures = chapter({"lenet5": [*ROWS, *DRAWN]}).figures
    assert set(figures) == {f"{view}-binary-weights-2-bits-relu" for view in ("nearest", "all")}
    pair = figures["nearest-binary-weights-2-bits-relu"]
    assert pair.title.endswith("40 degrees apart")
    assert [item.label for item in pair.items] == ["class 3", "", "class 5", ""]
    assert all(len(item.x) == 1 for item in pair.items[::2])


def test_a_network_that_failed_is_named():
    lost = final(3, None, surrogate="relu", failed="loss is nan", captured=None)
    assert "binary weights, 2 bits, relu (seed 3: loss is nan)" in chapter({"lenet5": [*ROWS, lost]}).text


def test_nothing_is_told_of_nothing():
    assert chapter({}).text.startswith("Nothing was measured yet") and list(findings({})) == []


def test_what_was_found_is_told_in_two_sentences():
    accuracies, features = findings({"lenet5": ROWS})
    assert accuracies.endswith("99.50 to 100.00 % (binary weights).")
    assert "90 % before training and at least 90 % after it" in features
