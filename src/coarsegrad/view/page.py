"""A page: one HTML document that holds everything it shows and asks the network for nothing.

Sections are data, as figures are; `page` turns them into text and `write_page` into a file. Every word is
escaped: a layer named ``<script>`` is shown as such. Without scripts all is readable; with them, tables sort.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .draw import draw
from .figure import Figure
from .paper import POLICY, SCRIPT, STYLE
from .svg import escaped
from .whole import write_whole

NOTE_LABELS = ("theorem", "simulation", "heuristic", "measured", "don't know")

_NUMBER = ' class="number"'
_FIGURE_WIDTHS = {1: 800, 2: 550, 3: 400, 4: 340}  # about what a full page leaves to each

Cell = int | float | str | bool | None


@dataclass(frozen=True)
class Text:
    """Paragraphs, divided by empty lines.

    Understood: ``## heading`` and ``### heading`` (the former enter the table of contents), ``- item`` lists,
    ``**bold**``, ``*italic*``, ```code``` between backticks, and ``[text](https://...)`` links.
    """

    text: str


@dataclass(frozen=True)
class TableView:
    """A table; numbers stand to the right. ``best`` maps a column to ``"max"`` or ``"min"``, set bold.

    ``best`` may be a dict; it is kept as a tuple of pairs. Floats show four digits, and all of them to
    whoever points at one.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    best: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        best = self.best.items() if isinstance(self.best, Mapping) else self.best
        object.__setattr__(self, "columns", tuple(map(str, self.columns)))
        object.__setattr__(self, "rows", tuple(map(tuple, self.rows)))
        object.__setattr__(self, "best", tuple((str(column), which) for column, which in best))
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"TableView row {i} has {len(row)} cells for {len(self.columns)} columns")
        for column, which in self.best:
            if column not in self.columns:
                raise ValueError(
                    f"TableView(best=...) names {column!r}; the columns are: {', '.join(self.columns)}"
                )
            if which not in ("max", "min"):
                raise ValueError(f'TableView(best=...) takes "max" or "min" for {column!r}, got {which!r}')

    @classmethod
    def of(
        cls,
        rows: Iterable[Mapping[str, Cell]],
        columns: Sequence[str] | None = None,
        caption: str = "",
        best: Mapping[str, str] | None = None,
    ) -> TableView:
        """From dicts, such as `coarsegrad.table.Table.rows`; all columns met, or these.

        >>> TableView.of([{"a": 1}, {"a": 2, "b": 3}]).rows
        ((1, None), (2, 3))
        """
        rows = list(rows)
        columns = list(dict.fromkeys(name for row in rows for name in row)) if columns is None else columns
        cells = tuple(tuple(row.get(name) for name in columns) for row in rows)
        return cls(tuple(columns), cells, caption, tuple((best or {}).items()))


@dataclass(frozen=True)
class Figures:
    """Figures side by side, ``columns`` of them on a wide screen, one below the other on a narrow one."""

    figures: tuple[Figure, ...]
    columns: int = 2

    def __post_init__(self) -> None:
        figures = (self.figures,) if isinstance(self.figures, Figure) else tuple(self.figures)
        object.__setattr__(self, "figures", figures)
        if not 1 <= self.columns <= 4:
            raise ValueError(f"Figures(columns=...) must be 1, 2, 3 or 4, got {self.columns}")


@dataclass(frozen=True)
class Note:
    """A remark that says on what it rests: one of `NOTE_LABELS`."""

    label: str
    text: str

    def __post_init__(self) -> None:
        if self.label not in NOTE_LABELS:
            raise ValueError(f"Note(label=...) must be one of {', '.join(NOTE_LABELS)}; got {self.label!r}")


@dataclass(frozen=True)
class Code:
    """Text in a typewriter face, as it is."""

    text: str


@dataclass(frozen=True)
class KeyValues:
    """Names and values, such as the settings of a run; takes a dict or pairs."""

    items: tuple[tuple[str, Cell], ...]

    def __post_init__(self) -> None:
        items = self.items.items() if isinstance(self.items, Mapping) else self.items
        object.__setattr__(self, "items", tuple((str(key), value) for key, value in items))


Section = Text | TableView | Figures | Note | Code | KeyValues


def page(title: str, sections: Iterable[Section]) -> str:
    """The document. Three ``##`` headings or more get a table of contents.

    >>> "&lt;script&gt;" in page("Report", [Text("A layer named <script>.")])
    True
    """
    sections = tuple(sections)
    headings: list[tuple[str, str]] = []
    body = "\n".join(_section(section, headings) for section in sections)
    contents = ""
    if len(headings) >= 3:
        entries = "".join(f'<li><a href="#{anchor}">{text}</a></li>' for anchor, text in headings)
        contents = f'<nav aria-label="Contents"><ul>{entries}</ul></nav>\n'
    script = f"<script>{SCRIPT}</script>\n" if any(isinstance(s, TableView) for s in sections) else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escaped(title)}</h1>\n{contents}{body}\n</main>\n{script}</body>\n</html>\n"
    )


def write_page(path: str | os.PathLike, html: str) -> Path:
    """Write the document to ``path``, whole or not at all; returns the path."""
    return write_whole(path, html)


def _section(section: Section, headings: list[tuple[str, str]]) -> str:
    match section:
        case Text(text):
            return "\n".join(
                _block(block, headings) for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip()
            )
        case TableView():
            return _table(section)
        case Figures(figures, columns):
            cards = "".join(_figure(figure, columns) for figure in figures)
            return f'<div class="figures" style="--columns:{columns}">{cards}</div>'
        case Note(label, text):
            kind = NOTE_LABELS.index(label)
            blocks = "".join(_block(block, []) for block in re.split(r"\n\s*\n", text) if block.strip())
            name = f'<strong class="label">{escaped(label)}</strong>'
            return f'<aside class="note note{kind}">{name}{blocks}</aside>'
        case Code(text):
            return f'<pre tabindex="0"><code>{escaped(text)}</code></pre>'
        case KeyValues(items):
            pairs = "".join(
                f"<div><dt>{escaped(key)}</dt><dd>{_value(value)[0]}</dd></div>" for key, value in items
            )
            return f"<dl>{pairs}</dl>"
    raise ValueError(
        "page(sections) holds Text, TableView, Figures, Note, Code and KeyValues, "
        f"got {type(section).__name__}"
    )


def _block(block: str, headings: list[tuple[str, str]]) -> str:
    """One paragraph, heading or list; a heading may be followed by text without an empty line."""
    lines = [line.strip() for line in block.strip().splitlines()]
    for mark, tag in (("### ", "h3"), ("## ", "h2")):
        if lines[0].startswith(mark):
            text = _inline(lines[0][len(mark) :])
            rest = "\n" + _block("\n".join(lines[1:]), headings) if lines[1:] else ""
            if tag == "h3":
                return f"<h3>{text}</h3>{rest}"
            anchor = f"part-{len(headings) + 1}"
            headings.append((anchor, re.sub(r"</?a[^>]*>", "", text)))
            return f'<h2 id="{anchor}">{text}</h2>' + rest
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>"
    return f"<p>{_inline(' '.join(lines))}</p>"


def _inline(text: str) -> str:
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        f"<code>{escaped(part)}</code>" if i % 2 else _emphasis(part) for i, part in enumerate(parts)
    )


def _emphasis(text: str) -> str:
    text = escaped(text)
    text = re.sub(r"\[([^\]]+)\]\((https?://[^\s()]+)\)", r'<a href="\2" rel="noreferrer">\1</a>', text)
    text = re.sub(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=\S)\*(?![\w*])", r"<em>\1</em>", text)


def _table(table: TableView) -> str:
    numeric = [_is_numeric(row[i] for row in table.rows) for i in range(len(table.columns))]
    decimals = [_decimals(row[i] for row in table.rows) for i in range(len(table.columns))]
    best = {table.columns.index(column): _best(table, column, which) for column, which in table.best}
    head = "".join(
        f'<th scope="col"{_NUMBER if right else ""}>{escaped(name)}</th>'
        for name, right in zip(table.columns, numeric, strict=True)
    )
    body = []
    for row in table.rows:
        cells = []
        for i, value in enumerate(row):
            text, attributes = _value(value, decimals[i], in_cell=True)
            if i in best and _number(value) is not None and _number(value) == best[i]:
                text = f"<strong>{text}</strong>"
            cells.append(f"<td{_NUMBER if numeric[i] else ''}{attributes}>{text}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    if not body:
        body = [f'<tr><td colspan="{max(len(table.columns), 1)}" class="none">no rows</td></tr>']
    caption = f"<caption>{_inline(table.caption)}</caption>" if table.caption else ""
    name = escaped(table.caption or "table")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _figure(figure: Figure, columns: int) -> str:
    caption = f"<figcaption>{_inline(figure.caption)}</figcaption>" if figure.caption else ""
    drawing = draw(figure, caption=False, width=_FIGURE_WIDTHS[columns])
    return f'<figure><div class="scroll">{drawing}</div>{caption}</figure>'


def _number(value: Cell) -> float | None:
    """``value`` as a number that can be compared, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return value


def _best(table: TableView, column: str, which: str) -> float | None:
    i = table.columns.index(column)
    numbers = [number for row in table.rows if (number := _number(row[i])) is not None]
    return (max if which == "max" else min)(numbers, default=None)


def _is_numeric(values: Iterable[Cell]) -> bool:
    values = [v for v in values if v is not None]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _decimals(values: Iterable[Cell]) -> int | None:
    """Decimals that show four digits of each float of a column, with points aligned; None for too many."""
    floats = [v for v in values if isinstance(v, float) and math.isfinite(v)]
    texts = [f"{v:.4g}" for v in floats]
    if not texts or any("e" in text for text in texts):
        return None
    decimals = max(len(text.partition(".")[2]) for text in texts)
    return decimals if decimals <= 4 else None


def _value(value: Cell, decimals: int | None = None, in_cell: bool = False) -> tuple[str, str]:
    """How a value reads, and (for a cell) its attributes: all digits as a tooltip."""
    if value is None:
        return "–", ""
    if isinstance(value, bool):
        return ("yes" if value else "no"), ""
    if isinstance(value, float) and math.isfinite(value):
        text = f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"
        exact = repr(float(value))
        attributes = f' title="{exact}" data-value="{exact}"' if in_cell and float(text) != value else ""
        return text.replace("-", "−"), attributes or (f' data-value="{exact}"' if in_cell else "")
    if isinstance(value, int | float):
        return escaped(value).replace("-", "−"), f' data-value="{escaped(value)}"' if in_cell else ""
    return escaped(value), ""
