from coarsegrad.studies.yin2018 import training, training_story
from coarsegrad.view import draw

ABOUT = {
    "model": "resnet20",
    "epochs": 3,
    "pretrain_epochs": 2,
    "lr": 0.1,
    "momentum": 0.9,
    "batch_size": 128,
}


def rows(kind="resnet20", seeds=(1, 2, 3), arms=(training.BINARY_CONNECT, "", training.AUTHORS, training.CAP),
         largest=0.3):  # fmt: skip
    found = []
    for seed in seeds:
        found.append({**ABOUT, "arm": "float", "seed": seed, "schedule": "constant", "epoch": 3,
                      "train_loss": 1.0, "test_accuracy": 60.0})  # fmt: skip
        for shift, arm in enumerate(arms):
            for epoch in (1, 2, 3):
                scores = {
                    "train_loss": 2.0 - 0.1 * epoch - 0.01 * shift * seed,
                    "test_accuracy": 50.0 + shift,
                }
                found.append({**ABOUT, "arm": arm, "seed": seed, "schedule": "constant", "epoch": epoch,
                              **scores, "flips": 1.0, "largest": largest})  # fmt: skip
    return {kind: found}


def test_resnet_says_that_its_schedule_is_short_and_whether_the_clip_acted():
    chapter = training_story.resnet(rows())
    assert "no claim about full schedules" in chapter.text and "its bounds in 0 of 3 runs" in chapter.text
    assert "in 3 of 3 runs, so its clip acts" in training_story.resnet(rows(largest=1.0)).text
    digits = training_story.digits(rows("digits", largest=1.5)).text
    assert "so its clip acts; with neither the largest latent is 1.50" in digits
    assert draw(chapter.figures["resnet20"]).startswith("<svg")


def test_tables_hold_paired_differences_from_none_and_from_binary_connect():
    table = training_story.resnet(rows()).tables[0]
    columns = list(table.columns)
    by_arm = {row[columns.index("arm")]: row for row in table.rows}
    clipped, none = (columns.index(f"accuracy [%], less {name}'s") for name in ("BinaryConnect", "neither"))
    assert by_arm["blending 0.01"][clipped] == "3 [3, 3]" and by_arm["BinaryConnect"][clipped] == "–"
    assert by_arm["blending 0.01"][none] == "2 [2, 2]"


def test_one_seed_has_no_interval_and_still_reads():
    assert "inf" not in str(training_story.resnet(rows(seeds=(1,))))
    assert "inf" not in str(training_story.digits(rows("digits", (1,), tuple(training.ARMS))))


def test_digits_draw_the_loss_over_the_weight_with_none_leftmost():
    chapter = training_story.digits(rows("digits", arms=tuple(training.ARMS)))
    (line, *_) = chapter.figures["digits-loss"].items
    assert len(line.x) == 6 and line.x[0] == min(line.x) and list(line.x) == sorted(line.x)


def test_without_rows_both_say_so():
    assert training_story.digits({}).text == "Nothing was measured yet."
    assert training_story.resnet({}).text.startswith("Nothing was measured yet.")
