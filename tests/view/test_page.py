"""A page: one document, everything escaped, everything inside, readable without scripts."""

import math
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coarsegrad.view.figure import Figure, Line
from coarsegrad.view.page import (
    NOTE_LABELS,
    Code,
    Figures,
    KeyValues,
    Note,
    TableView,
    Text,
    page,
    write_page,
)

FIGURE = Figure("Squares", "x", "y", [Line([1, 2], [1, 4], "squares")], caption="Two *points*.")
VOID = {"meta", "br", "link", "img"}


class Reader(HTMLParser):
    """Checks that elements nest and close, and keeps what a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


def full_page(word="word"):
    return page(
        word,
        [
            Text(f"## {word}\n{word} **{word}** *{word}* `{word}` [{word}](https://a.org/b)\n\n- {word}"),
            TableView([word, "n"], [[word, 1], [None, math.nan]], word, {"n": "max"}),
            Figures([Figure(word, word, word, [Line([1], [1], word)], caption=word)]),
            *(Note(label, word) for label in NOTE_LABELS),
            Code(word),
            KeyValues({word: word}),
        ],
    )


def test_a_page_nests_and_shows_its_words():
    reader = Reader(full_page("hello"))
    assert reader.text.count("hello") >= 15
    assert (
        reader.count("h1") == 1 and reader.count("table") == 1 and reader.count("aside") == len(NOTE_LABELS)
    )


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert('x')</script>",
        '"><img src=x onerror=alert(1)>',
        "</style></script><script>1</script>",
        "](javascript:alert(1))",
    ],
)
def test_no_name_can_become_markup(evil):
    plain, attacked = Reader(full_page()), Reader(full_page(evil))
    assert attacked.count("script") == plain.count("script")
    assert attacked.count("img") == 0
    for _, attributes in attacked.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert not attributes.get("href", "#").startswith("javascript")


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_gives_a_page_that_nests(text):
    Reader(
        page(text, [Text(text), Note("measured", text), TableView.of([{"a": text}], caption=text)])
    ).close()


def test_a_page_holds_all_that_it_needs():
    reader = Reader(full_page())
    for tag, attributes in reader.elements:
        assert tag not in ("link", "img", "iframe", "object")
        assert "src" not in attributes
    policies = [a["content"] for t, a in reader.elements if t == "meta" and "http-equiv" in a]
    assert policies and policies[0].startswith("default-src 'none'")


def test_a_page_without_tables_has_no_script():
    assert Reader(page("t", [Text("x")])).count("script") == 0


def test_three_headings_get_a_table_of_contents_that_leads_to_them():
    html = page("t", [Text("## One\n\n## Two"), Text("## Three `x`\n### Four")])
    reader = Reader(html)
    targets = {a["id"] for t, a in reader.elements if t == "h2"}
    links = {a["href"].removeprefix("#") for t, a in reader.elements if t == "a"}
    assert len(targets) == 3 and targets == links
    assert Reader(page("t", [Text("## One\n\n## Two")])).count("nav") == 0


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**b** and *i*", "<p><strong>b</strong> and <em>i</em></p>"),
        ("2 * 3 * 4 and a*b*c", "<p>2 * 3 * 4 and a*b*c</p>"),
        ("`**as it is** <x>`", "<p><code>**as it is** &lt;x&gt;</code></p>"),
        ("- one\n- two", "<ul><li>one</li><li>two</li></ul>"),
        ("one\ntwo\n\nthree", "<p>one two</p>\n<p>three</p>"),
        ("### Small\nthen", "<h3>Small</h3>\n<p>then</p>"),
        (
            "[a](https://b.org/c?d=1&e=2)",
            '<p><a href="https://b.org/c?d=1&amp;e=2" rel="noreferrer">a</a></p>',
        ),
        ("[a](file:///etc)", "<p>[a](file:///etc)</p>"),
        ("", ""),
    ],
)
def test_text_knows_a_little_markdown(text, html):
    assert f"</h1>\n{html}\n</main>" in page("t", [Text(text)])


def test_numbers_stand_right_and_the_best_are_bold():
    html = page(
        "t", [TableView(["name", "loss"], [["a", 0.5], ["b", 0.25], ["c", math.nan]], best={"loss": "min"})]
    )
    assert '<th scope="col" class="number">loss</th>' in html
    assert '<th scope="col">name</th>' in html
    assert html.count("<strong>") == 1 and "<strong>0.25</strong>" in html


def test_points_of_a_column_align_and_all_digits_are_in_the_tooltip():
    html = page("t", [TableView(["x"], [[1 / 3], [12.5], [-2.0]])])
    assert ">0.3333<" in html and ">12.5000<" in html and ">−2.0000<" in html
    assert f'title="{1 / 3!r}"' in html


def test_columns_of_mixed_size_keep_four_digits_each():
    html = page("t", [TableView(["x"], [[1.23456e-9], [123456.0], [7]])])
    assert ">1.235e−09<" in html and ">1.235e+05<" in html and ">7<" in html


def test_rows_of_a_table_become_columns_in_the_order_met():
    view = TableView.of([{"b": 1}, {"a": True, "b": None}])
    assert view.columns == ("b", "a") and view.rows == ((1, None), (None, True))
    assert TableView.of([{"b": 1, "a": 2}], columns=["a"]).rows == ((2,),)


def test_an_empty_table_says_so():
    assert "no rows" in page("t", [TableView(["a"], [])])


@pytest.mark.parametrize(
    ("make", "mend"),
    [
        (lambda: TableView(["a"], [[1, 2]]), "row 0 has 2 cells for 1 columns"),
        (lambda: TableView(["a"], [[1]], best={"b": "max"}), "the columns are: a"),
        (lambda: TableView(["a"], [[1]], best={"a": "most"}), '"max" or "min"'),
        (lambda: Note("guess", "x"), "theorem, simulation"),
        (lambda: Figures([FIGURE], columns=0), "1, 2, 3 or 4"),
        (lambda: page("t", ["text"]), "got str"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_the_mend(make, mend):
    with pytest.raises(ValueError, match=mend):
        make()


def test_a_page_is_a_function_of_its_sections_alone(tmp_path):
    assert full_page() == full_page()
    assert write_page(tmp_path / "page.html", full_page()).read_text(encoding="utf-8") == full_page()


@pytest.mark.skipif(not shutil.which("chromium"), reason="the browser test needs chromium on the PATH")
def test_a_browser_sorts_a_table_by_number_with_blanks_last(tmp_path):
    rows = [["b", 10.0], ["a", 9.0], ["d", None], ["c", -math.inf]]
    html = page("t", [TableView(["name", "n"], rows), Figures(FIGURE)])
    click = "<script>document.querySelectorAll('th button')[1].click()</script></body>"
    write_page(tmp_path / "page.html", html.replace("</body>", click))
    dumped = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout  # fmt: skip
    body = dumped[dumped.index("<tbody>") :]
    assert sorted("abcd", key=lambda name: body.index(f"<td>{name}</td>")) == ["c", "a", "b", "d"]
    assert 'aria-sort="ascending"' in dumped
