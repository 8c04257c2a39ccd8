"""What became of students with binary weights: how often, and for how long, they were at the teacher.

The teacher's pattern is the signs of w_star. A student is at it in every step in which the signs of its
latent weights are the same. Steps count from 0, the start, to T, the last iterate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

BINS = 40
TIE = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Recovery:
    """One entry a run. Whole numbers are int64; a run that was cut short is judged where it stopped."""

    v: Tensor
    """``[runs, m]``: where the runs ended."""
    w: Tensor
    """``[runs, n]``: where they ended, the latent weights."""
    wrong: Tensor
    """``[runs]``: signs of the last iterate that are not the teacher's."""
    ergodic_wrong: Tensor
    """``[runs]``: the same of the average of the binary iterates 0 ... T-1."""
    first: Tensor
    """``[runs]``: the first step at the teacher; -1 for never."""
    visits: Tensor
    """``[runs]``: how often the teacher was reached, a start at it counted."""
    at: Tensor
    """``[runs]``: how many of the iterates 0 ... T-1 were at it."""
    stays: Tensor
    """``[runs, 40]``: ended stays at the teacher: bin b counts those of 2^b to 2^(b+1) - 1 steps."""
    absences: Tensor
    """``[runs, 40]``: absences between two stays, likewise."""
    settled: Tensor
    """``[runs]``: the step from which the coarse gradient of the latents was exactly 0; -1 for never."""
    changes: Tensor
    """``[runs]``: steps at which a sign changed."""
    crossings: Tensor
    """``[runs]``: how often a latent entered or left the window of a clipped weight estimator."""
    gradients: Tensor
    """``[runs]``: how many were computed. Of ``direct`` one a step; else one a pattern, new or evicted."""
    evictions: Tensor
    """``[runs]``: patterns dropped from a full cache; where 0, ``gradients`` counts the distinct patterns."""
    close: Tensor
    """``[runs]``: latents and pre-activations within 1e-12 of 0, where rounding could choose the sign."""
    ran: Tensor
    """``[runs]``: steps made; fewer than ``steps`` where memory ended (``matrix_free``)."""
    signs: Tensor
    """``[recorded, runs, n]``, int8: the patterns at the recorded steps; 0 where the run had stopped."""
    recorded: tuple[int, ...]
    steps: int
    method: str
    """How it was computed."""
    why: str
    """Why so."""

    @property
    def last(self) -> Tensor:
        """``[runs]``: whether the last iterate is the teacher."""
        return self.wrong == 0

    @property
    def ergodic(self) -> Tensor:
        """``[runs]``: whether the signs of the average are the teacher's."""
        return self.ergodic_wrong == 0

    @property
    def hit(self) -> Tensor:
        """``[runs]``: whether the teacher was ever reached."""
        return self.first >= 0

    @property
    def occupancy(self) -> Tensor:
        """``[runs]``: the share of steps at the teacher, in [0, 1]."""
        return self.at.double() / self.ran

    @property
    def capped(self) -> Tensor:
        """``[runs]``: whether the run was cut short; then its outcome is not that of ``steps`` steps."""
        return self.ran < self.steps

    @property
    def hit_rate(self) -> Tensor:
        """``[runs]``: the share of changes that met a kept gradient, in [0, 1]; nan for no change."""
        return 1 - (self.gradients - 1).double() / self.changes

    def __repr__(self):
        shares = (f"{name} {getattr(self, name).double().mean():.3g}" for name in ("last", "ergodic", "hit"))
        return f"<Recovery by {self.method}: {len(self.w)} runs of {self.steps} steps; {', '.join(shares)}>"

    @classmethod
    def joined(cls, parts: Sequence["Recovery"]) -> "Recovery":
        """Runs computed apart, as one; they agree in steps, record and method."""
        values = {}
        for field in fields(cls):
            of_parts = [getattr(part, field.name) for part in parts]
            one = of_parts[0]
            values[field.name] = (
                torch.cat(of_parts, int(field.name == "signs")) if isinstance(one, Tensor) else one
            )
        return cls(**values)


class Books:
    """The books of runs side by side: ``see`` each iterate in order, ``note`` each step, then ``close``."""

    def __init__(self, target: Tensor, recorded: tuple[int, ...], steps: int):
        self.target, self.recorded, self.steps = target, recorded, steps
        runs = len(target)
        self.count = {name: target.new_zeros(runs, dtype=torch.int64) for name in (
            "first", "visits", "at", "settled", "changes", "crossings", "close", "since")}  # fmt: skip
        self.count["first"] -= 1
        self.count["settled"] -= 1
        self.stays, self.absences = (
            torch.zeros(runs, BINS, dtype=torch.int64, device=target.device) for _ in range(2)
        )
        self.total = torch.zeros_like(target, dtype=torch.int64)
        self.signs: list[Tensor] = []
        self.before: Tensor | None = None

    def see(self, step: int, positive: Tensor, close: Tensor) -> None:
        """The iterate's signs ``[runs, n]``, and how many numbers behind it were close to 0 ``[runs]``."""
        count, here = self.count, (positive == self.target).all(-1)
        was = torch.zeros_like(here) if self.before is None else (self.before == self.target).all(-1)
        if self.before is not None:
            count["changes"] += (positive != self.before).any(-1)
        entered, left = here & ~was, was & ~here
        again = entered & (count["visits"] > 0)
        length = step - count["since"]
        for bins, which in ((self.stays, left), (self.absences, again)):
            bins[which, length[which].double().log2().floor().long()] += 1
        count["since"] = torch.where(entered | left, step, count["since"])
        count["first"] = torch.where(entered & (count["first"] < 0), step, count["first"])
        count["visits"] += entered
        count["close"] += close
        if step < self.steps:
            count["at"] += here
            self.total += torch.where(positive, 1, -1)
        if step in self.recorded:
            self.signs.append(torch.where(positive, 1, -1).to(torch.int8))
        self.before = positive

    def note(self, step: int, still: Tensor, crossings: Tensor) -> None:
        """Whether the gradient of this step was 0 ``[runs]``, and latents that crossed a window's end."""
        settled = torch.where(self.count["settled"] < 0, step, self.count["settled"])
        self.count["settled"] = torch.where(still, settled, -1)
        self.count["crossings"] += crossings

    def close(self, v: Tensor, w: Tensor, why: str) -> Recovery:
        """The outcome."""
        count = self.count
        same = torch.zeros_like(count["at"])
        signs = torch.stack(self.signs) if self.signs else torch.zeros(0, *w.shape, dtype=torch.int8)
        return Recovery(
            v=v, w=w, signs=signs, recorded=self.recorded, steps=self.steps, method="direct", why=why,
            wrong=((w < 0) == self.target).sum(-1), ergodic_wrong=((self.total >= 0) != self.target).sum(-1),
            stays=self.stays, absences=self.absences, gradients=same + self.steps, evictions=same,
            ran=same + self.steps,
            **{name: count[name] for name in (
                "first", "visits", "at", "settled", "changes", "crossings", "close")},
        )  # fmt: skip
