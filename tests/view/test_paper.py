"""The look of a page: it asks the network for nothing and knows dark pages, paper and narrow screens."""

import re

import pytest

from coarsegrad.view.page import NOTE_LABELS
from coarsegrad.view.paper import POLICY, SCRIPT, STYLE


def test_nothing_is_loaded_from_elsewhere():
    assert not re.search(r"url\(|@import|https?:|//|fetch|XMLHttp|import\(|eval", STYLE + SCRIPT)
    assert POLICY.startswith("default-src 'none'")


@pytest.mark.parametrize("case", ["prefers-color-scheme:dark", "@media print", "max-width:34rem"])
def test_the_style_knows(case):
    assert case in STYLE


def test_braces_of_the_style_close():
    assert STYLE.count("{") == STYLE.count("}")


def test_every_label_of_a_note_has_its_colour():
    for i in range(len(NOTE_LABELS)):
        assert f"--n{i}:" in STYLE


def test_nothing_in_the_style_or_the_script_ends_its_element():
    assert "</" not in STYLE + SCRIPT
