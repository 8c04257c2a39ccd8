"""Lion: every coordinate moves by the learning rate, in the direction of a sign."""

from collections.abc import Iterable
from typing import Any

import torch

from coarsegrad.optim.by_mean import ByMean


class Lion(ByMean):
    r"""\(w \leftarrow w - \eta\,(\mathrm{sign}(\beta_1 m + (1-\beta_1) g) + \lambda w)\).

    Then \(m \leftarrow \beta_2 m + (1-\beta_2) g\), m from 0. Chen et al. 2023, "Symbolic Discovery of
    Optimization Algorithms", arXiv:2302.06675.

    Args:
        params: parameters or groups of them, as for every torch optimizer.
        lr: \(\eta\), the step of every coordinate; the authors take a third to a tenth of AdamW's.
        betas: \(\beta_1\) of the step, \(\beta_2\) of what is remembered, both in [0, 1).
        weight_decay: \(\lambda\), decoupled; the authors take three to ten times AdamW's.

    The step does not change when all gradients of a parameter are multiplied by one positive number, but for
    rounding: with a power of 2 not at all.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    >>> optimizer = Lion([w], lr=0.25)
    >>> w.grad = torch.tensor([0.001, -100.0])
    >>> optimizer.step()
    >>> w.data
    tensor([ 0.7500, -0.7500])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]):
        """As torch's; a group's own values are checked like those for all."""
        told = {**self.defaults, **param_group}
        if not told["lr"] >= 0:
            raise ValueError(f"Lion(lr=...) cannot be negative, got {told['lr']}")
        if len(told["betas"]) != 2 or not all(0 <= beta < 1 for beta in told["betas"]):
            raise ValueError(f"Lion(betas=...) are two numbers in [0, 1), got {told['betas']}")
        if not told["weight_decay"] >= 0:
            raise ValueError(f"Lion(weight_decay=...) cannot be negative, got {told['weight_decay']}")
        super().add_param_group(param_group)

    def move(self, w, grad, m, group):
        """Decay, then a sign."""
        (step, memory), lr = group["betas"], group["lr"]
        w.mul_(1 - lr * group["weight_decay"])
        w.sub_(torch.sign(grad.lerp(m, step)), alpha=lr)
        m.lerp_(grad, 1 - memory)
