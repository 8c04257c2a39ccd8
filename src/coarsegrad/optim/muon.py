"""Muon: the momentum of a weight matrix made orthogonal, so that every direction moves alike.

torch has a ``Muon`` from 2.9 on, for parameters of two dimensions alone; this one takes convolutions too.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from coarsegrad.optim.by_mean import ByMean


class Muon(ByMean):
    r"""\(W \leftarrow (1 - \eta\lambda) W - 0.2\,\eta\sqrt{\max(r, c)}\;O\), O the momentum made orthogonal.

    \(M \leftarrow \mu M + (1-\mu) G\), then O from \(\mu M + (1-\mu) G\) (Nesterov). Jordan et al. 2024,
    kellerjordan.github.io/posts/muon; the factor, with which AdamW's rates fit, is of Liu et al. 2025,
    arXiv:2502.16982, and torch's ``adjust_lr_fn="match_rms_adamw"``.

    Args:
        params: weights of hidden layers, two dimensions or more; of a convolution the matrix is
            ``[out, in * kernel]``, r x c. Its authors leave first and last layers, embeddings, biases and
            gains to AdamW (`Together` joins the two).
        lr: \(\eta\); the root mean square of a step's entries is about 0.2 of it.
        momentum: \(\mu\) in [0, 1).
        weight_decay: \(\lambda\), decoupled.

    The step does not change when all gradients of a parameter are multiplied by one positive number, but for
    rounding and for matrices of a Frobenius norm below 1e-7, whose step shrinks with them.
    What is multiplied entry by entry it mixes, unlike Adam and Lion.

    >>> w = torch.nn.Parameter(torch.zeros(2, 3, 1, 1))
    >>> optimizer = Muon([w], lr=1.0)
    >>> w.grad = torch.tensor([[3.0, 0, 0], [0, 0.5, 0]]).reshape(2, 3, 1, 1)
    >>> optimizer.step()
    >>> bool(0.2 < -w[0, 0] < 0.42) and bool(0.2 < -w[1, 1] < 0.42)
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]):
        """As torch's; every parameter has two dimensions or more, and a group's own values are checked."""
        told = {**self.defaults, **param_group}
        if not told["lr"] >= 0:
            raise ValueError(f"Muon(lr=...) cannot be negative, got {told['lr']}")
        if not 0 <= told["momentum"] < 1:
            raise ValueError(f"Muon(momentum=...) must be in [0, 1), got {told['momentum']}")
        if not told["weight_decay"] >= 0:
            raise ValueError(f"Muon(weight_decay=...) cannot be negative, got {told['weight_decay']}")
        super().add_param_group(param_group)
        for w in self.param_groups[-1]["params"]:
            if w.dim() < 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon takes weights of two dimensions or more, got shape {tuple(w.shape)}: leave "
                    "biases, gains and scales to AdamW, joined by Together([Muon(...), AdamW(...)])"
                )

    def move(self, w, grad, m, group):
        """Decay, then the momentum made orthogonal."""
        m.lerp_(grad, 1 - group["momentum"])
        matrix = grad.lerp(m, group["momentum"]).flatten(1)
        rate = 0.2 * group["lr"] * math.sqrt(max(matrix.shape))
        w.mul_(1 - group["lr"] * group["weight_decay"])
        w.sub_(orthogonal(matrix).reshape(w.shape), alpha=rate)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U V^T of a matrix U S V^T, ``[r, c]`` -> ``[r, c]`` in bfloat16; singular values in 0.7 to 1.2.

    The quintic Newton-Schulz iteration of Jordan et al. 2024: fast, not convergent. Small singular values,
    below a thousandth of the Frobenius norm, stay smaller; a matrix of zeros stays one.

    >>> torch.linalg.svdvals(orthogonal(torch.diag(torch.tensor([5.0, 0.2]))).float()).min() > 0.6
    tensor(True)
    """
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return x.T if tall else x
