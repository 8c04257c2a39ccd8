"""The step that Bop, Lion and Muon share: each parameter moves by its gradient and one running mean ``m``."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class ByMean(Optimizer):
    """A torch optimizer that remembers one tensor a parameter: give it a ``move``."""

    def move(self, w: Tensor, grad: Tensor, m: Tensor, group: dict[str, Any]) -> None:
        """Update ``w`` and ``m`` in place; ``m`` begins at 0, all three have one shape."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None):
        """One step; returns the closure's loss, or None."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["m"] = torch.zeros_like(w)
                self.move(w, w.grad, state["m"], group)
        return loss
