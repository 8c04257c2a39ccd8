"""Claims and verdicts: a sentence, the number that decides it, and where that number must lie.

A verdict is a pure function of rows: the claim's estimate comes with an interval; the interval lies in the
claimed range, or outside, or across its edge.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coarsegrad.measure import Interval, mean_interval

Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]
"""What was measured: the rows of each kind of task."""

KINDS = ("theorem", "simulation", "heuristic")
VERDICTS = ("confirmed", "refuted", "unresolved", "not run")
CONFIRMED, REFUTED, UNRESOLVED, NOT_RUN = VERDICTS


@dataclass(frozen=True)
class Claim:
    """What is claimed, on what it rests, and what would refute it.

    Args:
        id: a short name, of letters, digits and hyphens.
        says: the claim in a sentence.
        kind: ``theorem`` (proved in the source, or on the page), ``simulation`` (seen there) or ``heuristic``
            (argued there, or here).
        source: where it is claimed.
        number: what is estimated, in words, with its unit.
        estimate: rows -> the number with its interval; None where nothing was measured.
        least, most: the claimed range of the number, an edge included.
        margin: by how much it may lie beyond the range and still count as inside.
        expected: the verdict committed before the run: for every preset, or a preset -> verdict table, in
            which a missing preset is ``not run``.

    Raises ``ValueError`` for a kind or verdict that is not known, or a range that is empty.
    """

    id: str
    says: str
    kind: str
    source: str
    number: str
    estimate: Callable[[Rows], Interval | None]
    least: float = -math.inf
    most: float = math.inf
    margin: float = 0.0
    expected: str | Mapping[str, str] = CONFIRMED

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"Claim(kind={self.kind!r}) is unknown; known: {', '.join(KINDS)}")
        told = [self.expected] if isinstance(self.expected, str) else [*self.expected.values()]
        if not set(told) <= set(VERDICTS):
            raise ValueError(f"Claim(expected=...) takes {', '.join(VERDICTS)}; got {', '.join(told)}")
        if not (self.least <= self.most and 0 <= self.margin < math.inf):
            raise ValueError(
                f"Claim({self.id!r}) needs least <= most and margin >= 0, got {self.least}, {self.most}, "
                f"{self.margin}"
            )

    def expects(self, preset: str) -> str:
        """The verdict that was committed for this preset."""
        return self.expected if isinstance(self.expected, str) else self.expected.get(preset, NOT_RUN)

    @property
    def range(self) -> str:
        """Where the number must lie, in words.

        >>> Claim("a", "", "theorem", "", "", lambda rows: None, least=0, margin=1e-12).range
        'at least 0, margin 1e-12'
        """
        ends = []
        if self.least == self.most:
            ends.append(f"{self.least:g}")
        else:
            ends += [f"at least {self.least:g}"] if self.least > -math.inf else []
            ends += [f"at most {self.most:g}"] if self.most < math.inf else []
        return ", ".join([" and ".join(ends) or "any", *([f"margin {self.margin:g}"] if self.margin else [])])


@dataclass(frozen=True)
class Verdict:
    """A claim judged."""

    claim: Claim
    found: Interval | None
    verdict: str
    expected: str

    @property
    def as_expected(self) -> bool:
        """Whether it is what was committed before the run."""
        return self.verdict == self.expected

    def row(self) -> Row:
        """Plain values, for tables and machines."""
        found = self.found
        return {
            "claim": self.claim.id, "verdict": self.verdict, "expected": self.expected,
            "estimate": found and found.estimate, "low": found and found.low, "high": found and found.high,
            "range": self.claim.range, "kind": self.claim.kind,
        }  # fmt: skip


def judge(claim: Claim, rows: Rows, preset: str) -> Verdict:
    """The verdict on a claim.

    Confirmed where the whole interval lies within the range and its margin, refuted where none of it does,
    unresolved where it lies across an edge or is no number, not run where there is nothing to judge by.

    >>> claim = Claim("a", "", "theorem", "", "", lambda rows: Interval(1.0, 0.5, 1.5), least=1, margin=0.1)
    >>> judge(claim, {}, "quick").verdict
    'unresolved'
    """
    found = claim.estimate(rows)
    return Verdict(claim, found, decide(found, claim.least, claim.most, claim.margin), claim.expects(preset))


def decide(found: Interval | None, least: float, most: float, margin: float = 0.0) -> str:
    """One of ``VERDICTS``, for an interval and a claimed range."""
    if found is None:
        return NOT_RUN
    low, high, from_, to = found.low, found.high, least - margin, most + margin
    if any(map(math.isnan, (found.estimate, low, high))):
        return UNRESOLVED
    if from_ <= low and high <= to:
        return CONFIRMED
    return REFUTED if high < from_ or low > to else UNRESOLVED


def exactly(value: float | None) -> Interval | None:
    """A number that has no error: a count of what was tried, a value of a formula; None stays None."""
    return None if value is None else Interval(float(value), float(value), float(value))


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Interval | None:
    """Mean with its interval of a - b over the seeds of both, one number a seed; None for fewer than two.

    >>> print(paired({1: 5.0, 2: 7.0, 3: 0.0}, {1: 4.0, 2: 4.0}))
    2 [-10.71, 14.71]
    """
    both = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    return mean_interval(both) if len(both) > 1 else None


def extreme(
    which: Callable[..., float], values: Callable[[Rows], Iterable[float | None]]
) -> Callable[[Rows], Interval | None]:
    """The smallest or largest of the numbers that ``values`` finds in the rows; None where it finds none.

    >>> extreme(min, lambda rows: [row.get("x") for row in rows["a"]])({"a": [{"x": 2.0}, {"x": 1.0}, {}]})
    Interval(estimate=1.0, low=1.0, high=1.0)
    """
    return lambda rows: exactly(which((v for v in values(rows) if v is not None), default=None))
