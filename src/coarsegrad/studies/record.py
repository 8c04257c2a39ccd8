"""A record: the verdicts of a published run, and the claims they were passed on, in one file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coarsegrad.measure import Interval
from coarsegrad.studies.study import Study, cost
from coarsegrad.studies.verdict import Claim, Verdict, decide
from coarsegrad.train.checkpoint import installed
from coarsegrad.view.whole import write_whole

PUBLISHED = Path(__file__).with_name("published")
"""The folder of the records that ship with coarsegrad: ``NAME.json`` for each study that is published."""

_ABOUT = ("study", "preset", "date", "version")
_COST = ("seconds", "tasks", "cores")
_TEXTS = ("id", "says", "kind", "source", "number")
_RANGE = ("least", "most", "margin")
_FOUND = ("estimate", "low", "high")


@dataclass(frozen=True)
class Record:
    """What a published run found.

    Args:
        study: its name.
        preset: which was run.
        date: of publishing, the day in UTC, ``YYYY-MM-DD``.
        version: of coarsegrad.
        seconds, tasks, cores: what it took, as `coarsegrad.studies.study.cost` has it.
        verdicts: one per claim; the claim is as it stood then, its estimate what was found.
    """

    study: str
    preset: str
    date: str
    version: str
    seconds: float
    tasks: int
    cores: int
    verdicts: tuple[Verdict, ...]


def record_of(
    study: Study,
    preset: str,
    folder: str | Path,
    judged: Sequence[Verdict],
    options: Mapping[str, Any] | None = None,
) -> Record:
    """Today's record of these verdicts on the run in ``folder``."""
    taken = cost(study, preset, folder, options).values()
    return Record(
        study.name, preset, datetime.now(UTC).date().isoformat(), installed(),
        seconds=round(sum(t["seconds"] for t in taken), 1), tasks=int(sum(t["tasks"] for t in taken)),
        cores=int(max((t["cores"] for t in taken), default=0)), verdicts=tuple(judged),
    )  # fmt: skip


def write(record: Record, folder: str | Path) -> Path:
    """Write ``NAME.json`` in ``folder``, whole or not at all; returns its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: getattr(record, name) for name in _ABOUT}
    kept["cost"] = {name: getattr(record, name) for name in _COST}
    kept["claims"] = [_plain(verdict) for verdict in record.verdicts]
    text = json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False)
    return write_whole(folder / f"{record.study}.json", text + "\n")


def read(path: str | Path) -> Record:
    """The record in a file.

    Raises ``ValueError`` where it is none, or where a verdict does not follow from its numbers.
    """
    try:
        kept = json.loads(Path(path).read_text(encoding="utf-8"))
        about = {name: kept[name] for name in _ABOUT} | {name: kept["cost"][name] for name in _COST}
        return Record(**about, verdicts=tuple(map(_verdict, kept["claims"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path} is not a record of a study ({fault}); write it again: "
            "coarsegrad study NAME --out FOLDER --record RECORDS"
        ) from error


def published(name: str) -> Record | None:
    """The record that ships with coarsegrad; None where the study is not published.

    >>> published("yin2019").study
    'yin2019'
    """
    path = PUBLISHED / f"{name}.json"
    return read(path) if path.exists() else None


def changed(record: Record, study: Study) -> list[str]:
    """Ids of claims that are not as they were when the record was written: new, gone, or said otherwise."""
    then = {v.claim.id: _committed(v.claim, record.preset) for v in record.verdicts}
    now = {claim.id: _committed(claim, record.preset) for claim in study.claims}
    return [name for name in {**now, **then} if then.get(name) != now.get(name)]


def _committed(claim: Claim, preset: str) -> tuple:
    return *(getattr(claim, name) for name in (*_TEXTS, *_RANGE)), claim.expects(preset)


def _plain(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON can hold it: an infinity, or no number, as text that `float` reads."""

    def number(value: float | None) -> float | str | None:
        return value if value is None else float(value) if math.isfinite(value) else str(float(value))

    claim, found = verdict.claim, verdict.found
    return {
        **{name: getattr(claim, name) for name in _TEXTS},
        **{name: number(getattr(claim, name)) for name in _RANGE},
        **{name: number(found and getattr(found, name)) for name in _FOUND},
        "verdict": verdict.verdict,
        "expected": verdict.expected,
    }


def _verdict(kept: Mapping[str, Any]) -> Verdict:
    numbers = [kept[name] for name in _FOUND]
    found = None if None in numbers else Interval(*map(float, numbers))
    said: dict[str, Any] = {name: kept[name] for name in (*_TEXTS, "expected")}
    said |= {name: float(kept[name]) for name in _RANGE}
    claim = Claim(**said, estimate=lambda rows: found)
    if kept["verdict"] != decide(found, claim.least, claim.most, claim.margin):
        raise ValueError(f"the verdict on {claim.id} does not follow from its numbers")
    return Verdict(claim, found, kept["verdict"], kept["expected"])
