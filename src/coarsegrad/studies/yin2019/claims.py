"""What is claimed: the paper's theorems and remarks, each as a number and the range where it must lie.

Ranges, margins and expected verdicts are written before the run that is published.
"""

import math
from collections.abc import Callable, Iterable

from coarsegrad.measure import Interval, mean_interval, proportion_interval, student_t_quantile
from coarsegrad.studies.verdict import CONFIRMED, REFUTED, UNRESOLVED, Claim, Row, Rows, exactly
from coarsegrad.studies.yin2019.fields import PAPERS

FALSE_ALARM = 1e-4
"""The chance that agreement is refuted by sampling error alone, for all comparisons of one claim together."""
FEW = {"smoke": UNRESOLVED, "quick": CONFIRMED, "short": CONFIRMED, "paper": CONFIRMED}
"""Expected where the smallest preset measures too little to resolve it."""
WINDOWED = ("relu", "clipped_relu")
PLACE = "Yin et al. 2019"
Estimate = Callable[[Rows], Interval | None]


def worst(kind: str, **equals: object) -> Estimate:
    """The largest deviation of a sampled mean from its formula, in units of what chance allows.

    Chance allows each of N comparisons a Student t that it passes with probability ``FALSE_ALARM`` / N, both
    sides together: at 1 or below, nothing but sampling error has been seen.
    """

    def estimate(rows: Rows) -> Interval | None:
        mine = _those(rows, kind, equals)
        number = sum(row["comparisons"] for row in mine)
        limits: dict[int, float] = {}
        for df in {row["df"] for row in mine}:
            limits[df] = student_t_quantile(1 - FALSE_ALARM / (2 * number), df)
        return exactly(max(row["t"] / limits[row["df"]] for row in mine)) if mine else None

    return estimate


def scale(kind: str, per: str = "number", **equals: object) -> Estimate:
    """The factor between sampled means and formulas: weighted least squares through 0, spread over points."""

    def estimate(rows: Rows) -> Interval | None:
        pairs: dict[object, list[float]] = {}
        for row in _those(rows, kind, equals):
            sums = pairs.setdefault(row[per], [0.0, 0.0])
            sums[0] += row["weight"] * row["dot"]
            sums[1] += row["weight"] * row["size"]
        total = sum(size for _, size in pairs.values())
        if len(pairs) < 2 or total == 0:
            return None
        factor = sum(dot for dot, _ in pairs.values()) / total
        n = len(pairs)
        spread = math.sqrt(sum((d - factor * s) ** 2 for d, s in pairs.values()) * n / (n - 1)) / total
        reach = student_t_quantile(0.975, n - 1) * spread
        return Interval(factor, factor - reach, factor + reach)

    return estimate


def extreme(which: Callable[[Iterable[float]], float], key: str, kind: str, **equals: object) -> Estimate:
    """The smallest or largest of a column, by formula: no sampling error."""

    def estimate(rows: Rows) -> Interval | None:
        mine = [row[key] for row in _those(rows, kind, equals)]
        return exactly(which(mine)) if mine else None

    return estimate


def count(kinds: tuple[str, ...], key: str, **equals: object) -> Estimate:
    """The sum of a column over the rows of these kinds: what was counted in all that was tried."""

    def estimate(rows: Rows) -> Interval | None:
        mine = [row[key] for kind in kinds for row in _those(rows, kind, equals) if key in row]
        return exactly(sum(mine)) if mine else None

    return estimate


def share(kind: str, part: str | tuple[str, ...], **equals: object) -> Estimate:
    """The share of starts that a column (or several) counts, with its Wilson interval.

    The surrogates go from the same starts, so the interval is that of one surrogate's number of starts.
    """

    def estimate(rows: Rows) -> Interval | None:
        mine = _those(rows, kind, equals)
        if not mine:
            return None
        names = len({row["surrogate"] for row in mine})
        starts = sum(row["starts"] for row in mine) // names
        parts = (part,) if isinstance(part, str) else part
        counted = sum(row[p] for row in mine for p in parts) / names
        if not starts:
            return None
        few, many = (proportion_interval(f(counted), starts) for f in (math.floor, math.ceil))
        return Interval(counted / starts, few.low, many.high)

    return estimate


def of_teachers(which: Callable[..., float], part: str, **equals: object) -> Estimate:
    """The smallest or largest share that a column counts among the starts beside one of the teachers."""

    def estimate(rows: Rows) -> Interval | None:
        mine = _those(rows, "near", {"what": "teacher", **equals})
        return exactly(which(row[part] / row["starts"] for row in mine)) if mine else None

    return estimate


def exponent(
    kind: str, against: str, value: str, per: tuple[str, ...], least: float = 0, **equals: object
) -> Estimate:
    """The mean over ``per`` of the slope of log ``value`` by log ``against``, from ``least`` of that on."""

    def estimate(rows: Rows) -> Interval | None:
        groups: dict[tuple, list[tuple[float, float]]] = {}
        for row in _those(rows, kind, equals):
            if row[value] and row[against] >= least:
                key = tuple(row[p] for p in per)
                groups.setdefault(key, []).append((math.log(row[against]), math.log(row[value])))
        slopes = [_slope(points) for points in groups.values() if len({x for x, _ in points}) > 1]
        return mean_interval(slopes) if len(slopes) > 1 else None

    return estimate


def ratio_near(rows: Rows) -> Interval | None:
    """How the identity's ratio of the descent inequality grows between the two smallest distances.

    The least over teachers; the distance shrinks to one hundredth.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    for row in _those(rows, "critical", {"what": "nearby", "surrogate": "identity"}):
        found.setdefault(row["number"], []).append((row["distance"], row["ratio"]))
    nearest = [sorted(pairs)[:2] for pairs in found.values()]
    return exactly(min(first[1] / second[1] for first, second in nearest)) if nearest else None


def falls(rows: Rows) -> Interval | None:
    """The share of lines, at the largest sample size, that are lower where the population's is lowest."""
    mine = _those(rows, "line", {"what": "trial"})
    mine = [row for row in mine if row["samples"] == max(r["samples"] for r in mine)]
    return proportion_interval(sum(row["falls"] for row in mine), len(mine)) if mine else None


def smoother(rows: Rows) -> Interval | None:
    """The share of lines that are smoother at the largest sample size than at the smallest."""
    mine = _those(rows, "line", {"what": "trial"})
    sizes = sorted({row["samples"] for row in mine})
    if len(sizes) < 2:
        return None
    rough = {(r["samples"], r["surrogate"], r["trial"]): r["roughness"] for r in mine}
    pairs = [(rough[sizes[0], *key], rough[sizes[-1], *key]) for n, *key in rough if n == sizes[0]]
    pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
    return proportion_interval(sum(b < a for a, b in pairs), len(pairs)) if pairs else None


def _those(rows: Rows, kind: str, equals: dict) -> list[Row]:
    """Rows of a kind with these values; a tuple stands for any of its members."""
    wanted = {k: v if isinstance(v, tuple) else (v,) for k, v in equals.items()}
    return [row for row in rows.get(kind, ()) if all(row.get(k) in v for k, v in wanted.items())]


def _slope(points: list[tuple[float, float]]) -> float:
    x, y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


ENDED = ("global minimizer", "spurious minimizer", "saddle")
_ALLOWED = f"largest deviation, in units of what chance allows at a false-alarm rate of {FALSE_ALARM:g}"

POPULATION = (
    Claim(
        "formula-agrees", "Loss, gradient and coarse gradient of 18 surrogates are what samples give.",
        "theorem", f"{PLACE}, lemmas on the coarse gradients; others by quadrature", _ALLOWED,
        worst("agreement", what=("loss", "dv", "dw", "coarse")), most=1,
    ),
    Claim(
        "formula-scale", "The coarse gradients of the formula have the right size, to two percent.",
        "theorem", f"{PLACE}, lemmas on the coarse gradients",
        "factor between sampled and predicted coarse gradient",
        scale("agreement", what="coarse"), least=1, most=1, margin=0.02, expected=FEW,
    ),
    Claim(
        "gradient-scale", "The gradient in w has the right size, to five percent.",
        "theorem", f"{PLACE}, lemma on the gradient", "factor between sampled and predicted gradient in w",
        scale("agreement", what="dw"), least=1, most=1, margin=0.05, expected=FEW,
    ),
    Claim(
        "correlation-agrees", "The correlation of coarse gradient and gradient is what samples give.",
        "theorem", f"{PLACE}, lemmas on the correlation", _ALLOWED,
        worst("agreement", what="correlation"), most=1,
    ),
    Claim(
        "correlation-scale", "It has the right size, to five percent.",
        "theorem", f"{PLACE}, lemmas on the correlation", "factor between sampled and predicted correlation",
        scale("agreement", what="correlation"), least=1, most=1, margin=0.05, expected=FEW,
    ),
    Claim(
        "downhill", "No coarse gradient of identity, ReLU or clipped ReLU points uphill.",
        "theorem", f"{PLACE}, lemmas on the correlation",
        "smallest cosine with the gradient in w over random (v, w)",
        extreme(min, "smallest", "alignment", what="all", surrogate=PAPERS), least=0, margin=1e-9,
    ),
    Claim(
        "downhill-others", "Neither does that of any other slope of the catalogue.",
        "heuristic", "here: slopes that are hardly negative", "smallest cosine with the gradient in w",
        extreme(min, "smallest", "alignment", what="all"), least=0, margin=1e-9,
    ),
    Claim(
        "descent-inequality", "|Eg|^2 <= A (|df/dv|^2 + <Eg, df/dw>) for ReLU and clipped ReLU.",
        "theorem", f"{PLACE}, lemmas on descent; A as in theory.hidden", "largest ratio of both sides",
        extreme(max, "bound", "alignment", what="all", surrogate=WINDOWED), most=1, margin=1e-9,
    ),
    Claim(
        "identity-no-bound", "The identity has no such A: near the spurious minimizer the ratio grows.",
        "theorem", f"{PLACE}, section 3", "least growth of the ratio when the distance shrinks 100-fold",
        ratio_near, least=30,
    ),
    Claim(
        "critical-points",
        "Saddle and spurious minimizer are stationary in v, and for ReLU and clipped ReLU in w.",
        "theorem", f"{PLACE}, proposition on the landscape", _ALLOWED,
        worst("critical", what="zero"), most=1,
    ),
    Claim(
        "push-agrees", "The length of each coarse gradient at the spurious minimizer is what samples give.",
        "theorem", f"{PLACE}, section 3; others by quadrature", _ALLOWED,
        worst("critical", what="push"), most=1,
    ),
    Claim(
        "push-identity", "The identity's does not vanish there.",
        "theorem", f"{PLACE}, section 3", "smallest length over teachers, in units of |v*|^2",
        extreme(min, "relative", "critical", what="push", surrogate="identity"), least=1e-3,
    ),
    Claim(
        "push-none", "Those of ReLU and clipped ReLU do.",
        "theorem", f"{PLACE}, lemmas on the coarse gradients",
        "largest length over teachers, in units of |v*|^2",
        extreme(max, "relative", "critical", what="push", surrogate=WINDOWED), most=0, margin=1e-12,
    ),
    Claim(
        "line-falls", "The empirical loss falls along the negative coarse gradient, seen at a coarse scale.",
        "heuristic", f"{PLACE}, remark on finite samples", "share of lines, at the largest sample size",
        falls, least=0.9,
    ),
    Claim(
        "line-smoother", "It is rough at a small scale, and smoother with more samples.",
        "heuristic", f"{PLACE}, remark on finite samples",
        "share of lines, largest against smallest sample size", smoother, least=0.9,
    ),
    Claim(
        "line-rate", "It nears the population's as the root of the sample size.",
        "heuristic", "here: the law of large numbers", "exponent of the distance in the sample size",
        exponent("line", "samples", "off", ("surrogate", "trial"), least=100, what="trial"),
        least=-0.5, most=-0.5, margin=0.1,
    ),
)  # fmt: skip

DESCENT = (
    Claim(
        "monotone", "With ReLU and clipped ReLU the loss falls in every step inside the window.",
        "theorem", f"{PLACE}, Theorem 1", "steps inside in which it rose",
        count(("ends", "near"), "rises_inside", surrogate=WINDOWED), least=0, most=0,
    ),
    Claim(
        "identity-rises-inside", "With the identity it rises also inside the window.",
        "heuristic", f"no descent ({PLACE}, section 3), read as of steps with |w| >= c_w",
        "steps inside in which it rose", count(("ends", "near"), "rises_inside", surrogate="identity"),
        least=1,
        expected=REFUTED,
    ),
    Claim(
        "converges", "ReLU and clipped ReLU end at a critical point, from any start.",
        "theorem", f"{PLACE}, Theorem 1", "share of random starts",
        share("ends", ENDED, surrogate=WINDOWED), least=0.99, expected=FEW,
    ),
    Claim(
        "identity-wanders", "Where there are spurious minimizers, some runs of the identity never converge.",
        "simulation", f"{PLACE}, section 3", "share of random starts",
        share("ends", "not critical", surrogate="identity", exists=True), least=0.05,
    ),
    Claim(
        "condition-needed", "Where the condition of existence fails, no run ends at a spurious minimizer.",
        "theorem", f"{PLACE}, proposition on the landscape", "runs of any surrogate that do",
        count(("ends",), "spurious minimizer", exists=False), least=0, most=0,
    ),
    Claim(
        "condition-global", "There, ReLU and clipped ReLU find the global minimizer from any start.",
        "theorem", f"{PLACE}, proposition on the landscape and Theorem 1", "share of random starts",
        share("ends", "global minimizer", exists=False, surrogate=WINDOWED), least=0.99,
        expected=FEW,
    ),
    Claim(
        "spurious-attract", "Where it holds, spurious minimizers catch a share of their runs.",
        "simulation", f"{PLACE}, section 3", "share of random starts",
        share("ends", "spurious minimizer", exists=True, surrogate=WINDOWED), least=0.1, most=0.6,
    ),
    Claim(
        "saddles-repel", "Hardly any run ends at a saddle.",
        "heuristic", "the descent theorem allows it; saddles have measure zero", "share of random starts",
        share("ends", "saddle"), most=0.01, expected=FEW,
    ),
    Claim(
        "identity-climbs", "Started beside the spurious minimizer, the identity first raises the loss.",
        "theorem", f"{PLACE}, section 3",
        "smallest share of starts beside a teacher's whose loss climbs by 1 %",
        of_teachers(min, "climbed", surrogate="identity"), least=0.9,
    ),
    Claim(
        "identity-leaves", "It does not stay there.",
        "theorem", f"{PLACE}, section 3", "largest share of starts beside a teacher's that end there",
        of_teachers(max, "spurious minimizer", surrogate="identity"), most=0.05,
    ),
    Claim(
        "others-stay", "ReLU and clipped ReLU are drawn to it.",
        "simulation", f"{PLACE}, section 3", "smallest share of starts beside a teacher's that end there",
        of_teachers(min, "spurious minimizer", surrogate=WINDOWED), least=0.95,
    ),
    Claim(
        "others-fall", "Their loss does not climb on the way.",
        "theorem", f"{PLACE}, Theorem 1",
        "largest share of starts beside a teacher's whose loss climbs by 1 %",
        of_teachers(max, "climbed", surrogate=WINDOWED), most=0.05,
    ),
    Claim(
        "samples-follow", "A descent on samples nears the population's as the root of their number.",
        "heuristic", "here: the law of large numbers",
        "exponent of the distance of the ends in the sample size",
        exponent("twin", "samples", "off", ("surrogate", "seed")), least=-0.5, most=-0.5, margin=0.1,
    ),
)  # fmt: skip
