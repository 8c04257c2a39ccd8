"""How many samples does it take? Recovery over a grid of n and N, the threshold, and how it grows with n."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.measure import Interval, proportion_interval
from coarsegrad.studies.jeong2025.cells import threshold
from coarsegrad.studies.jeong2025.complexity_story import story
from coarsegrad.studies.jeong2025.predicted import samples_a_weight
from coarsegrad.studies.jeong2025.thresholds import growth, thresholds
from coarsegrad.studies.study import Study, Task
from coarsegrad.studies.verdict import Claim, Rows, exactly

PAPER = "Jeong, Xin & Yin 2025, arXiv:2505.18113"
PAPERS = ("identity", "relu", "clipped_relu")
MAIN = (*PAPERS, "leaky_relu", "hardtanh", "sigmoid", "gaussian")
_MULTIPLES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
_BASE = {"m": 4, "v": "unit", "step_size": 0.3, "steps": 400, "start": 1.0, "seed": 2611, "dtype": "float32"}
_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"sizes": (8,), "large": (), "runs": 8, "extra": 0, "surrogates": ("identity", "relu"),
              "varied": 8},
    "quick": {"sizes": (10, 20, 50), "large": (), "runs": 40, "extra": 2, "surrogates": MAIN, "varied": 20},
    "paper": {"sizes": (10, 20, 50, 100), "large": (200, 300), "runs": 100, "extra": 4,
              "surrogates": MAIN, "varied": 50},
}  # fmt: skip
_PRESETS["extended"] = _PRESETS["paper"]
_VARIED = (
    {"m": 1}, {"m": 16}, {"v": "ones"}, {"step_size": 0.1}, {"step_size": 1.0}, {"start": 0.1},
    {"start": 10.0}, {"steps": 100}, {"steps": 4000},
)  # fmt: skip
"""What is changed, one at a time, at one n, for ReLU."""
_FAR = (  # n, runs, N / n
    *((n, 100, (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)) for n in (10, 30, 100, 300)),
    (1000, 50, (4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 32.0, 64.0, 96.0, 128.0)),
    (10_000, 10, (8.0, 9.5, 11.0, 13.0, 16.0)),
)
_FAR_STEPS = 100


def tasks(preset: str, options: Mapping[str, Any]) -> list[Task]:
    """A task per surrogate and n: all its N, and where it pays more of them; and one per variation.

    The extended preset has ReLU at n up to 10,000 beside, a task a cell, with fewer steps.
    """
    p = _PRESETS[preset]
    grid = {"multiples": _MULTIPLES, "runs": p["runs"], "extra": p["extra"]}
    found = [
        Task("grid", threshold, {**_BASE, **grid, "n": n, "surrogate": name}, says=f"{name}, n = {n}")
        for n in (*p["sizes"], *p["large"]) for name in (PAPERS if n in p["large"] else p["surrogates"])
    ]  # fmt: skip
    found += [
        Task("square", threshold,
             {**_BASE, "runs": p["runs"], "extra": 0, "multiples": (float(n),), "n": n, "surrogate": name},
             says=f"{name}, n = {n}, N = n²")
        for n in p["sizes"] for name in PAPERS
    ]  # fmt: skip
    found += [
        Task("varied", threshold,
             {**_BASE, **grid, "n": p["varied"], "surrogate": "relu", **change, "varied": says}, says=says)
        for change in _VARIED for says in [", ".join(f"{key} {value}" for key, value in change.items())]
    ]  # fmt: skip
    if preset == "extended":
        found += [
            Task("far", threshold,
                 {**_BASE, "steps": _FAR_STEPS, "extra": 0, "runs": runs, "n": n, "surrogate": "relu",
                  "multiples": (multiple,)}, says=f"relu, n = {n}, N = {multiple:g} n")
            for n, runs, multiples in _FAR for multiple in multiples
        ]  # fmt: skip
    return found


# The numbers of the claims.


def _exponent(surrogate: str, criterion: str, kind: str = "grid") -> Callable[[Rows], Interval | None]:
    def estimate(rows: Rows) -> Interval | None:
        fit = growth(rows, surrogate, criterion, kind)
        return fit.exponent if fit else None

    return estimate


def _escapes(rows: Rows) -> Interval | None:
    """Noiseless runs that left the teacher after they were there."""
    found = [row for kind in ("grid", "square", "varied", "far") for row in rows.get(kind, ())]
    return exactly(sum(row["hit"] - row["last"] for row in found)) if found else None


def _at_square(rows: Rows) -> Interval | None:
    """The smallest share of right ergodic iterates at N = n^2, of n = 10 and more, with its own interval."""
    found = [row for row in rows.get("square", ()) if row["n"] >= 10]
    if not found:
        return None
    worst = min(found, key=lambda row: row["ergodic"] / row["runs"])
    return proportion_interval(worst["ergodic"], worst["runs"])


def _ratio(top: str, bottom: str) -> Callable[[Rows], Interval | None]:
    """N50 of one surrogate over another's, the mean over n on a log scale."""

    def estimate(rows: Rows) -> Interval | None:
        above, below = (dict(thresholds(rows, name, "ergodic")) for name in (top, bottom))
        both = sorted(above.keys() & below.keys())
        if len(both) < 2:
            return None
        from coarsegrad.measure import mean_interval

        found = mean_interval(math.log(above[n].n50.estimate / below[n].n50.estimate) for n in both)
        return Interval(*(math.exp(v) for v in (found.estimate, found.low, found.high)))

    return estimate


def _last_over_ergodic(rows: Rows) -> Interval | None:
    """ReLU at the largest n of the grid, from 200 on: N50 of the last iterate over the ergodic one's."""
    last, ergodic = (dict(thresholds(rows, "relu", criterion)) for criterion in ("last", "ergodic"))
    both = sorted(n for n in last.keys() & ergodic.keys() if n >= 200)
    if not both:
        return None
    a, b = last[both[-1]].n50, ergodic[both[-1]].n50
    return Interval(a.estimate / b.estimate, a.low / b.high, a.high / b.low if b.low else math.inf)


def _against_prediction(rows: Rows) -> Interval | None:
    """ReLU, ergodic: measured over predicted N50, at the n where they are farthest apart."""
    found = thresholds(rows, "relu", "ergodic")
    if len(found) < 3:
        return None
    each = samples_a_weight(spec.read("relu", SURROGATES))
    ratios = [Interval(*(v / (each * n) for v in (f.n50.estimate, f.n50.low, f.n50.high))) for n, f in found]
    return max(ratios, key=lambda ratio: abs(math.log(ratio.estimate)))


_LARGE: Mapping[str, str] = {"paper": "confirmed", "extended": "confirmed"}
_MEASURED: Mapping[str, str] = {"quick": "confirmed", **_LARGE}
CLAIMS = (
    Claim("absorbing", "Without label noise a run that reached the teacher stays there.", "theorem",
          f"{PAPER}; w* has a coarse gradient of 0 at every N", "runs that left it", _escapes, most=0),
    Claim("square-suffices", "Samples n² suffice for the ergodic iterate: identity, ReLU, clipped ReLU, n "
          "from 10 to 100, nine runs in ten.", "theorem", f"{PAPER}, as notes have it: O(n²); without its "
          "constant", "smallest share recovered at N = n², over n and surrogates", _at_square,
          least=0.9, expected=_MEASURED),
    Claim("ergodic-below-square", "ReLU, ergodic iterate: what it takes grows more slowly than n².",
          "simulation", "measured here", "exponent of N50 in n", _exponent("relu", "ergodic"), least=1.0,
          most=2.0, expected=_MEASURED),
    Claim("last-below-fourth", "ReLU, last iterate: far more slowly than n⁴.", "simulation", "measured here",
          "exponent of N50 in n", _exponent("relu", "last"), least=1.0, most=3.0, expected=_MEASURED),
    Claim("last-needs-more", "ReLU, n of 200 and more: the last iterate needs at least twice the samples of "
          "the ergodic one.", "simulation", "measured here", "ratio of N50, at the largest n",
          _last_over_ergodic, least=2.0, expected=_LARGE),
    Claim("identity-needs-fewer", "ReLU needs one and a half to three times the samples of the identity.",
          "simulation", "measured here", "ratio of N50, mean over n", _ratio("relu", "identity"), least=1.5,
          most=3.0, margin=0.3, expected=_MEASURED),
    Claim("three-decades", "ReLU, ergodic iterate, n from 10 to 10,000: not far above n (100 steps).",
          "simulation", "measured here", "exponent of N50 in n", _exponent("relu", "ergodic", "far"),
          least=1.0, most=1.5, expected={"extended": "confirmed"}),
    Claim("pull-against-noise", "ReLU, ergodic iterate: N50 is where the pull on a wrong weight is one "
          "standard deviation of its coarse gradient, within a factor of 1.5.", "heuristic", "derived here",
          "measured over predicted N50, at the worst n", _against_prediction, least=1 / 1.5, most=1.5,
          expected={"quick": "refuted", "paper": "refuted", "extended": "refuted"}),
)  # fmt: skip


def glance(rows: Rows) -> str:
    """The recovery curve of the latest cell line as it forms: a letter a size, from 0 to 8 eighths."""
    begun = [kind for kind, found in rows.items() if found]
    if not begun:
        return ""
    kind, mine = begun[-1], rows[begun[-1]]
    name, n = mine[-1]["surrogate"], mine[-1]["n"]
    line = sorted(
        (r["samples"], r["last"] / r["runs"]) for r in mine if (r["surrogate"], r["n"]) == (name, n)
    )
    bars = "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * share))] for _, share in line)
    return f"{kind}: {name}, n = {n}: last iterate right {bars} N = {line[0][0]} ... {line[-1][0]}"


STUDY = Study(
    name="jeong2025-complexity",
    title="Jeong et al. 2025: how many samples does it take?",
    paper=PAPER,
    presets={
        "smoke": "seconds: every measure once, small",
        "quick": "a minute or two on two cores: n to 50",
        "paper": "about an hour of one core: n to 300, 100 runs a cell",
        "extended": "the same, and n to 10,000 for ReLU: half an hour more",
    },
    tasks=tasks,
    claims=CLAIMS,
    story=story,
    glance=glance,
)
