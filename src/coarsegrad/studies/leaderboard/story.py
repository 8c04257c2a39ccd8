"""From rows to verdicts and a page: who chose what, who ends where, and what cannot be told apart."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from coarsegrad.measure import Interval, mean_interval, paired_difference
from coarsegrad.studies.drawn import bars, figure, line
from coarsegrad.studies.leaderboard.methods import BITS, METHODS, Trial, trials, widths
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import CONFIRMED, REFUTED, UNRESOLVED, Claim, Row, Rows
from coarsegrad.view import TableView

Cell = tuple[str, str, str]
"""Data, bits, method."""
_DATA = {
    "digits": "digits", "fashion_mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10": "CIFAR-10",
}  # fmt: skip


def chosen(rows: Rows) -> dict[Cell, Trial]:
    """Of every cell the trial that ends with the highest held-out accuracy; among equals the lowest loss."""
    best: dict[Cell, tuple[tuple[float, float], Trial]] = {}
    for row in rows.get("trial", ()):
        if row["what"] == "epoch" and row["final"]:
            cell, score = _cell(row), (row["test_accuracy"], -row["test_loss"])
            if cell not in best or score > best[cell][0]:
                best[cell] = score, (row["lr"], row["setting"])
    return {cell: trial for cell, (_, trial) in best.items()}


def accuracies(rows: Rows, kind: str = "epoch") -> dict[Cell, dict[int, float]]:
    """Final test accuracy in percent by cell and seed; ``kind`` may be ``ptq``."""
    found: dict[Cell, dict[int, float]] = {}
    for row in rows.get("run", ()):
        if row["what"] == kind and row["final"]:
            found.setdefault(_cell(row), {})[row["seed"]] = row["test_accuracy"]
    return found


def broken(rows: Rows) -> dict[Cell, list[int]]:
    """Seeds whose numbers stopped being finite, by cell: such a cell has no rank and no verdict."""
    found: dict[Cell, list[int]] = {}
    for row in rows.get("run", ()):
        if row["what"] == "failed":
            found.setdefault(_cell(row), []).append(row["seed"])
    return found


def paired(rows: Rows, one: Cell, other: Cell, kinds: tuple[str, str] = ("epoch", "epoch")) -> list[float]:
    """Differences of accuracies, points, a seed each."""
    a, b = (accuracies(rows, kind).get(cell, {}) for kind, cell in zip(kinds, (one, other), strict=True))
    return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]


def _cell(row: Row) -> Cell:
    return row["data"], row["bits"], row["method"]


def _data(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["data"] for row in rows.get("run", ())))


def _gap(bits: str, one: str, other: str) -> Callable[[Rows], Interval | None]:
    """Mean paired difference on the first data set of the rows."""

    def estimate(rows: Rows) -> Interval | None:
        kinds = ("epoch", "ptq" if other == "ptq" else "epoch")
        against = "float" if other == "ptq" else other
        for data in _data(rows)[:1]:
            cells = (data, bits, one), (data, "float" if other == "ptq" else bits, against)
            found = paired(rows, (data, bits, one), (data, bits, against), kinds)
            if found and any(cell in broken(rows) for cell in cells):
                return Interval(sum(found) / len(found), -math.inf, math.inf)
            return mean_interval(found) if len(found) > 1 else None
        return None

    return estimate


def _claim(
    id: str, says: str, kind: str, source: str, bits: str, one: str, other: str, least: float,
    quick: str = UNRESOLVED, paper: str = UNRESOLVED,
) -> Claim:  # fmt: skip
    number = f"{bits.upper()}: test accuracy of {_named(one)} less {_named(other)}, points, paired by seed"
    expected = {"quick": quick, "paper": paper, "extended": paper}
    return Claim(id, says, kind, source, number, _gap(bits, one, other), least=least, expected=expected)


def _named(method: str) -> str:
    return "untrained (calibrated)" if method == "ptq" else method.replace("_", " ")


def _carried(method: str) -> str:
    return f"{METHODS[method].source}: carried over from other networks, budgets or bits"


CLAIMS = (
    _claim("trained-over-calibrated-w2a2", "At W2A2 training beats calibrating the float model.", "heuristic",
           "this library", "w2a2", "ste", "ptq", 2.0, CONFIRMED, CONFIRMED),
    _claim("trained-over-calibrated-w32a2", "At W32A2 training beats calibrating the float model.",
           "heuristic", "this library", "w32a2", "ste", "ptq", 0.5, CONFIRMED, CONFIRMED),
    _claim("lsq-over-plain-w2a2", "Trained steps (LSQ) beat steps that follow the weights, and a given one "
           "of activations.", "heuristic", _carried("lsq"), "w2a2", "lsq", "ste", 0.0),
    _claim("lsq-over-pact-w2a2", "LSQ ends above PACT.", "heuristic", _carried("lsq"), "w2a2", "lsq",
           "pact", 0.0, UNRESOLVED, CONFIRMED),
    _claim("pact-over-plain-w32a2", "A trained clip of activations beats a fixed one.", "heuristic",
           _carried("pact"), "w32a2", "pact", "ste", 0.0),
    _claim("reste-over-plain-w1a1", "ReSTE ends above plain straight-through.", "heuristic",
           _carried("reste"), "w1a1", "reste", "ste", 0.0, UNRESOLVED, CONFIRMED),
    _claim("ede-over-plain-w1a1", "EDE ends above plain straight-through.", "heuristic",
           _carried("ede"), "w1a1", "ede", "ste", 0.0),
    _claim("relaxed-over-binaryconnect-w1a1", "BinaryRelax ends above BinaryConnect.", "heuristic",
           _carried("binary_relax"), "w1a1", "binary_relax", "binaryconnect", 0.0),
    _claim("blended-over-binaryconnect-w1a1", "BCGD ends above BinaryConnect.", "heuristic",
           _carried("bcgd"), "w1a1", "bcgd", "binaryconnect", 0.0),
    _claim("prox-over-binaryconnect-w1a1", "ProxQuant ends above BinaryConnect.", "heuristic",
           _carried("prox_quant"), "w1a1", "prox_quant", "binaryconnect", 0.0, UNRESOLVED, REFUTED),
    _claim("bop-as-good-as-latents-w1a1", "Without latents the end is as good, within a point.", "heuristic",
           _carried("bop"), "w1a1", "bop", "ste", -1.0, UNRESOLVED, CONFIRMED),
)  # fmt: skip


def story(rows: Rows) -> list[Chapter]:
    """The page's chapters."""
    return [_what(rows), *_boards(rows), _validity(), _tuning(rows)]


def _what(rows: Rows) -> Chapter:
    seeds = sorted({row["seed"] for row in rows.get("run", ())})
    epochs = sorted({row["epoch"] for row in rows.get("run", ()) if row["what"] == "epoch" and row["final"]})
    missing = [_DATA[data] for data in ("fashion_mnist", "mnist", "cifar10") if data not in _data(rows)]
    trained = {row["bits"] for row in rows.get("run", ()) if row["what"] != "ptq"}  # the untrained have all
    bits = [b.upper() for b in BITS if b not in trained]
    not_run = " and ".join(filter(None, [
        f"the data sets {', '.join(missing)}" if missing else "",
        f"the widths {', '.join(bits)}" if bits else "",
    ]))  # fmt: skip
    text = (
        "Papers on low-bit training compare with the numbers of other papers, of other networks and budgets, "
        "mostly of one seed. Here every method trains the same network on the same batches, from the same "
        "first weights, as long as every other.\n\n"
        "- **Network**: LeNet-5 in LeCun's widths (6, 16, 120, 84) with batch norm; ResNet-20 for CIFAR-10. "
        "First and last weights are float. All activations but the image are quantized; one bit is a sign, "
        "which is then the only non-linearity, and LeNet-5 then pools before its batch norms.\n"
        "- **Budget**: Adam, cosine schedule, batches of 128, no weight decay, from scratch, "
        f"{_list(epochs)} epochs; images of Fashion-MNIST and CIFAR-10 are cropped and mirrored at random, "
        "in trials as in runs.\n"
        "- **Tuning**: four trials for each cell of the table, of one seed, on held-out training images: "
        "four learning rates, or the middle two of these and two values of the method's own setting. "
        "Settings that add up over steps are given for a whole training. All trials stand below. Trained "
        "distances between levels move, in units of themselves, as fast as the weights in theirs; of "
        "activations they and clips move by the rate in units of themselves.\n"
        "- **Before**: the ranges of rates and settings were found in runs on Fashion-MNIST that are not "
        "counted here: of seed 0; the trials of a protocol without augmentation; and a whole run of it, five "
        "other seeds, in which signs stood behind the pooling and trained scales had the weights' rate. "
        "There plain, ReSTE, Bop and LSQ ended within a point of one another in their cells, and ProxQuant, "
        "pulled harder, five points below BinaryConnect.\n"
        f"- **Result**: the test accuracy after the last epoch, of {len(seeds)} fresh seeds "
        f"({_list(seeds)}); intervals are Student's t, 95%; differences are paired by seed.\n\n"
        "What it does not say: four short trials of one seed are few, a method that needs more care loses by "
        "that, and the intervals hold what was chosen fixed; Adam is not every paper's optimizer; a small "
        "network on an easy data set is not ImageNet; and two methods whose interval of the difference "
        "holds 0 are not told apart here."
    )
    return Chapter("What is studied", text + (f"\n\n**Not run**, or not yet: {not_run}." if not_run else ""))


def _boards(rows: Rows) -> list[Chapter]:
    chapters = []
    for data in _data(rows):
        scores, untrained, lost = accuracies(rows), accuracies(rows, "ptq"), broken(rows)
        for bits in BITS:
            board = [name for name in METHODS if (data, bits, name) in scores]
            if not board:
                continue
            whole = [name for name in board if (data, bits, name) not in lost]
            whole.sort(key=lambda name, b=bits, d=data: -_mean(scores[d, b, name]))
            board = whole + [name for name in board if name not in whole]
            table = [_line(rows, data, "float", "float", place=None)]
            table += [
                _line(rows, data, bits, name, whole.index(name) + 1 if name in whole else None)
                for name in board
            ]
            table += [_line(rows, data, bits, "ptq", None)] if (data, bits, "float") in untrained else []
            title = f"{_DATA[data]}, {bits.upper()}"
            gaps, curves = _board_figure(rows, data, bits, board), _curves(rows, data, bits, board)
            figures = {f"{data}-{bits}": gaps} if gaps.items else {}
            chapters.append(
                Chapter(title, _told(rows, data, bits, whole), (TableView.of(table),),
                        {**figures, f"{data}-{bits}-epochs": curves})
            )  # fmt: skip
    return chapters


def _line(rows: Rows, data: str, bits: str, name: str, place: int | None) -> Row:
    kind = "ptq" if name == "ptq" else "epoch"
    cell = (data, bits, "float" if name == "ptq" else name)
    scores = accuracies(rows, kind).get(cell, {})
    found = mean_interval(scores.values()) if scores else None
    gaps = paired(rows, cell, (data, bits, "ste"), (kind, "epoch")) if name not in ("float", "ste") else []
    gap = paired_difference(gaps, [0.0] * len(gaps)) if len(gaps) > 1 else None
    return {
        "place": place, "method": _named(name), "accuracy [%]": found and round(found.estimate, 2),
        "95% from": found and round(found.low, 2), "to": found and round(found.high, 2),
        "less plain STE [points]": None if gap is None
        else f"{gap.difference:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]",
        "told apart": None if gap is None or (place is None and name != "ptq") else gap.resolved,
        "seeds": len(scores),
    }  # fmt: skip


def _told(rows: Rows, data: str, bits: str, board: Sequence[str]) -> str:
    lost = [row for row in rows["run"] if row["what"] == "failed" and _cell(row)[:2] == (data, bits)]
    tried = {_cell(row) for row in rows.get("trial", ()) if _cell(row)[:2] == (data, bits)}
    untuned = [_named(name) for _, _, name in sorted(tried - chosen(rows).keys())]
    said = [f"Seed {row['seed']} of {_named(row['method'])}: {row['reason']}." for row in lost]
    said += [f"Not run, for no trial ended in finite numbers: {', '.join(untuned)}."] if untuned else []
    if board:
        ties = []
        for name in board[1:]:
            gaps = paired(rows, (data, bits, board[0]), (data, bits, name))
            if len(gaps) < 2 or not paired_difference(gaps, [0.0] * len(gaps)).resolved:
                ties.append(_named(name))
        tied = f"not told apart from it: {', '.join(ties)}" if ties else "it is told apart from every other"
        said.insert(0, f"Highest mean: **{_named(board[0])}**; {tied}. (Each pair by itself; no correction "
                       "for how many pairs. A method with a seed that failed has no place.)")  # fmt: skip
        if widths(bits)[1] == 1:
            said.append("*Untrained* is another network: behind its ReLUs one bit is 0 or 1 times a scale.")
    return " ".join(said)


def _board_figure(rows: Rows, data: str, bits: str, board: Sequence[str]) -> Any:
    gaps = {name: paired(rows, (data, bits, name), (data, bits, "ste")) for name in board if name != "ste"}
    found = {_named(name): mean_interval(values) for name, values in gaps.items() if len(values) > 1}
    columns = [[getattr(gap, key) for gap in found.values()] for key in ("estimate", "low", "high")]
    heights, low, high = columns
    title = f"{_DATA[data]}, {bits.upper()}: how far each method ends above or below plain straight-through"
    caption = "Means over seeds of paired differences, with 95% intervals."
    items = [bars(tuple(found), heights, low=low, high=high)] if found else []
    return figure(title, "method", "difference of test accuracy [points]", items, caption=caption)


def _curves(rows: Rows, data: str, bits: str, board: Sequence[str]) -> Any:
    items = []
    for name in board:
        by_epoch: dict[int, list[float]] = {}
        for row in rows["run"]:
            if row["what"] == "epoch" and _cell(row) == (data, bits, name):
                by_epoch.setdefault(row["epoch"], []).append(row["test_accuracy"])
        epochs = sorted(by_epoch)
        items.append(line(epochs, [sum(by_epoch[e]) / len(by_epoch[e]) for e in epochs], _named(name)))
    title = f"{_DATA[data]}, {bits.upper()}: mean test accuracy over the epochs"
    return figure(title, "epoch", "test accuracy [%]", items)


def _validity() -> Chapter:
    table = [
        {"method": _named(name), **{b.upper(): b in method.valid for b in BITS}, "what it is": method.says,
         "where not": method.why_not if set(BITS) - set(method.valid) else "", "source": method.source}
        for name, method in METHODS.items()
    ]  # fmt: skip
    text = "A cell that is *no* would be another method, or none: it is not run, and is no failure."
    return Chapter("Which cells are valid", text, (TableView.of(table),))


def _tuning(rows: Rows) -> Chapter:
    best = chosen(rows)
    table = [
        {"data": _DATA[row["data"]], "bits": row["bits"].upper(), "method": _named(row["method"]),
         "rate": row["lr"],
         "own setting": None if row["setting"] is None
         else f"{METHODS[row['method']].knob}: {row['setting']:g}",
         "held-out accuracy [%]": round(row["test_accuracy"], 2),
         "chosen": best[_cell(row)] == (row["lr"], row["setting"]),
         "first or last rate tried": row["lr"] in _ends(row) if row["setting"] is None else None}
        for row in rows.get("trial", ()) if row["what"] == "epoch" and row["final"]
    ]  # fmt: skip
    failed = [row for row in rows.get("trial", ()) if row["what"] == "failed"]
    epochs = _list(sorted({r["epoch"] for r in rows.get("trial", ()) if r["what"] == "epoch" and r["final"]}))
    text = f"Every trial: {epochs} epochs on four fifths of the training images, tested on every fifth."
    text += " Of two rates and two settings each is the first or the last: better ones may lie beyond."
    text += f" {len(failed)} trials ended in numbers that are not finite." if failed else ""
    return Chapter("All tuning", text, (TableView.of(table),) if table else ())


def _ends(row: Row) -> tuple[float, float]:
    rates = [lr for lr, _ in trials(row["method"])]
    return min(rates), max(rates)


def _mean(scores: dict[int, float]) -> float:
    return sum(scores.values()) / len(scores)


def _list(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "no"
