"""What there is: every study with its source, its claims, what each preset costs, and its last verdict."""

import math
import textwrap
from collections.abc import Iterator, Sequence

from coarsegrad.studies import STUDIES, find
from coarsegrad.studies.page import interval_text
from coarsegrad.studies.record import Record, changed, published
from coarsegrad.studies.study import Study
from coarsegrad.studies.verdict import CONFIRMED, KINDS, REFUTED, VERDICTS, Claim, Row, Verdict

_WIDTH = 100
_HEAD = 11  # columns, of the words in front of a line


def everything() -> list[tuple[Study, Record | None]]:
    """Every study of the catalogue, with the record of its published run, where there is one."""
    return [(find(name), published(name)) for name in STUDIES]


def study_row(study: Study, record: Record | None) -> Row:
    """A study in plain values, for machines. ``published`` is None where it is not.

    ``published.changed`` are ids of claims that are not as they were when the run was judged.
    """
    counts = {kind: sum(claim.kind == kind for claim in study.claims) for kind in KINDS}
    row = {"name": study.name, "title": study.title, "paper": study.paper,
           "claims": counts, "presets": dict(study.presets), "published": None}  # fmt: skip
    if record is not None:
        row["published"] = {
            "preset": record.preset, "date": record.date, "version": record.version,
            "seconds": record.seconds, "tasks": record.tasks, "cores": record.cores,
            "verdicts": count(record.verdicts), "as_expected": sum(v.as_expected for v in record.verdicts),
            "not_as_expected": [v.claim.id for v in record.verdicts if not v.as_expected],
            "refuted": [v.claim.id for v in record.verdicts if v.verdict == REFUTED],
            "changed": changed(record, study),
        }  # fmt: skip
    return row


def claim_rows(study: Study, record: Record | None) -> list[Row]:
    """A row per claim, as it stands; no verdict where the record does not hold just this claim."""
    return [
        {
            "claim": claim.id, "says": claim.says, "kind": claim.kind, "source": claim.source,
            "number": claim.number, "range": claim.range,
            "expected": {preset: claim.expects(preset) for preset in study.presets},
            "preset": record and verdict and record.preset,
            **{k: verdict and verdict.row()[k] for k in ("verdict", "estimate", "low", "high")},
        }
        for claim, verdict in _with_verdicts(study, record)
    ]  # fmt: skip


def _with_verdicts(study: Study, record: Record | None) -> Iterator[tuple]:
    stale = changed(record, study) if record else []
    judged = {v.claim.id: v for v in record.verdicts} if record else {}
    for claim in study.claims:
        yield claim, None if claim.id in stale else judged.get(claim.id)


def text_of(study: Study, record: Record | None) -> str:
    """The study in lines of at most 100 characters."""
    counts = study_row(study, record)["claims"]
    kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
    lines = [study.name, *_lines("", study.title, 2), *_lines("source", study.paper),
             *_lines("claims", f"{len(study.claims)}: {kinds}")]  # fmt: skip
    for preset, words in study.presets.items():
        lines += _lines(preset, words)
        if record is not None and record.preset == preset:
            lines += _lines("", f"measured: {cost_text(record)}")
    if record is None:
        return "\n".join([*lines, *_lines("verdict", "not published")])
    lines += _lines("verdict", f"{verdict_text(record.verdicts)}; {record.preset}, {record.date}")
    others: dict[str, list[str]] = {}
    for verdict in record.verdicts:
        if verdict.verdict != CONFIRMED or not verdict.as_expected:
            others.setdefault(_ended(verdict), []).append(verdict.claim.id)
    for ended, names in others.items():
        lines += _lines("", f"{ended}: {', '.join(names)}")
    if stale := changed(record, study):
        lines += _lines("", f"record is of an older version; since then changed: {', '.join(stale)}")
    return "\n".join(lines)


def claims_text(study: Study, record: Record | None) -> str:
    """The study's claims in lines of at most 100 characters, each with its range and its last verdict."""
    parts = []
    for claim, verdict in _with_verdicts(study, record):
        ended, numbers = _hoped(claim), f"{claim.number}; claimed: {claim.range}"
        if verdict is not None:
            ended = _ended(verdict)
            found = f"{interval_text(verdict)}, " if verdict.found else ""
            numbers += f"; found: {found}{by_how_much(verdict)}"
        head = textwrap.wrap(f"{claim.id} ({claim.kind}): {ended}", _WIDTH, subsequent_indent="    ")
        parts.append("\n".join([*head, *_lines("", claim.says, 2), *_lines("", numbers, 2)]))
    return "\n\n".join(parts)


def count(judged: Sequence[Verdict]) -> dict[str, int]:
    """How many claims ended how.

    >>> count([])
    {'confirmed': 0, 'refuted': 0, 'unresolved': 0, 'not run': 0}
    """
    return {kind: sum(v.verdict == kind for v in judged) for kind in VERDICTS}


def verdict_text(judged: Sequence[Verdict]) -> str:
    """How many ended how, and how many as expected, in words."""
    counts = ", ".join(f"{n} {kind}" for kind, n in count(judged).items() if n)
    return f"{counts}: {sum(v.as_expected for v in judged)} of {len(judged)} as expected"


def cost_text(record: Record) -> str:
    """What the published run took, in words."""
    amount, unit = record.seconds, "s"
    for size, name in ((60, "min"), (60, "h"), (24, "days")):
        if amount < 2 * size:
            break
        amount, unit = amount / size, name
    tasks, cores = f"{record.tasks:,} tasks", f"{record.cores} core{'s' if record.cores > 1 else ''}"
    return f"{tasks}, {amount:.3g} {unit} if one after the other; {cores} at most at once"


def by_how_much(verdict: Verdict) -> str:
    """Where the found interval lies, against the claimed range with its margin; in the number's unit."""
    found, claim = verdict.found, verdict.claim
    if found is None:
        return "not measured"
    if any(map(math.isnan, (found.estimate, found.low, found.high))):
        return "no number"
    least, most = claim.least - claim.margin, claim.most + claim.margin
    for side, near, far in (("below", least - found.high, least - found.low),
                            ("above", found.low - most, found.high - most)):  # fmt: skip
        if near > 0:
            more = "" if far == near else f" to {far:.3g}" if far < math.inf else " or more"
            return f"{side} by {near:.3g}{more}"
    ends = (("below", least - found.low), ("above", found.high - most))
    if reaches := [f"{far:.3g} {side}" for side, far in ends if far > 0]:
        return f"reaches {' and '.join(reaches)}"
    room = min(found.low - least, most - found.high)
    return "inside" if room == math.inf else f"inside by {room:.3g}" if room else "at the edge"


def _ended(verdict: Verdict) -> str:
    return f"{verdict.verdict}, {'as expected' if verdict.as_expected else f'expected {verdict.expected}'}"


def _hoped(claim: Claim) -> str:
    if isinstance(claim.expected, str):
        return f"no verdict, expected {claim.expected}"
    told = ((verdict, [p for p, v in claim.expected.items() if v == verdict]) for verdict in VERDICTS)
    return "no verdict, expected " + ", ".join(
        f"{v} ({', '.join(presets)})" for v, presets in told if presets
    )


def _lines(head: str, text: str, indent: int = _HEAD) -> list[str]:
    first = f"  {head}".ljust(indent)
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=" " * indent,
                         break_on_hyphens=False)  # fmt: skip
