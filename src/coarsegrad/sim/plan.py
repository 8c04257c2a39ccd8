"""Which way a recovery is computed, why, and in how much memory: known before it starts."""

import math
from dataclasses import dataclass, replace
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
    record: int = 0,
) -> Plan:
    """The way that ``method`` names, or with ``auto`` the fastest that is exact and fits ``memory`` bytes.

    The arguments are those of ``recover``, which makes this plan; ``record``: how many steps it records.

    Raises ``ValueError``, with what would fit, for a problem that does not, or a method that cannot.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; known: {', '.join(METHODS)}")
    if not isinstance(memory, int | float) or not (memory > 0 and math.isfinite(memory)):
        raise ValueError(f"memory=... is a number of bytes, got {memory!r}")
    weight = weight or Identity()
    against = {name: _against(name, problem, surrogate, weight, batch) for name in METHODS[1:]}
    ask = _Asked(problem, surrogate, steps, batch, record)
    if method != "auto":
        if against[method]:
            raise ValueError(f'method="{method}" {against[method]}; use method="auto"')
        return _fitted(ask.sized(method, "asked for", memory), ask, memory)
    events, free = (ask.sized(name, "", memory) for name in ("events", "matrix_free"))
    if against["events"]:
        found = ask.sized("direct", f"events {against['events']}", memory)
    elif against["matrix_free"]:
        found = replace(events, why=f"the fastest that applies: matrix_free {against['matrix_free']}")
    elif events.size > memory:
        found = replace(free, why=f"the data do not fit; room for {free.most} directions")
    elif free.most > steps and _cheaper(steps + 1, problem.n):
        why = f"less work than drawing the data, and {free.most} directions cover every step"
        found = replace(free, why=why)
    else:
        found = replace(events, why="the data fit, and to draw and keep them is less work than matrix_free")
    return _fitted(found, ask, memory)


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


def width(m: int, n: int, *, both: bool) -> int:
    """How many numbers are kept for a pattern."""
    return m * m * n + m * n + m * m + m if both else n


def _cheaper(patterns: int, n: int) -> bool:
    """Whether ``patterns`` images cost less than n columns, in nanoseconds a row as measured on one core."""
    return 1.3 * patterns**2 + 25 * patterns < (2 + 0.6 * patterns) * n


@dataclass(frozen=True)
class _Asked:
    """What a plan's bytes depend on."""

    problem: Problem
    surrogate: Surrogate
    steps: int
    batch: int | None
    record: int

    def sized(self, method: str, why: str, memory: float) -> Plan:
        """The plan of a method, which may be larger than the memory."""
        problem, steps = self.problem, self.steps
        m, n, item, samples = problem.m, problem.n, problem.v_star.element_size(), problem.samples or 0
        fixed, each = self.bytes(method)
        if method == "direct":
            return Plan(method, why, fixed + samples * each)
        one = width(m, n, both=problem.trained == "both") * item + 8 * (-(-n // 64)) + 8
        slots = max(WAYS, 2 ** int(math.log2(min(_PATTERNS, 2 * (steps + 1), max(1, memory / 8 / one)))))
        size = fixed + slots * one + samples * each
        if method == "events":
            return Plan(method, why, size, slots=slots)
        one = 2 * (samples * m * item + 8 * n)
        most = min(steps + 2, int(max(0, memory - size) // one))
        return Plan(method, why, size + max(most, min(_FEW, steps + 2)) * one, slots=slots, most=most)

    def bytes(self, method: str) -> tuple[int, int]:
        """(Of a run, of each of its samples) without the patterns or directions that it keeps."""
        problem, drawn = self.problem, self.batch or 0
        m, n, item = problem.m, problem.n, problem.v_star.element_size()
        rows, parts = {"direct": (n + 12, 0), "events": (n + 8, n), "matrix_free": (8, 0)}[method]
        if method == "events" and problem.batch_norm:
            rows, parts = n + 12, 0
        elif method != "direct" and self.surrogate.passes is None:
            rows, parts = rows + 6, 0  # its pullback works on whole arrays
        return 64 * n + 4096 + 2 * self.record * n + drawn * m * n * item, item * (m * rows + parts + 4)

    def enough(self, method: str, memory: float) -> int:
        """A memory that holds this plan, although with more of it more patterns are kept."""
        need = self.sized(method, "", memory).size
        while (size := self.sized(method, "", need).size) > need:
            need = size
        return need


def _fitted(found: Plan, ask: _Asked, memory: float) -> Plan:
    if found.size <= memory:
        return found
    problem, each = ask.problem, ask.bytes(found.method)[1]
    if found.method == "matrix_free":
        each += min(_FEW, ask.steps + 2) * 2 * problem.m * problem.v_star.element_size()
    most = int((memory - (found.size - (problem.samples or 0) * each)) // each)
    less = f"; memory={memory:.0f} holds {max(most, 0)}"
    mend = f"say memory={ask.enough(found.method, memory)}" + (
        f" or samples={most} at most" if most > 0 else ""
    )
    raise ValueError(
        f'{problem.samples} samples need {found.size / 2**30:.3g} GiB a run with method="{found.method}" '
        f"({found.why}){less}; {mend}"
    )
