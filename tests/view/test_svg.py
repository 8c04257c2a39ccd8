"""SVG text: whatever goes in, well-formed XML comes out."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coarsegrad.view.svg import element, escaped, number, shortened, text_width, wrapped

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT, ANY_TEXT)
def test_every_text_gives_well_formed_xml(content, attribute):
    node = ElementTree.fromstring(element("text", escaped(content), title=attribute))
    assert len(node) == 0 and set(node.attrib) == {"title"}


def test_texts_come_back_as_they_were():
    text = "<script>alert(\"1\")</script> & 'quotes' ü 漢字"
    node = ElementTree.fromstring(element("text", escaped(text), title=text))
    assert node.text == text and node.attrib["title"] == text


def test_a_character_that_xml_forbids_is_replaced():
    assert escaped("a\x00b\ud800") == "a\ufffdb\ufffd"


def test_attributes_are_named_as_in_svg_and_none_is_left_out():
    assert element("g", class_="a", stroke_width=1.0, fill=None) == '<g class="a" stroke-width="1"/>'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_coordinate_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        number(value)


@given(st.text(), st.floats(10, 300))
def test_shortened_texts_fit(text, room):
    assert text_width(shortened(text, 10, room), 10) <= room or shortened(text, 10, room) == "…"


@given(st.text(), st.floats(20, 300))
def test_wrapped_lines_fit(text, room):
    assert all(text_width(line, 10) <= room for line in wrapped(text, 10, room))


def test_wrapping_keeps_every_word():
    text = "all the words of a caption that is somewhat longer than one line"
    assert " ".join(wrapped(text, 12, 120)) == text
