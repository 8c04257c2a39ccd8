"""Texts of the command line become plain values. What the options do is tested in ``test_cli.py``."""

import argparse

import pytest

from coarsegrad.options import configured, names, number, plan_options, shape_of


def test_names_are_split_at_commas_outside_brackets():
    assert names("relu, clipped_relu(top=2),step(epochs=(2,3)),") == (
        "relu", "clipped_relu(top=2)", "step(epochs=(2,3))",
    )  # fmt: skip


def test_shapes_and_numbers_say_what_they_take():
    assert shape_of("3,32,32") == shape_of("3x32x32") == (3, 32, 32)
    assert number("0.5", "--progress") == 0.5
    with pytest.raises(ValueError, match="--in-shape is like 3,32,32"):
        shape_of("a")
    with pytest.raises(ValueError, match="--progress takes numbers"):
        number("a", "--progress")


def test_options_win_over_set_and_set_over_the_file():
    parser = argparse.ArgumentParser()
    plan_options(parser)
    given = ["--out=o", "--config=f", "--set=lr=1", "--set=batch-size=3", "--epochs=2", "--amp"]
    words = parser.parse_args(given)
    found = configured(words, lambda path: {"lr": 5, "epochs": 9, "seed": 4})
    assert found == {"lr": 1, "batch_size": 3, "epochs": 2, "seed": 4, "amp": True}
