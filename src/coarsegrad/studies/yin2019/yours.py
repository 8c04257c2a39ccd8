"""A surrogate that the user names, measured as the catalogue's are: does it point downhill?

Its rows are of kinds of their own, so the paper's claims never see them.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from coarsegrad import own, spec
from coarsegrad.studies.study import Chapter, Task
from coarsegrad.studies.verdict import Row, Rows
from coarsegrad.studies.yin2019 import descents, fields, pictures
from coarsegrad.studies.yin2019.claims import worst
from coarsegrad.theory import hidden
from coarsegrad.theory.gauss import slope_moments
from coarsegrad.view import Figure, TableView

Settings = Mapping[str, Any]
_REACH, _INPUTS, _MORE = 50.0, 20001, 200_000
_DISTANCES = (1e-2, 1e-4, 1e-6)
_NOTHING = 1e-12


def tasks(text: str | None, p: Mapping[str, Any]) -> list[Task]:
    """What is measured of the surrogate of this written form; ``p`` are the preset's sizes.

    An id depends on the written form and on the text of the user's file that it comes from. Descents are
    fewer than the catalogue's: a slope without declared ``passes`` is integrated at every step.
    """
    if text is None:
        return []
    name = spec.write(own.surrogate(text))
    shared = {"surrogate": name, "surrogates": (name,), "content": own.content(name)}

    def task(about: str, says: str, **settings: Any) -> Task:
        return Task(f"own {about}", ask, {"about": about, **shared, **settings}, says=f"{name}, {says}")

    sampled = {"seed": 20190506, "blocks": p["blocks"], "samples": p["samples"]}
    walk = {"steps": p["own_steps"], "step_size": p["step_size"], "window": p["window"]}
    return [
        task("direction", "at random points", seed=11, points=p["aligned"], bins=p["bins"]),
        *(task("agreement", f"point {k + 1}", **sampled, number=k) for k in range(p["points"])),
        *(task("rest", f"teacher {k + 1}", **sampled, number=k, distances=_DISTANCES)
          for k in range(p["teachers"])),
        *(task("line", f"N = {n}", seed=12, m=4, n=8, reach=2.0, grid=p["grid"], trials=p["trials"],
               samples=n) for n in p["sizes"]),
        task("ends", "from random starts", seed=1000, m=6, n=5, runs=p["own_runs"], **walk),
        task("near", "beside the spurious minimizer", seed=13, teachers=4, runs=p["own_near"],
             off=0.01, climb=0.01, **walk),
    ]  # fmt: skip


def ask(settings: Settings, place: Path) -> Iterator[Row]:
    """The rows of one measure; where theory cannot take the surrogate, a row ``unknown`` says why."""
    try:
        yield from _MEASURES[settings["about"]](settings, place)
    except ValueError as error:
        yield {"what": "unknown", "why": " ".join(str(error).split())}


def direction(settings: Settings, place: Path) -> Iterator[Row]:
    r"""The rows of ``alignment`` and one more, ``sign``: what decides the sign of the correlation.

    ``positive`` of ``tried`` points have a positive product of coarse gradient and gradient in w. ``slope``:
    the least slope on a grid of inputs. ``mean``: the least of \(E \mu'(tX)\), X standard normal, on a grid
    of t, and ``at`` that t: with |w*| = 1 the correlation is that mean at \(t = |w| \sin\theta\), times
    something that is never negative. ``ratio``: the largest of the descent inequality, and ``bound`` its
    largest share of the constant where one is known.
    """
    surrogate = fields.surrogate_of(settings["surrogate"])
    yield from fields.alignment(settings, place)
    _, point = fields.random_points(settings["seed"], settings["points"])
    product, ratio = (f(*point, surrogate) for f in (hidden.correlation, hidden.descent_ratio))
    even = torch.linspace(-_REACH, _REACH, _INPUTS, dtype=torch.float64)
    random = torch.Generator().manual_seed(settings["seed"])
    x = torch.cat([even, _REACH * (2 * torch.rand(_MORE, generator=random, dtype=torch.float64) - 1)])
    t = torch.logspace(-3, 2, 101, dtype=torch.float64)
    mean = slope_moments(surrogate, t, torch.full_like(t, math.pi / 2)).teacher * math.sqrt(2 * math.pi)
    least = int(mean.argmin())
    found = {"positive": int((product > 0).sum()), "slope": float(surrogate.slope(x).min())}
    found |= {"mean": float(mean[least]), "at": float(t[least]), "ratio": float(ratio.max())}
    known = surrogate.passes is not None and surrogate.passes[0] == 0
    if known:
        norms = (t.norm(dim=-1) for t in point[:2])
        found["bound"] = float((ratio / hidden.descent_constant(surrogate, *norms)).max())
    yield {"what": "sign", "tried": settings["points"], "bound": None, **found}


def rest(settings: Settings, place: Path) -> Iterator[Row]:
    """The coarse gradient at the spurious minimizer of one random teacher, and the ratio beside it."""
    problem = fields.with_spurious(settings["seed"], settings["number"])
    blocks, samples, names = settings["blocks"], settings["samples"], settings["surrogates"]
    z = fields.gaussian(settings, "data", blocks, samples, problem.m, problem.n)
    yield from fields.pushes(settings, problem, z, names)
    yield from fields.ratios_nearby(settings, problem, names)


_MEASURES: dict[str, Callable[[Settings, Path], Iterator[Row]]] = {
    "direction": direction, "agreement": fields.agreement, "rest": rest, "line": fields.along_a_line,
    "ends": descents.ends, "near": descents.near_the_spurious_minimizer,
}  # fmt: skip


def chapters(rows: Rows) -> list[Chapter]:
    """The chapter about the user's surrogate; none where none was named."""
    mine = {about: rows.get(f"own {about}", ()) for about in _MEASURES}
    if not mine["direction"]:
        return []
    said = (
        "Measured as the catalogue's surrogates are, at the same points and teachers. *Theorem*: follows "
        "from a formula of the paper or of `coarsegrad.theory`, evaluated here; *simulation*: seen in what "
        "was tried."
    )
    told = [*_bound(mine), *_vanishes(mine["rest"]), *_descended(mine["ends"]), *_beside(mine["near"])]
    listed = "\n".join(f"- {text}" for text in told)
    text = "\n\n".join(filter(None, (downhill(rows), said, listed)))
    return [Chapter("Your surrogate", text, _table(mine["line"]), _figures(mine))]


def downhill(rows: Rows) -> str:
    """Whether it points downhill, in a sentence with what it rests on; not knowing is an answer."""
    first = rows["own direction"][0]
    name, sign = f"`{first['surrogate']}`", _one(rows["own direction"], "sign")
    if sign is None:
        why = _one(rows["own direction"], "unknown")
        return f"It is **not known** whether {name} points downhill: {why['why'] if why else 'not measured'}."
    deviations = [worst("own agreement", what="coarse")(rows), worst("own rest", what="push")(rows)]
    agrees = max((found for found in deviations if found), key=lambda found: found.estimate, default=None)
    if agrees is not None and not agrees.estimate <= 1:
        return (
            f"It is **not known** whether {name} points downhill (simulation): samples of its coarse "
            f"gradient lie {agrees.estimate:.3g} times as far from the formula as chance allows. Either its "
            "slope at one input depends on more than that input, or its `breaks` are not where it jumps."
        )
    cosines = _one(rows["own direction"], "all") or {}
    seen = (
        f"At {sign['positive']:,} of {sign['tried']:,} random points (v, w) its expected coarse gradient has "
        "a positive product with the gradient in w of the population's loss (formulas, no sampling error); "
        f"smallest cosine {cosines['smallest']:.2g}, median {cosines['median']:.2g}. The product is "
        "`sin(theta) (v^T v*)^2 M(|w| sin(theta)) / ((2 pi)^1.5 |w|)`, `M(t)` the mean of the slope at "
        "`t X`, X standard normal"
    )
    grid = "on a grid of t from 0.001 to 100"
    if sign["mean"] < -_NOTHING:
        return (
            f"{name} **does not point downhill everywhere** (theorem, by example). {seen}; M is "
            f"{sign['mean']:.3g} at t = {sign['at']:.3g}."
        )
    looked = f"it was looked at on {_INPUTS + _MORE:,} inputs from {-_REACH:g} to {_REACH:g}"
    if sign["slope"] >= 0 and sign["mean"] >= 0 and sign["positive"]:
        left = sign["tried"] - sign["positive"]
        lost = f" At {left:,} points the product is too small for a float." if left else ""
        return (
            f"{name} **points downhill** (theorem, if its slope is nowhere negative: {looked}). {seen}; "
            f"and a slope that is nowhere negative has a positive mean.{lost}"
        )
    if sign["positive"] < sign["tried"] or sign["mean"] <= 0:
        return (
            f"{name} **points uphill nowhere that it was tried, but not downhill everywhere** (simulation). "
            f"{seen}; {grid}, M is at least {sign['mean']:.3g}."
        )
    return (
        f"{name} **points downhill wherever it was tried** (simulation). {seen}. The slope is negative "
        f"somewhere, down to {sign['slope']:.3g}, but {grid} M is at least {sign['mean']:.3g}."
    )


def _bound(mine: Mapping[str, Sequence[Row]]) -> list[str]:
    sign, nearby = _one(mine["direction"], "sign"), _those(mine["rest"], "nearby")
    if sign is None or not nearby:
        return []
    inequality = "the descent inequality `|Eg|^2 <= A (|df/dv|^2 + <Eg, df/dw>)`"
    if sign["bound"] is not None:
        return [
            f"**A bound is known** (theorem): {inequality} holds with the A of "
            "`theory.hidden.descent_constant`; at the random points its left side was at most "
            f"{sign['bound']:.2g} of the right."
        ]
    by = {d: _median([row["ratio"] for row in nearby if row["distance"] == d]) for d in _DISTANCES}
    ratios = ", ".join(f"{ratio:.3g} at {distance:g}" for distance, ratio in by.items())
    seen = (
        f"`|Eg|^2` over the bracket is at most {sign['ratio']:.3g} at the random points, and at these "
        f"distances from a spurious minimizer {ratios} (simulation; medians, infinite where the bracket is "
        "not positive)"
    )
    if _push(mine["rest"]) > _NOTHING:
        return [
            f"**No bound exists** (theorem): {inequality} has no A, because at the spurious minimizer the "
            f"bracket is 0 and Eg is not. {seen}."
        ]
    return [f"**Whether a bound exists is not known**: for {inequality} no A is proved. {seen}."]


def _vanishes(rows: Sequence[Row]) -> list[str]:
    found = _those(rows, "push")
    if not found:
        return []
    if _push(rows) <= _NOTHING:
        return [
            f"**It vanishes at the spurious minimizer** (theorem): by formula its size is at most "
            f"{_push(rows):.2g} at those of {len(found)} teachers. Descent can come to rest there."
        ]
    relative = _median([row["relative"] for row in found])
    sampled = _median([row["sample"] / row["formula"] for row in found])
    return [
        f"**It does not vanish at the spurious minimizer** (theorem): by formula its size is {relative:.3g} "
        f"in units of `|v*|^2`, median over {len(found)} teachers; sampled, {sampled:.3g} times that. It "
        "lies along w: |w| changes, and descent has no rest there."
    ]


def _descended(rows: Sequence[Row]) -> list[str]:
    mine = [row for row in rows if "starts" in row]
    if not mine:
        return []
    sums = {key: sum(row[key] for row in mine) for key in (*_ENDS, "starts", "rises_inside", "steps_inside")}
    ended = ", ".join(f"{sums[key]:,} {text}" for key, text in _ENDS.items() if sums[key])
    return [
        f"**From {sums['starts']:,} random starts** (simulation) {mine[0]['steps']:,} steps of descent "
        f"ended: {ended}. Inside the theorem's window the loss rose in {sums['rises_inside']:,} of "
        f"{sums['steps_inside']:,} steps."
    ]


_ENDS = {"global minimizer": "in a global minimizer", "spurious minimizer": "in a spurious one",
         "saddle": "in a saddle", "not critical": "nowhere critical", "undefined": "undefined"}  # fmt: skip


def _beside(rows: Sequence[Row]) -> list[str]:
    found = _those(rows, "teacher")
    if not found:
        return []
    starts, stayed, climbed = (sum(r[k] for r in found) for k in ("starts", "spurious minimizer", "climbed"))
    return [
        f"**From {starts:,} starts 0.01 beside a spurious minimizer** (simulation) {stayed:,} settled in "
        f"one; the loss climbed by more than 1 % on the way of {climbed:,}."
    ]


def _table(rows: Sequence[Row]) -> tuple[TableView, ...]:
    lines = _those(rows, "trial")
    groups = [
        [row for row in lines if row["samples"] == n] for n in dict.fromkeys(r["samples"] for r in lines)
    ]
    caption = "Lines along its negative coarse gradient on N samples: on how many the empirical loss falls."
    made = [
        {
            "samples": group[0]["samples"], "lines that fall": sum(row["falls"] for row in group),
            "of": len(group), "distance to the population's, median": _median([row["off"] for row in group]),
        }
        for group in groups
    ]  # fmt: skip
    return (TableView.of(made, caption=caption),) if made else ()


def _figures(mine: Mapping[str, Sequence[Row]]) -> dict[str, Figure]:
    name = mine["direction"][0]["surrogate"]
    bins, lines = _those(mine["direction"], "bin"), _those(mine["line"], "curve")
    found = {"own-cosine-by-angle": pictures.cosines({name: bins})} if bins else {}
    return found | ({"own-line": pictures.along(lines, name)} if lines else {})


def _those(rows: Sequence[Row], what: str) -> list[Row]:
    return [row for row in rows if row.get("what") == what]


def _one(rows: Sequence[Row], what: str) -> Row | None:
    return next(iter(_those(rows, what)), None)


def _push(rows: Sequence[Row]) -> float:
    return max((row["formula"] for row in _those(rows, "push")), default=math.nan)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else math.nan
