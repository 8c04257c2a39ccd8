"""One run's latents on their way: from sign pattern to sign pattern, each pattern's gradient computed once.

With the full batch and fixed data the coarse gradient depends on the signs alone. So a ``Source`` is asked
for it only where signs changed to a pattern that is not kept; between, latents advance by plain additions,
which are those of the direct way.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coarsegrad.sim import kernels, patterns
from coarsegrad.sim.outcome import BINS, Recovery


class Source(Protocol):
    """Where a run's gradients come from."""

    @property
    def close(self) -> int:
        """Pre-activations within 1e-12 of 0 that were met."""
        ...

    @property
    def compiled(self) -> tuple[Any, ...] | None:
        """What ``kernels.alone`` needs of it; None where ``value`` is to be asked."""
        ...

    def value(self, negative: np.ndarray) -> np.ndarray | None:
        """What is kept for a sign pattern ``[n]``: the gradient, or v's tensors; None: memory has ended."""
        ...


@dataclass(frozen=True)
class Walk:
    """What a run's way depends on beside its data."""

    steps: int
    step_size: float
    recorded: tuple[int, ...]
    window: tuple[float, float]
    """Where a clipped weight estimator lets gradients pass."""
    trained: bool
    """Whether v steps too; then a source yields tensors."""
    slots: int
    """Patterns kept at a time."""
    width: int
    """Numbers kept for each."""

    def follow(
        self, source: Source, v: Tensor, w: Tensor, target: Tensor, *, method: str, why: str
    ) -> Recovery:
        """One run from (v ``[m]``, w ``[n]``) to its end; ``target``: where w_star is negative, ``[n]``."""
        v, u, n = v.clone(), w.clone(), len(w)
        counts = np.zeros(len(patterns.COUNTS), np.int64)
        negative, total, since = np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64)
        stays, absences = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
        recorded, signs = np.array(self.recorded, np.int64), np.zeros((len(self.recorded), n), np.int8)
        kept, used = np.empty((self.slots, -(-n // 64)), np.uint64), np.zeros(self.slots, np.int64)
        values, gradients = np.empty((self.slots, self.width), u.numpy().dtype), 0
        way = (
            v.numpy(), u.numpy(), negative, target.numpy(), *self.window, self.trained, self.step_size,
            self.steps, counts, total, since, stays, absences, recorded, signs, kept, used, values,
        )  # fmt: skip
        if source.compiled is not None:
            gradients = kernels.alone(way, *source.compiled)
        else:
            while patterns.walk(*way) == patterns.MISS:
                value = source.value(negative)
                if value is None:
                    patterns.finish(negative, counts, total, since, recorded, signs)
                    break
                patterns.insert(negative, value, kept, used, values, counts)
                gradients += 1
        count = dict(zip(patterns.COUNTS, counts.tolist(), strict=True))
        one = {
            "wrong": count["wrong"], "ergodic_wrong": int(((total < 0) != target.numpy()).sum()),
            "gradients": gradients, "close": count["close"] + source.close, "ran": count["step"],
            **{name: count[name] for name in (
                "first", "visits", "at", "settled", "changes", "crossings", "evictions")},
        }  # fmt: skip
        return Recovery(
            v=v[None], w=u[None], signs=torch.from_numpy(signs)[:, None], recorded=self.recorded,
            stays=torch.from_numpy(stays)[None], absences=torch.from_numpy(absences)[None],
            steps=self.steps, method=method, why=why,
            **{name: torch.tensor([number]) for name, number in one.items()},
        )  # fmt: skip
