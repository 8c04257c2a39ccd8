import pytest

from coarsegrad.studies.optimizers import STUDY
from coarsegrad.studies.optimizers.story import grids
from studies.optimizers.planted import planted, twins


def test_the_story_tells_of_what_is_there_and_of_what_is_not(smoke):
    bare, full = STUDY.story({}), STUDY.story(smoke)
    assert [c.title for c in bare] == [c.title for c in full] and len(full) == 7
    assert all(c.text == "Nothing was measured yet." for c in bare[1:6])
    names = [name for c in full for name in c.figures]
    assert {"gaps-digits-w1a2", "gaps-text-w1a2", "disguise"} == set(names)
    assert "8 runs of 4 steps, 128 images; 2 seeds" in full[0].text


def test_the_whole_grid_is_on_the_page(tmp_path):
    rows = planted(tmp_path)
    assert list(grids(rows)) == [
        "LeNet-5 on Fashion-MNIST, W1A2", "LeNet-5 on Fashion-MNIST, W4A4",
        "Transformer on text, W1A2", "Transformer on text, W4A4",
    ]  # fmt: skip
    about, found, grid, carried, rates, _, _ = STUDY.story(rows)
    assert "180 runs of 250 steps, 16,000 images; 3 seeds; 0 ended at guessing" in about.text
    assert "lowest mean loss for *smooth weights* with SGD, Adam, AdamW, Lion, Muon" in found.text
    assert len(grid.tables) == 8 and len(grid.figures) == 4
    assert all(len(table.rows) == 5 and len(table.columns) == 5 for table in grid.tables)
    assert all(
        sum(str(cell).endswith("•") for cell in row) == 1 for table in grid.tables for row in table.rows
    )
    assert len(carried.tables) == 4 and len(rates.figures) == 10
    assert "0 of 280 times" in rates.text


def test_a_carried_winner_is_priced(tmp_path):
    carried = STUDY.story(planted(tmp_path, swap=("sgd",)))[3]
    (first, *_) = carried.tables[2].rows
    assert first[0] == "SGD: identity" and first[2].startswith(("0.24", "0.25"))


def test_only_pairs_whose_winners_differ_are_counted(tmp_path):
    found = STUDY.story(planted(tmp_path, swap=("sgd",)))[1].text
    assert "The winners of 8 ordered pairs differ; 8 of these cost something" in found
    assert "All have the same winner." in STUDY.story(planted(tmp_path, interplay=0.0))[1].text


@pytest.mark.parametrize("seeds", [(3,), range(8)], ids=["one seed", "all seeds"])
def test_twins_that_broke_are_counted(seeds):
    made = twins()
    for row in made:
        if row["optimizer"] == "sgd" and row["seed"] in seeds:
            row.update(broke=True, distance=None, same=None, loss=None)
    disguise = STUDY.story({"twins": made})[5]
    assert f"{5 * len(seeds)} of 200 runs broke off" in disguise.text
    bars = disguise.figures["disguise"].items[0]
    assert ("SGD" in bars.categories) == (len(seeds) == 1) and len(disguise.tables[0].rows) == 5


def test_a_page_of_half_a_grid_still_reads(tmp_path):
    rows = planted(tmp_path)
    for keep in (lambda r: r["seed"] == 2018, lambda r: r["optimizer"] == "sgd", lambda r: r["lr"] == 0.06):
        chapters = STUDY.story({"train": [row for row in rows["train"] if keep(row)]})
        assert len(chapters) == 7
    some = [row for row in rows["train"] if (row["optimizer"], row["estimator"]) != ("lion", "window")]
    assert len(STUDY.story({"train": some})) == 7
