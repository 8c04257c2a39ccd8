import json

from coarsegrad.train.screen import finite, progress, text_table


def test_lines_say_how_far_and_how_long(capsys):
    with progress(3) as show:
        show(1, "epoch 1", {"train_loss": 1.0})
        show(2, "whole task", {"known": True})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[1/3, ") and "epochs/s" in lines[0] and lines[0].endswith("left] epoch 1")


def test_json_lines_are_json_also_where_numbers_are_infinite(capsys):
    with progress(1, as_json=True) as show:
        show(1, "text", {"low": float("-inf"), "rows": [float("nan"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"low": None, "rows": [None, 1.5]}
    assert finite({"a": (1, float("inf"))}) == {"a": [1, None]}


def test_a_table_has_a_column_for_every_key():
    head, _, first, second = text_table([{"a": 1}, {"a": 0.25, "b": "x"}]).splitlines()
    assert head.split() == ["a", "b"] and first.split() == ["1", "-"] and second.split() == ["0.25", "x"]
