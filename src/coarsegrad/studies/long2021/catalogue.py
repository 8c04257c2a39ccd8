"""The page's chapter on all surrogates: what the predicate says of each, and what its runs did."""

from coarsegrad.measure import proportion_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.long2021.told import nothing, share, shares, steps
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.view import Figure, TableView

TITLE = "The catalogue: predicted, then observed"
AGREES: dict[tuple[str, bool | None], str] = {
    ("yes", True): "yes",
    ("yes", False): "**no**",
    ("no", False): "yes",
    ("no", True): "not needed",
}
"""By answer and `got_there`; what is not among these is left open."""
EVEN = 0.1
"""A lean below it is called nearly even."""


def there(row: Row) -> bool:
    """Whether nine of ten runs reach zero loss with all points right, Wilson's interval included."""
    return proportion_interval(row["right"], row["runs"]).low >= 0.9


def got_there(row: Row) -> bool | None:
    """The same; None where the interval lies across nine of ten."""
    return there(row) or (None if proportion_interval(row["right"], row["runs"]).high >= 0.9 else False)


def chapter(rows: Rows) -> Chapter:
    """A line per surrogate, and bars in the order of their lean."""
    found = [*rows.get("catalogue", ()), *rows.get("own", ())]
    if not found:
        return nothing(TITLE)
    by: dict[str, list[Row]] = {}
    for row in found:
        by.setdefault(row["surrogate"], []).append(row)
    table = [
        {"surrogate": name, "admissible": mine[0]["everywhere"], "where the runs were": mine[0]["answer"],
         "because": mine[0]["why"],
         "lean": round(mine[0]["lean"], 3),
         **{f"at {row['angle']:g} degrees": f"{share(row)}; {steps(row)}" for row in mine},
         "agree": ", ".join(dict.fromkeys(AGREES.get((row["answer"], got_there(row)), "–") for row in mine))}
        for name, mine in by.items()
    ]  # fmt: skip
    return Chapter(TITLE, _text(found), (TableView.of(table),), {"catalogue": _figure(found)}, columns=1)


def _text(found: list[Row]) -> str:
    angle = found[0]["angle"]
    mine = [row for row in found if row["angle"] == angle]
    no, even = ([row for row in mine if row["answer"] == "no"], [row for row in mine if row["lean"] < EVEN])
    stuck = sum(row["solved"] == 0 for row in even)
    slow = [row for row in found if row["lean"] >= EVEN and got_there(row) is False]
    text = (
        "*Admissible*: is the slope 0 on the negative side, and between two positive bounds on the positive "
        "one? Asked before the runs, for all pre-activations; then *where the runs were*, up to the largest "
        "that occurred, however they ended. EDE and ReSTE stay where their schedules begin. "
        "Columns of angles: the share of runs at zero loss with all points right; steps. *Agree*, with the "
        "answer where the runs were: a yes that gets there in 9 of 10 runs, or a no that does not; *not "
        "needed*: a no that does; a dash where the answer is open, or Wilson's 95 % interval of the share "
        "lies across 0.9. At "
        f"{angle:g} degrees {sum(map(there, no))} of {len(no)} with a no get there: the theorem's class "
        "suffices and is far from needed.\n\n"
        "*Lean* says how much heavier the slope is on the positive side: from 0, even, to 1, 0 on the "
        "negative side. While all points of a class are short of their margin, a neuron is pulled along "
        "itself in proportion to E[g(h) h], to which an even slope adds nothing on symmetric data. A "
        f"heuristic, measured here: of the {len(even)} with a lean below {EVEN} at that angle, {stuck} had "
        "no run at zero loss."
    )
    if slow:
        names = ", ".join(f"{row['surrogate']} at {row['angle']:g} degrees ({share(row)})" for row in slow)
        text += f" It does not say how fast: in the steps given, too few runs also of {names}."
    return text


def _figure(found: list[Row]) -> Figure:
    angles = sorted({row["angle"] for row in found}, reverse=True)
    order = [
        row["surrogate"] for row in sorted(found, key=lambda row: row["lean"]) if row["angle"] == angles[0]
    ]
    bars = []
    for color, angle in enumerate(angles):
        by = {row["surrogate"]: row for row in found if row["angle"] == angle}
        names = [name for name in order if name in by]
        bars.append(shares([by[name] for name in names], names, f"{angle:g} degrees", color))
    good = [row for row in found if row["angle"] == angles[0] and there(row)]
    return drawn.figure(
        f"At {angles[0]:g} degrees {len(good)} of {len(order)} surrogates reach zero loss in 9 of 10 runs",
        "surrogates, from the smallest lean to the largest", "share of runs, all points right", bars,
        caption="Whiskers are 95 % Wilson intervals over starts.",
    )  # fmt: skip
