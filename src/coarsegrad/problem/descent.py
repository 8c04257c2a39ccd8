r"""Descent along a field, and what is seen on the way: the one loop of ``theory`` and ``sim``.

It knows neither formula nor sample: a ``Field`` says loss and directions, the loop steps against them, a
``Watch`` keeps the books. So the population's descent and its finite-sample twin end in the same ``Descent``.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from coarsegrad.problem.teacher import Problem

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(v ``[runs, m]``, w ``[runs, n]``) -> loss ``[runs]``, and what is stepped against in v and in w."""


@dataclass(frozen=True)
class Window:
    r"""Where the descent theorem speaks: \(|w| \ge\) ``norm`` and theta in [``angle``, pi - ``angle``].

    Near w = 0 a fixed step turns w by any angle, near theta = 0 and pi the loss has a kink.
    """

    norm: float = 0.1
    angle: float = 0.03

    def __post_init__(self):
        if not (self.norm >= 0 and 0 <= self.angle < math.pi / 2):
            raise ValueError(f"Window needs norm >= 0 and 0 <= angle < pi/2, got {self.norm}, {self.angle}")


@dataclass(frozen=True, eq=False)
class Descent:
    """What ``runs`` descents did. ``angle``: of w with the teacher's; ``norm``: |w|, of the latent w.

    A step is inside where both its ends lie in the window; it rises where the loss grows by more than
    1e-12 |v_star|^2, which is above rounding.
    """

    v: Tensor
    """``[runs, m]``: where the runs ended."""
    w: Tensor
    """``[runs, n]``: where the runs ended; for binary weights the latent ones."""
    recorded: tuple[int, ...]
    """The steps at which the traces were taken; 0 is the start."""
    loss: Tensor
    """``[recorded, runs]``, as the next two."""
    angle: Tensor
    norm: Tensor
    steps_inside: Tensor
    """``[runs]``, whole numbers, as the next two."""
    rises_inside: Tensor
    rises_outside: Tensor
    largest_rise_inside: Tensor
    """``[runs]``: of the loss in one step; 0 where none rose."""
    largest_rise_outside: Tensor
    smallest_norm: Tensor
    """``[runs]``: of |w| over all steps."""
    steps: int
    method: str
    """How it was computed."""

    @classmethod
    def joined(cls, parts: Sequence["Descent"]) -> "Descent":
        """Runs computed apart, as one; they agree in steps and record."""
        values = {}
        for field in fields(cls):
            of_parts = [getattr(part, field.name) for part in parts]
            if isinstance(of_parts[0], Tensor):
                axis = 1 if field.name in ("loss", "angle", "norm") else 0
                values[field.name] = torch.cat(of_parts, axis)
            else:
                values[field.name] = of_parts[0]
        return cls(**values)


class Watch:
    """Keeps the books of a descent: ``see`` every step once, in order, then ``close``."""

    def __init__(self, problem: Problem, steps: int, record: Iterable[int] | None, window: Window | None):
        self.steps, self.recorded = steps, checked_record(steps, record)
        self._asked = frozenset(self.recorded)
        self._window = window or Window()
        self._slack = 1e-12 * problem.v_star.square().sum(-1)
        self._traces: tuple[list[Tensor], ...] = ([], [], [])
        self._before: tuple[Tensor, Tensor] | None = None

    def see(self, step: int, loss: Tensor, angle: Tensor, norm: Tensor) -> None:
        """Note a step's loss, angle and norm, ``[runs]`` each; they are kept, so do not overwrite them."""
        window = self._window
        inside = (norm >= window.norm).logical_and_((angle - math.pi / 2).abs() <= math.pi / 2 - window.angle)
        if self._before is None:
            zero, none = torch.zeros_like(loss), torch.zeros_like(loss, dtype=torch.int64)
            self._counts, self._largest = (none, none.clone(), none.clone()), (zero, zero.clone())
            self._smallest = norm.clone()
        else:
            rise, both = loss - self._before[0], inside & self._before[1]
            rises = rise > self._slack
            self._counts[0].add_(both)
            if rises.any():
                for k, where in enumerate((rises & both, rises & ~both)):
                    self._counts[k + 1].add_(where)
                    self._largest[k].copy_(torch.maximum(self._largest[k], torch.where(where, rise, 0.0)))
            torch.minimum(self._smallest, norm, out=self._smallest)
        self._before = loss, inside
        if step in self._asked:
            for trace, value in zip(self._traces, (loss, angle, norm), strict=True):
                trace.append(value)

    def close(self, v: Tensor, w: Tensor, method: str) -> Descent:
        """The descent that was watched, with its end point."""
        loss, angle, norm = (
            torch.stack(trace) if trace else v.new_empty(0, len(v)) for trace in self._traces
        )
        return Descent(
            v=v, w=w, recorded=self.recorded, loss=loss, angle=angle, norm=norm,
            steps_inside=self._counts[0], rises_inside=self._counts[1], rises_outside=self._counts[2],
            largest_rise_inside=self._largest[0], largest_rise_outside=self._largest[1],
            smallest_norm=self._smallest, steps=self.steps, method=method,
        )  # fmt: skip


def checked_start(problem: Problem, start: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The start in the problem's dtype; raises ``ValueError`` unless it is (``[runs, m]``, ``[runs, n]``)."""
    shapes = [tuple(t.shape) if isinstance(t, Tensor) else None for t in start]
    runs = len(start[0]) if shapes[0] else 0
    if shapes != [(runs, problem.m), (runs, problem.n)]:
        raise ValueError(
            f"start=(v, w) needs shapes [runs, {problem.m}] and [runs, {problem.n}], got {shapes}; "
            "problem.starts(runs, seed) draws such"
        )
    problem.check_runs(runs)
    if not all(torch.isfinite(t).all() for t in start):
        raise ValueError("start=(v, w) must be finite")
    return start[0].to(problem.v_star), start[1].to(problem.w_star)


def checked_record(steps: int, record: Iterable[int] | None) -> tuple[int, ...]:
    """The steps to record, in order, by default first and last; ``ValueError`` unless from 0 to ``steps``."""
    if type(steps) is not int or steps < 0:
        raise ValueError(f"steps=... is a whole number that is not negative, got {steps!r}")
    recorded = tuple(sorted({0, steps} if record is None else set(record)))
    wrong = [t for t in recorded if not (type(t) is int and 0 <= t <= steps)]
    if wrong:
        raise ValueError(f"record=... names steps from 0 to {steps}, got {wrong[0]!r}")
    return recorded


def checked_step(step_size: float) -> float:
    """The step size; ``ValueError`` unless it is positive and finite."""
    if not (step_size > 0 and math.isfinite(step_size)):
        raise ValueError(f"step_size=... must be positive and finite, got {step_size}")
    return float(step_size)


def descend(
    problem: Problem,
    field: Field,
    start: tuple[Tensor, Tensor],
    *,
    steps: int,
    step_size: float,
    record: Iterable[int] | None = None,
    window: Window | None = None,
    method: str,
) -> Descent:
    """Algorithm 1 of Yin et al. 2019: v and w step together, both from the field at the old point.

    Binary weights show the field their signs and move their latents (Jeong et al. 2025).
    """
    v, w = checked_start(problem, start)
    step_size, watch = checked_step(step_size), Watch(problem, steps, record, window)
    for step in range(steps + 1):
        shown = problem.shown(w)
        loss, dv, dw = field(v, shown)
        watch.see(step, loss, _angle(shown, problem.w_star), torch.linalg.vector_norm(w, dim=-1))
        if step < steps:
            v, w = (v - step_size * dv if problem.trained == "both" else v), w - step_size * dw
    return watch.close(v, w, method)


def _angle(w: Tensor, w_star: Tensor) -> Tensor:
    """Of w with a unit vector, ``[runs, n]`` -> ``[runs]``; full digits near 0 and pi; 0 for w = 0."""
    along = (w * w_star).sum(-1, keepdim=True)
    return torch.atan2(torch.linalg.vector_norm(w - along * w_star, dim=-1), along.squeeze(-1))
