"""What a study leaves: figures as SVG and PNG, one HTML report, and a Markdown page for the documentation."""

import html
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from coarsegrad.studies.record import record_of
from coarsegrad.studies.record import write as write_record
from coarsegrad.studies.study import Chapter, Study, cost, left, results, verdicts
from coarsegrad.studies.verdict import VERDICTS, Verdict
from coarsegrad.view import Code, Figures, Note, TableView, Text, page, save, write_page
from coarsegrad.view.draw import spoken
from coarsegrad.view.whole import write_whole

_ROUND = str.maketrans("[]", "()")  # a bracket would end an alt text


def publish(
    study: Study,
    preset: str,
    folder: str | Path,
    *,
    command: str = "",
    docs: str | Path | None = None,
    record: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Verdict]:
    """Judge what is in the folder and write ``report.html`` and ``figures/`` there; returns the verdicts.

    With ``docs``, also ``NAME.md`` in that folder, and its figures (SVG) in ``docs/NAME/``,
    where they replace the SVG files of before. With ``record``, also the verdicts as ``NAME.json`` in that
    folder. PNG files need matplotlib and are left out without it.
    """
    folder = Path(folder)
    rows = results(study, preset, folder, options)
    judged, missing = verdicts(study, rows, preset), left(study, preset, folder, options)
    undone = f"**{missing} tasks are not done**: claims are judged on a part.\n\n" if missing else ""
    chapters = [
        Chapter("Verdicts", undone + summary(judged, preset), (verdict_table(judged),)),
        *study.story(rows),
        _cost_chapter(study, preset, folder, options),
    ]
    if command:
        chapters.append(Chapter("The command that repeats it", code=command))
    write_figures(chapters, folder / "figures")
    write_page(folder / "report.html", page(study.title, html_sections(study, chapters, judged)))
    if docs is not None:
        docs = Path(docs)
        docs.mkdir(parents=True, exist_ok=True)
        write_whole(docs / f"{study.name}.md", markdown(study, chapters, judged))
        for figure in (docs / study.name).glob("*.svg"):  # those of an earlier run, and nothing else
            figure.unlink()
        write_figures(chapters, docs / study.name, kinds=("svg",))
    if record is not None:
        write_record(record_of(study, preset, folder, judged, options), record)
    return judged


def summary(judged: Sequence[Verdict], preset: str) -> str:
    """How many claims ended how, and which not as expected."""
    counts = [(sum(v.verdict == kind for v in judged), kind) for kind in VERDICTS]
    told = ", ".join(f"{n} {kind}" for n, kind in counts if n)
    text = f"Preset `{preset}`: of {len(judged)} claims {told}."
    other = [f"`{v.claim.id}` is {v.verdict}, expected {v.expected}" for v in judged if not v.as_expected]
    text += f" **Not as expected:** {'; '.join(other)}." if other else " All are as committed."
    return (
        f"{text}\n\nA claim names a number and the range where it must lie. It is *confirmed* where "
        "the number's whole interval lies in the range, its margin included, *refuted* where none of the "
        "interval does, else *unresolved*. Ranges, margins and expected verdicts stand in the source, and "
        "were written before these results were looked at; of a claim that was reworded later the source "
        "says so. An interval of no width belongs to a number "
        "without sampling error, a count of what was tried or a value of a formula, or to seeds that all "
        "gave one number."
    )


def verdict_table(judged: Sequence[Verdict]) -> TableView:
    """A row per claim; refuted ones among them."""
    return TableView.of(
        {
            "claim": f"{v.claim.says} ({v.claim.id})",
            "verdict": v.verdict if v.as_expected else f"{v.verdict} (expected: {v.expected})",
            "number": v.claim.number,
            "claimed": v.claim.range,
            "found": "–" if v.found is None else interval_text(v),
            "rests on": f"{v.claim.kind}; {v.claim.source}",
        }
        for v in judged
    )


def refuted(judged: Sequence[Verdict]) -> list[str]:
    """A sentence for each refuted claim, expected or not."""
    return [
        f"Refuted: {v.claim.says} Found: {interval_text(v)} ({v.claim.number}); claimed: {v.claim.range}."
        for v in judged
        if v.verdict == "refuted"
    ]


def interval_text(verdict: Verdict) -> str:
    """The estimate, with its interval where that has a width."""
    found = verdict.found
    assert found is not None
    if found.low == found.high == found.estimate:
        return f"{found.estimate:.4g}"
    return str(found)


def write_figures(chapters: Sequence[Chapter], folder: Path, kinds: Sequence[str] = ("svg", "png")) -> None:
    """Every figure as ``NAME.svg`` and, with matplotlib, ``NAME.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in (pair for chapter in chapters for pair in chapter.figures.items()):
        for kind in kinds:
            try:
                save(figure, folder / f"{name}.{kind}")
            except ImportError:  # without matplotlib the SVG has to do
                continue


def html_sections(study: Study, chapters: Sequence[Chapter], judged: Sequence[Verdict]) -> list:
    """The report's sections."""
    sections: list = [Text(study.paper)]
    for chapter in chapters:
        sections.append(Text(f"## {chapter.title}"))
        sections += [Text(chapter.text)] if chapter.text else []
        sections += [Code(chapter.code)] if chapter.code else []
        if chapter.title == "Verdicts":
            sections += [Note("measured", text) for text in refuted(judged)]
        sections += chapter.tables
        if chapter.figures:
            sections.append(Figures(tuple(chapter.figures.values()), columns=chapter.columns))
        sections += [Text(chapter.after)] if chapter.after else []
    return sections


def markdown(study: Study, chapters: Sequence[Chapter], judged: Sequence[Verdict]) -> str:
    """The page for the documentation; its figures lie in a folder beside it, named after the study."""
    parts = [f"# {study.title}", f"*{study.paper}.* Generated by `coarsegrad study {study.name}`."]
    for chapter in chapters:
        parts.append(f"## {chapter.title}")
        parts += [chapter.text] if chapter.text else []
        parts += [f"```sh\n{chapter.code}\n```"] if chapter.code else []
        if chapter.title == "Verdicts":
            parts += [text.replace("Refuted:", "**Refuted:**", 1) for text in refuted(judged)]
        parts += [markdown_table(table) for table in chapter.tables]
        for name, figure in chapter.figures.items():
            said = spoken(figure).translate(_ROUND)
            parts.append(f"![{said}]({study.name}/{name}.svg)")
        parts += [chapter.after] if chapter.after else []
    return "\n\n".join(parts) + "\n"


def markdown_table(table: TableView) -> str:
    r"""A pipe table, numbers to the right, its caption above.

    >>> print(markdown_table(TableView.of([{"a": "x|y", "b": 0.5}])))
    | a | b |
    | --- | ---: |
    | x\|y | 0.5 |
    """
    right = [
        all(isinstance(row[i], int | float | None) for row in table.rows) for i in range(len(table.columns))
    ]
    lines = [
        "| " + " | ".join(map(_cell, table.columns)) + " |",
        "| " + " | ".join("---:" if r else "---" for r in right) + " |",
    ]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    return (f"{table.caption}\n\n" if table.caption else "") + "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return html.escape(str(value), quote=False).replace("|", r"\|").replace("\n", " ")


def _cost_chapter(study: Study, preset: str, folder: Path, options: Mapping[str, Any] | None) -> Chapter:
    taken = cost(study, preset, folder, options)
    rows = [{"task": k, "tasks": t["tasks"], "seconds": round(t["seconds"], 1)} for k, t in taken.items()]
    seconds = sum(t["seconds"] for t in taken.values())
    cores = max((t["cores"] for t in taken.values()), default=0)
    text = (
        f"{seconds:.0f} s of tasks one after the other, on {cores:.0f} core(s) at most at once; torch "
        f"{torch.__version__}, Python {platform.python_version()}, {platform.machine()}. The seconds are "
        "those of the wall, on a machine that may have had other work."
    )
    return Chapter("What it cost", text, (TableView.of(rows),) if rows else ())
