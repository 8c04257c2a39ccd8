"""Drawing: every figure becomes well-formed SVG with its texts on the page, and files are whole."""

import math
import re
from xml.etree import ElementTree

import pytest

from coarsegrad.view.draw import draw, save
from coarsegrad.view.figure import Bars, Figure, Histogram, Line, Marks, Points
from coarsegrad.view.svg import text_width

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [f"features.{i}.conv_bn_activation" for i in range(14)]
FIGURES = [
    Figure(
        "line", "x", "y", [Line([1, 2, 3], [1, 4, 9], "squares", [0, 3, 8], [2, 5, 10])], caption="A caption."
    ),
    Figure("log", "x", "y", [Line([1, 10, 100], [1e-5, 1e-3, 1e-1], "power")], log_x=True, log_y=True),
    Figure("points", "x", "y", [Points([1, 2], [1, 2], "p", [0, 1], [2, math.inf]), Marks([1.5], "level")]),
    Figure("bars", "", "y", [Bars(["a", "b"], [1, -2], "one"), Bars(["b", "c"], [3, 4], "two")]),
    Figure("many bars", "", "y", [Bars(NAMES, range(14), "one")]),
    Figure(
        "histogram", "w", "count", [Histogram([1, 5, 2], [-1, 0, 1, 2], "weights"), Marks([0.5], axis="y")]
    ),
    Figure("log histogram", "w", "count", [Histogram([0, 5, 200], [-1, 0, 1, 2], "weights")], log_y=True),
    Figure("empty", "x", "y", []),
    Figure(
        "empty items", "x", "y", [Line([], []), Points([], []), Bars([], []), Histogram([], [0]), Marks([])]
    ),
    Figure("all nan", "x", "y", [Line([1, 2], [math.nan, math.nan], "lost")]),
    Figure("one point", "x", "y", [Line([3], [3], "one")]),
    Figure("huge", "x", "y", [Line([-1e300, 1e300], [1e-300, 1e308], "huge")]),
    Figure("tiny", "x", "y", [Line([0, 5e-324], [1, 1 + 1e-15], "tiny")]),
    Figure(
        "a word " * 60, "x " * 60, "y " * 60, [Line([1], [1], "a label " * 30)] * 9, caption="words " * 90
    ),
]


@pytest.mark.parametrize("width", [320, 640, 800])
@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.title[:14])
def test_every_figure_is_well_formed_and_its_texts_stay_on_the_page(figure, width):
    root = ElementTree.fromstring(draw(figure, width=width))
    _, _, w, h = map(float, root.attrib["viewBox"].split())
    assert w == width and h < 2 * width + 600
    for text in root.iter(f"{SVG}text"):
        px, py, size = (float(text.attrib[name]) for name in ("x", "y", "font-size"))
        before = {"end": 1.0, "middle": 0.5}.get(text.attrib.get("text-anchor"), 0.0)
        length = text_width(text.text, size)
        if "transform" in text.attrib:
            assert px - 0.766 * length >= -3 and py + 0.643 * length <= h + 3
        else:
            assert px - before * length >= -6 and px + (1 - before) * length <= w + 6
            assert 0 < py <= h


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.title[:14])
def test_the_legend_covers_no_data(figure):
    root = ElementTree.fromstring(draw(figure))
    frame_end = max(
        [float(e.attrib["y1"]) for e in root.findall(f"{SVG}line") if e.attrib["x1"] != e.attrib["x2"]]
    )
    texts = {t.text: float(t.attrib["y"]) for t in root.iter(f"{SVG}text")}
    for item in figure.items:
        if item.label and item.label in texts and item.label != figure.title:
            assert texts[item.label] > frame_end


def test_a_script_in_any_text_stays_text():
    evil = "<script>alert('x')</script>"
    items = [Points([1], [1], evil, names=[evil]), Bars([evil], [1], evil), Marks([1], evil)]
    svg = draw(Figure(evil, evil, evil, items, caption=evil))
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_drawing_is_a_function_of_the_figure_alone():
    assert draw(FIGURES[0]) == draw(FIGURES[0])
    assert not re.search(r'\bid="', draw(FIGURES[0])), "ids would clash with those of other figures on a page"


def test_the_picture_says_in_words_what_it_shows():
    label = ElementTree.fromstring(draw(FIGURES[0])).attrib["aria-label"]
    assert label == "line. y against x. squares. A caption."


def test_the_caption_can_be_left_to_the_page():
    assert ">A caption.<" in draw(FIGURES[0])
    assert ">A caption.<" not in draw(FIGURES[0], caption=False)


def test_what_cannot_be_drawn_is_counted_in_words():
    figure = Figure("t", "x", "y", [Line([1, 2, 3, 4], [1, math.inf, 0, -2])], log_y=True)
    assert "Values not shown: 1 infinite, 2 at or below 0" in draw(figure)
    assert "not shown" not in draw(FIGURES[0])


def test_a_picture_too_narrow_to_read_is_refused():
    with pytest.raises(ValueError, match="at least 320"):
        draw(FIGURES[0], width=100)


def test_saved_svg_is_the_drawing(tmp_path):
    path = save(FIGURES[0], tmp_path / "figure.svg")
    assert path.read_text() == draw(FIGURES[0])


def test_saved_png_is_a_png(tmp_path):
    pytest.importorskip("matplotlib", reason="PNG pictures need matplotlib: pip install 'coarsegrad[plots]'")
    assert save(FIGURES[0], tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.svg or \.png"):
        save(FIGURES[0], tmp_path / "figure.jpg")
    assert not list(tmp_path.iterdir())


def test_ticks_between_whole_numbers_are_left_out():
    bits = draw(Figure("t", "x", "y", [Line([2, 3, 4], [0.5, 0.4, 0.1])]))
    assert ">3<" in bits and ">2.5<" not in bits
    assert ">2.5<" in draw(Figure("t", "x", "y", [Line([2, 2.5, 4], [0.5, 0.4, 0.1])]))
