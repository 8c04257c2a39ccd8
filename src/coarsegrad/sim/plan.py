"""Which way a recovery is computed, why, and in how much memory: known before it starts."""

import math
from dataclasses import dataclass
from importlib.util import find_spec

from coarsegrad.core.surrogate import Stretched, Surrogate
from coarsegrad.core.surrogates import Identity
from coarsegrad.problem import Problem
from coarsegrad.problem.laws import STANDARD

METHODS = ("auto", "direct", "events", "matrix_free")
MEMORY = 3 * 2**30
_PATTERNS = 2**16  # kept at a time at most
WAYS = 8  # places that a pattern may be kept in
_FEW = 16  # directions that the way without data should at least have room for


@dataclass(frozen=True)
class Plan:
    """``size``: bytes a run holds. ``slots``: patterns kept. ``most``: directions of ``matrix_free``."""

    method: str
    why: str
    size: int
    slots: int = WAYS
    most: int = 0


def plan(
    problem: Problem,
    surrogate: Surrogate,
    *,
    steps: int,
    weight: Surrogate | None = None,
    batch: int | None = None,
    method: str = "auto",
    memory: float = MEMORY,
) -> Plan:
    """The way that ``method`` names, or with ``auto`` the fastest that is exact and fits ``memory`` bytes.

    The arguments are those of ``recover``, which makes this plan.

    Raises ``ValueError``, with what would fit, for a problem that does not, or a method that cannot.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; known: {', '.join(METHODS)}")
    if not (memory > 0 and math.isfinite(memory)):
        raise ValueError(f"memory=... is a number of bytes, got {memory}")
    weight = weight or Identity()
    against = {name: _against(name, problem, surrogate, weight, batch) for name in METHODS[1:]}
    if method != "auto":
        if against[method]:
            raise ValueError(f'method="{method}" {against[method]}; use method="auto"')
        return _fitted(_sized(method, "asked for", problem, steps, memory), problem, steps, memory)
    events, free = (_sized(name, "", problem, steps, memory) for name in ("events", "matrix_free"))
    if against["events"]:
        found = _sized("direct", f"events {against['events']}", problem, steps, memory)
    elif against["matrix_free"]:
        found = _with(events, f"the fastest that applies: matrix_free {against['matrix_free']}")
    elif events.size > memory:
        found = _with(free, f"the data do not fit; room for {free.most} directions")
    elif free.most > steps and _cheaper(steps + 1, problem.n):
        found = _with(free, f"less work than drawing the data, and {free.most} directions cover every step")
    else:
        found = _with(events, "the data fit, and to draw and keep them is less work than matrix_free")
    return _fitted(found, problem, steps, memory)


def _against(
    method: str, problem: Problem, surrogate: Surrogate, weight: Surrogate, batch: int | None
) -> str:
    """Why a method cannot; empty where it can."""
    if method == "direct":
        return ""
    if find_spec("numba") is None:
        return "needs Numba: pip install 'coarsegrad[fast]'"
    if batch is not None:
        return "is for the full batch: with mini-batches every step has a gradient of its own"
    if problem.activation is not None:
        return "is for the threshold, not for another activation"
    if problem.v_star.device.type != "cpu":
        return "runs on a CPU"
    if weight.passes is None:
        return "needs a weight estimator with slope 1 in a window and 0 outside (passes)"
    if problem.trained == "both" and (method == "matrix_free" or not _sloped(surrogate)):
        return "is for a fixed v" if method == "matrix_free" else "needs a pullback that is linear in v"
    if problem.batch_norm and (method == "matrix_free" or problem.trained == "both"):
        return "has no batch norm" if method == "matrix_free" else "is for a fixed v with batch norm"
    if method == "matrix_free" and problem.inputs != STANDARD:
        return "is for standard normal inputs"
    return ""


def _sloped(surrogate: Surrogate) -> bool:
    """Whether what arrives is upstream times slope, by construction."""
    if isinstance(surrogate, Stretched):
        return _sloped(surrogate.inner)
    return surrogate.passes is not None or type(surrogate).pullback is Surrogate.pullback


def _cheaper(patterns: int, n: int) -> bool:
    """Whether ``patterns`` images cost less than n columns, in nanoseconds a row as measured on one core."""
    return 1.3 * patterns**2 + 25 * patterns < (2 + 0.6 * patterns) * n


def _sized(method: str, why: str, problem: Problem, steps: int, memory: float) -> Plan:
    m, n, item = problem.m, problem.n, problem.v_star.element_size()
    samples = problem.samples or 0
    fixed, each = _bytes(method, problem)
    if method == "direct":
        return Plan(method, why, fixed + samples * each)
    width = m * m * n + m * n + m * m + m if problem.trained == "both" else n
    one = width * item + 8 * (-(-n // 64)) + 8
    slots = max(WAYS, 2 ** int(math.log2(min(_PATTERNS, 2 * (steps + 1), max(1, memory / 8 / one)))))
    size = fixed + slots * one + samples * each
    if method == "events":
        return Plan(method, why, size, slots=slots)
    one = 2 * (samples * m * item + 8 * n)
    most = min(steps + 2, int(max(0, memory - size) // one))
    return Plan(method, why, size + max(most, min(_FEW, steps + 2)) * one, slots=slots, most=most)


def _bytes(method: str, problem: Problem) -> tuple[int, int]:
    """(Of a run, of each of its samples) without the patterns or directions that it keeps."""
    m, n, item = problem.m, problem.n, problem.v_star.element_size()
    rows, parts = {"direct": (n + 12, 0), "events": (n + 8, n), "matrix_free": (8, 0)}[method]
    if method == "events" and problem.batch_norm:
        rows, parts = n + 12, 0
    return 64 * n + 4096, item * (m * rows + parts + 4)


def _fitted(found: Plan, problem: Problem, steps: int, memory: float) -> Plan:
    if found.size <= memory:
        return found
    each = _bytes(found.method, problem)[1]
    if found.method == "matrix_free":
        each += min(_FEW, steps + 2) * 2 * problem.m * problem.v_star.element_size()
    fixed = found.size - (problem.samples or 0) * each
    most = max(0, int((memory - fixed) // each))
    raise ValueError(
        f'{problem.samples} samples need {found.size / 2**30:.3g} GiB a run with method="{found.method}" '
        f"({found.why}); memory={memory:.0f} holds {most}; say memory={found.size} or samples={most} at most"
    )


def _with(found: Plan, why: str) -> Plan:
    return Plan(found.method, why, found.size, found.slots, found.most)
