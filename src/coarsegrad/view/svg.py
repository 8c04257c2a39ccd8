"""SVG text: elements with escaped content, and the width of a text before any browser has seen it."""

from __future__ import annotations

import math
import re
from xml.sax.saxutils import escape

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NARROW = set("iIl.,:;|!'`()[]{}fjrt ")
_WIDE = set("mwMW@%—")


def escaped(text: object) -> str:
    """Text safe inside an element or an attribute of XML and HTML.

    >>> escaped('<b a="1">&')
    '&lt;b a=&quot;1&quot;&gt;&amp;'
    """
    return escape(_NOT_XML.sub("\ufffd", str(text)), {'"': "&quot;", "'": "&#39;"})


def element(name: str, *children: str, **attributes: object) -> str:
    """One element. Children are markup already; attribute values are escaped, floats rounded to 0.01.

    Underscores in attribute names become hyphens, a trailing one vanishes (``class_``); None is left out.

    >>> element("text", escaped("a < b"), x=1.23456, class_="tick", text_anchor="end", dy=None)
    '<text x="1.23" class="tick" text-anchor="end">a &lt; b</text>'
    """
    head = "".join(
        f" {key.rstrip('_').replace('_', '-')}="
        f'"{number(value) if isinstance(value, float) else escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{head}>{''.join(children)}</{name}>" if children else f"<{name}{head}/>"


def number(value: float) -> str:
    """A coordinate, to a hundredth.

    >>> number(2.0), number(-0.001), number(1 / 3)
    ('2', '0', '0.33')
    """
    if not math.isfinite(value):
        raise ValueError(f"a coordinate must be finite, got {value}")
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def text_width(text: str, size: float) -> float:
    """About how wide ``text`` is in a sans-serif face of ``size``; errs on the wide side.

    >>> text_width("mm", 10) > text_width("ll", 10)
    True
    """
    width = 0.0
    for character in text:
        if character in _NARROW:
            width += 0.36
        elif character in _WIDE:
            width += 0.95
        elif ord(character) > 0x2E7F:
            width += 1.05
        else:
            width += 0.68 if character.isupper() else 0.57
    return width * size


def shortened(text: str, size: float, room: float) -> str:
    """``text``, or its beginning and end with an ellipsis between, as much as fits into ``room``.

    Names of layers and specs often differ only at the end.

    >>> shortened("features.12.conv", 10, 60)
    'featur….conv'
    """
    if text_width(text, size) <= room:
        return text
    kept = len(text) - 1
    while kept > 0:
        head, tail = text[: (kept + 1) // 2], text[len(text) - kept // 2 :]
        if text_width(f"{head}…{tail}", size) <= room:
            return f"{head}…{tail}"
        kept -= 1
    return "…"


def wrapped(text: str, size: float, room: float) -> list[str]:
    """Lines of ``text`` no wider than ``room``; a word that is too wide alone is shortened.

    >>> wrapped("one two three", 10, 45)
    ['one two', 'three']
    """
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(shortened(word, size, room))
    return lines
