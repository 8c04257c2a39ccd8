"""What is claimed: of every step on the population, of where runs end, and of trained networks.

Ranges and expected verdicts were chosen on seeds 0 to 3, 7, 100 to 103 and 2018, before the runs of the
presets ``quick`` and ``paper``, which use none of them; those of ``smoke`` are what its seed, 7, gives.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coarsegrad.measure import Interval, mean_interval, proportion_interval
from coarsegrad.studies.verdict import CONFIRMED, REFUTED, UNRESOLVED, Claim, Row, Rows, exactly, extreme
from coarsegrad.studies.yin2018.training import AUTHORS, BINARY_CONNECT, CAP, HEAVY, gap

PAPER = "Yin, Zhang, Lyu, Osher, Qi & Xin 2018, arXiv:1808.05240"
HERE = "derived here"
SEEN = "found here, on other seeds"
FREE = ("binary", "ternary")
_SETTLES = 8.0
"""Runs last that many times 1/rho, at the least, where a claim says that they settle."""


def cells(rows: Rows, *, where: Callable[[Row], bool] = lambda row: True, **among: Any) -> list[Row]:
    """The runs whose settings are among these, tuples of them allowed; of the ReLU where nothing is said."""
    among = {"surrogate": "relu", **among}
    return [
        row for row in rows.get("descents", ())
        if where(row) and all(
            row[key] in (value if isinstance(value, tuple) else (value,)) for key, value in among.items()
        )
    ]  # fmt: skip


def blended(row: Row) -> bool:
    """Whether it has any blending."""
    return row["ratio"] > 0


def long(row: Row) -> bool:
    """Whether it has blending, and time enough to settle: rho is ratio x step size x c, c = 1/sqrt(8 pi)."""
    return blended(row) and row["ratio"] * row["step_size"] * 0.1995 * row["steps"] >= _SETTLES


def column(key: str, **about: Any) -> Callable[[Rows], list[float | None]]:
    """A number of each of these runs."""
    return lambda rows: [row[key] for row in cells(rows, **about)]


def count(holds: Callable[[Row], bool], **about: Any) -> Callable[[Rows], Interval | None]:
    """How many runs there are of which it holds."""

    def estimate(rows: Rows) -> Interval | None:
        found = cells(rows, **about)
        return exactly(sum(map(holds, found))) if found else None

    return estimate


def clustered(found: Iterable[tuple[Row, float]]) -> Interval | None:
    """The mean over teachers: what shares one, such as its runs under other step sizes, counts once."""
    means = [sum(values) / len(values) for values in _by_teacher(found)]
    return mean_interval(means) if len(means) > 1 else None


def _by_teacher(found: Iterable[tuple[Row, float]]) -> list[list[float]]:
    groups: dict[tuple, list[float]] = {}
    for row, value in found:
        groups.setdefault((row["seed"], row["n"], row["run"]), []).append(value)
    return list(groups.values())


def beside(key: str, ratio: float, other: float, **about: Any) -> Callable[[Rows], Interval | None]:
    """A column at one blending weight less that of the same run at another, the mean over teachers."""
    same = ("seed", "n", "run", "weights", "step_size", "trained")

    def estimate(rows: Rows) -> Interval | None:
        before = {tuple(row[k] for k in same): row[key] for row in cells(rows, ratio=other, **about)}
        after = cells(rows, ratio=ratio, **about)
        return clustered((row, row[key] - before[tuple(row[k] for k in same)]) for row in after)

    return estimate


def rests(which: Callable[..., bool], **about: Any) -> Callable[[Rows], Interval | None]:
    """The share of teachers of which ``all`` or ``any`` runs no longer turn in their second half."""

    def estimate(rows: Rows) -> Interval | None:
        found = _by_teacher((row, row["late_turns"] == 0) for row in cells(rows, **about))
        return proportion_interval(sum(map(which, found)), len(found)) if found else None

    return estimate


def off_foretold(rows: Rows) -> Interval | None:
    """How far the share of wrong signs is from its formula, where weights never settle."""
    found = cells(rows, weights="fixed", trained="w", where=lambda row: row["ratio"] < 1)
    return clustered((row, abs(row["wrong"] - row["foretold_wrong"])) for row in found)


def _never_rises(row: Row) -> bool:
    return row["late_rises"] == 0


_MEASURED: Mapping[str, str] = {"quick": CONFIRMED, "paper": CONFIRMED}
_KNOWN = {"trained": "w"}
_RAISED = "runs whose objective does not rise again in their second half"
_ALL = "share of teachers all of whose runs no longer turn in their second half"
_ANY = "share of teachers with a run that no longer turns in its second half"
_POINTS = "difference of test accuracies, points, paired by seed"
_NATS = "difference of training losses, nats, paired by seed"

_STEPS = (
    Claim("inner-product", "With blending, <w+ - w, g> is at most -rho/(2 step size) |w+ - w|^2 at every "
          "step: for all four sets, v known or trained.", "theorem", f"{HERE}: two projections",
          "smallest ratio of the two sides",
          extreme(min, column("inner", where=blended, surrogate=("relu", "identity"))), least=1, margin=1e-6),
    Claim("nothing-without", "Without blending no constant takes the place of rho/(2 step size): there are "
          "steps with next to none.", "theorem", f"{HERE}", "smallest -<w+ - w, g> / |w+ - w|^2",
          extreme(min, column("inner", ratio=0.0)), least=0, most=0.01, margin=1e-9),
    Claim("any-weight", "With blending, of whatever weight, every step that turns w lowers the objective.",
          "heuristic", f"a reading of ours of the abstract of {PAPER}, without a condition on rho",
          "smallest fall over |u+ - u|^2", extreme(min, column("least", where=blended)), least=0,
          expected=REFUTED),
    Claim("enough-weight", "v known, weights of one direction or a free scale: it does while r = rho |w| / "
          "(step size c) is at least 1, and by (r - 1)|v|^2/(4 pi) times |u+ - u|^2.", "theorem", HERE,
          "smallest excess over that", extreme(min, column("excess", **_KNOWN)), least=0, margin=1e-9),
    Claim("no-better-constant", "That constant is the best: a fixed scale comes within 0.02 of it.",
          "theorem", HERE, "smallest excess over it",
          extreme(min, column("excess", weights="fixed", **_KNOWN)), most=0.02,
          expected={"smoke": REFUTED, **_MEASURED}),
    Claim("oscillates-without", "v known, without blending: the objective rises again and again, in every "
          "run on every set.", "theorem", f"{HERE}; Long, Yin & Xin 2020 for free scales", _RAISED,
          count(_never_rises, ratio=0.0, **_KNOWN), most=0),
)  # fmt: skip
_ENDS = (
    Claim("settles-where-said", "v known, fixed scale: every weight that should settle ends at the sign that "
          "the formula says, right or wrong.", "theorem", HERE, "weights that end elsewhere",
          extreme(max, column("elsewhere", weights="fixed", **_KNOWN)), most=0),
    Claim("sweet-spot", "v known, fixed scale, rho = step size times c: every run ends at the best quantized "
          "weights.", "theorem", HERE, "smallest share of the late time there",
          extreme(min, column("hits", weights="fixed", ratio=1.0, **_KNOWN)), least=1),
    Claim("time-wrong", "v known, fixed scale, below that: weights are wrong for the foretold share of time.",
          "heuristic", f"{HERE}, for small steps", "mean distance, over teachers", off_foretold, most=0.01),
    Claim("free-scale-known", "v known, free scale: no weight of blending stops the objective from rising "
          "again, in any run; the scale shrinks until r is below 1.", "theorem", HERE, _RAISED,
          count(_never_rises, weights=FREE, where=blended, **_KNOWN), most=0),
    Claim("free-scale-trained", "v trained, free scale, ReLU: with blending runs settle; the scale grows.",
          "heuristic", HERE, _ALL, rests(all, weights=FREE, trained="both", where=long), least=0.8,
          expected={"smoke": UNRESOLVED, **_MEASURED}),
    Claim("trained-without", "v trained, free scale, ReLU, without blending: they do not.", "simulation",
          SEEN, _ANY, rests(any, weights=FREE, trained="both", ratio=0.0), most=0.1,
          expected={"smoke": UNRESOLVED, **_MEASURED}),
    Claim("identity-does-not", "v trained, free scale, identity: with blending one in twenty or more never "
          "settles.",
          "simulation", SEEN, _ALL,
          rests(all, weights=FREE, trained="both", surrogate="identity", where=long), most=0.95),
    Claim("a-little-helps", "v trained, free scale: a little blending (r = 0.1) lowers the late objective.",
          "simulation", SEEN, "difference from none, mean over teachers",
          beside("late_loss", 0.1, 0.0, weights=FREE, trained="both"), most=0,
          expected={"smoke": UNRESOLVED, **_MEASURED}),
    Claim("much-freezes", "And much of it (r = 3) raises it: weights stay near where they began.",
          "simulation", SEEN, "difference from r = 0.1, mean over teachers",
          beside("late_loss", 3.0, 0.1, weights=FREE, trained="both"), least=0,
          expected={"smoke": UNRESOLVED, **_MEASURED}),
)  # fmt: skip
_NETWORKS = (
    Claim("digits-constant", "Digits, constant rate: blending 0.01 ends at a lower training loss than "
          "none, latents unclipped in both.", "simulation", SEEN, _NATS,
          gap("digits", "train_loss", CAP, schedule="constant"), most=0, expected=_MEASURED),
    Claim("digits-binary-connect", "And at a lower one than BinaryConnect, whose clip acts.", "simulation",
          SEEN, _NATS, gap("digits", "train_loss", CAP, BINARY_CONNECT, schedule="constant"), most=0,
          expected=_MEASURED),
    Claim("digits-constant-accuracy", "Digits, constant rate: and at a higher accuracy than none.",
          "simulation", SEEN, _POINTS,
          gap("digits", "test_accuracy", CAP, schedule="constant"), least=0, expected=_MEASURED),
    Claim("digits-constant-much", "Digits, constant rate: blending 0.1 is worse than 0.01.", "simulation",
          SEEN, _NATS, gap("digits", "train_loss", HEAVY, CAP, schedule="constant"), least=0,
          expected=_MEASURED),
    Claim("digits-authors", "Digits, constant rate: the authors' starting weight, 0.00001, kept, is too "
          "small to matter in so few steps.", "simulation", SEEN, _NATS,
          gap("digits", "train_loss", AUTHORS, schedule="constant"), least=-0.03, most=0.03,
          expected=_MEASURED),
    Claim("digits-flips", "Digits, constant rate: with 0.01 fewer signs change in the last epoch than "
          "with none.",
          "simulation", SEEN, "difference, percent of the weights, paired by seed",
          gap("digits", "flips", CAP, schedule="constant"), most=-1, expected=_MEASURED),
    Claim("digits-cosine", "Digits, rate falling to 0, which ends oscillation too: blending 0.1 costs.",
          "simulation", SEEN, _NATS, gap("digits", "train_loss", HEAVY, schedule="cosine"), least=0,
          expected=_MEASURED),
    Claim("resnet20-authors", "ResNet-20, two epochs: blending, at the authors' starting weight, kept, ends "
          "above BinaryConnect.", "simulation", f"{PAPER}, for full schedules", _POINTS,
          gap("resnet20", "test_accuracy", AUTHORS, BINARY_CONNECT), least=0, expected={"paper": UNRESOLVED}),
    Claim("resnet20-flips", "ResNet-20: with 0.01 fewer signs change in the epoch at the full rate than "
          "with none.",
          "simulation", SEEN, "difference, percent of the weights, paired by seed",
          gap("resnet20", "flips", CAP, left=1), most=0, expected={"paper": CONFIRMED}),
)  # fmt: skip
CLAIMS = (*_STEPS, *_ENDS, *_NETWORKS)
