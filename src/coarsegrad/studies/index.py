"""The overview of the documentation: per paper, which claims were confirmed, which not, and by how much."""

from collections.abc import Iterable
from pathlib import Path

from coarsegrad.studies.listing import by_how_much, count, everything, verdict_text
from coarsegrad.studies.page import interval_text, markdown_table
from coarsegrad.studies.record import Record
from coarsegrad.studies.study import Study
from coarsegrad.studies.verdict import CONFIRMED, Row, Verdict
from coarsegrad.view import TableView
from coarsegrad.view.whole import write_whole

BEGIN = "<!-- Verdicts: written by `coarsegrad study list --docs docs/studies`, not by hand. -->"
END = "<!-- End of the verdicts. -->"
ELSEWHERE = {"leaderboard": "../results/leaderboard.md"}
"""Pages in another folder of the documentation."""


def rewrite(folder: str | Path) -> Path:
    """Write the verdicts of all published studies into ``index.md`` between its two marks; returns its path.

    Raises ``FileNotFoundError`` without the file, ``ValueError`` without the marks, and then changes nothing.
    """
    path = Path(folder) / "index.md"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no index.md; give the folder of the studies' pages")
    before, mark, rest = path.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (mark and end) or BEGIN in rest or END in before + after:
        raise ValueError(f"{path} needs these two lines, once each, around the verdicts: {BEGIN} and {END}")
    return write_whole(path, f"{before}{BEGIN}\n\n{section(everything())}\n{END}{after}")


def section(studies: Iterable[tuple[Study, Record | None]]) -> str:
    """The verdicts as Markdown; studies of one paper, which their titles begin with, stand together.

    One that is not published has a row in the table, and no more.
    """
    papers: dict[str, list[tuple[Study, Record | None]]] = {}
    for study, record in studies:
        papers.setdefault(paper_of(study), []).append((study, record))
    rows = [_count_row(paper, *pair) for paper, pairs in papers.items() for pair in pairs]
    parts = [markdown_table(TableView.of(rows))]
    for paper, pairs in papers.items():
        told = [text for study, record in pairs if record for text in _study(study, record)]
        parts += [f"### {paper}", *told] if told else []
    return "\n\n".join(parts) + "\n"


def paper_of(study: Study) -> str:
    """The paper's short name, with which the title begins.

    >>> from coarsegrad.studies import find
    >>> paper_of(find("yin2019"))
    'Yin et al. 2019'
    """
    return study.title.partition(": ")[0]


def _page(study: Study) -> str:
    return ELSEWHERE.get(study.name, f"{study.name}.md")


def _count_row(paper: str, study: Study, record: Record | None) -> Row:
    if record is None:
        about = {"paper": paper, "study": study.name, "preset": "not published", "claims": len(study.claims)}
        return {**about, **dict.fromkeys((*count(()), "as expected"))}
    return {
        "paper": paper,
        "study": f"[{study.name}]({_page(study)})",
        "preset": record.preset,
        "claims": len(record.verdicts),
        **count(record.verdicts),
        "as expected": sum(v.as_expected for v in record.verdicts),
    }


def _study(study: Study, record: Record) -> list[str]:
    judged = record.verdicts
    told = [v for v in judged if v.verdict != CONFIRMED or not v.as_expected]
    head = f"**[{study.title}]({_page(study)})**. *{study.paper}.*"
    parts = [f"{head} {verdict_text(judged)}; `{record.preset}`, {record.date}."]
    if told:
        parts.append(
            markdown_table(TableView.of(map(_row, told), caption="Not confirmed, or not as expected:"))
        )
    whole = markdown_table(TableView.of(map(_row, judged)))
    said = f"All {len(judged)} claims of {study.name}"
    return [*parts, f'<details markdown="1">\n<summary>{said}</summary>\n\n{whole}\n\n</details>']


def _row(verdict: Verdict) -> Row:
    claim, other = verdict.claim, f"{verdict.verdict}, expected: {verdict.expected}"
    return {
        "claim": f"{claim.says} ({claim.id}, {claim.kind})",
        "number": claim.number,
        "claimed": claim.range,
        "found": interval_text(verdict) if verdict.found else None,
        "by how much": by_how_much(verdict),
        "verdict": verdict.verdict if verdict.as_expected else other,
    }
