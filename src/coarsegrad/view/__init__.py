"""Figures are data until drawn; a page is one HTML document that needs nothing else."""

from .draw import draw, save
from .figure import Bars, Figure, Histogram, Line, Marks, Points
from .page import NOTE_LABELS, Code, Figures, KeyValues, Note, TableView, Text, page, write_page

__all__ = [
    "Figure",
    "Line",
    "Points",
    "Bars",
    "Histogram",
    "Marks",
    "draw",
    "save",
    "NOTE_LABELS",
    "Text",
    "TableView",
    "Figures",
    "Note",
    "Code",
    "KeyValues",
    "page",
    "write_page",
]
