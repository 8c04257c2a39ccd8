"""Ergodic averages: an iterate that keeps moving answers best with the level it spent its time at.

For binary weights this is a majority vote over the steps watched. Long, Yin, Xin 2020, arXiv:2012.05529:
iterates need not converge, and still visit the optimum again and again.
"""

from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Ergodic:
    """Counts the levels of quantized iterates, and answers with the nearest level to their mean.

    Call ``update()`` after each optimizer step to watch. Sums are whole numbers, so the vote is exact; a tie
    goes to the upper level. Means are of level indices, whatever the spacing of the levels and however the
    scale moved; values come out at the quantizer's present scale.

    Args:
        pairs: ``(parameter, quantizer)``, as for ``Latent``.

    >>> from types import SimpleNamespace
    >>> binary = SimpleNamespace(codes=lambda x: (x >= 0).long(), dequantize=lambda codes: 2.0 * codes - 1)
    >>> w = torch.nn.Parameter(torch.tensor([0.1, 0.1]))
    >>> votes = Ergodic([(w, binary)])
    >>> for iterate in ([0.2, -0.1], [-0.3, -0.2], [0.1, 0.4]):
    ...     _ = w.data.copy_(torch.tensor(iterate))
    ...     votes.update()
    >>> votes.average(w)
    tensor([ 1., -1.])
    """

    def __init__(self, pairs: Iterable[tuple[Tensor, Any]]):
        self.pairs = list(pairs)
        self.reset()

    def reset(self):
        """Forgets all updates: to leave out a first stretch of training."""
        self.updates = 0
        self._sums = [torch.zeros_like(parameter, dtype=torch.int64) for parameter, _ in self.pairs]

    @torch.no_grad()
    def update(self):
        """Counts the present levels."""
        for total, (parameter, quantizer) in zip(self._sums, self.pairs, strict=True):
            total += quantizer.codes(parameter.detach())
        self.updates += 1

    @torch.no_grad()
    def average(self, parameter: Tensor) -> Tensor:
        """The voted weights, of the parameter's shape and dtype; a ValueError before the first update."""
        for total, (held, quantizer) in zip(self._sums, self.pairs, strict=True):
            if held is parameter:
                return self._vote(total, parameter, quantizer)
        raise KeyError(f"no pair holds this parameter of shape {tuple(parameter.shape)}")

    @contextmanager
    def swap(self):
        """Inside, parameters hold the voted weights; the latents are back at exit, also after an error."""
        voted = [
            self._vote(total, parameter, quantizer)
            for total, (parameter, quantizer) in zip(self._sums, self.pairs, strict=True)
        ]
        latents = [parameter.detach().clone() for parameter, _ in self.pairs]
        try:
            self._put(voted)
            yield
        finally:
            self._put(latents)

    def state_dict(self) -> dict[str, Any]:
        """The number of updates and the sums of codes, in the order of the pairs."""
        return {"updates": self.updates, "sums": [total.clone() for total in self._sums]}

    def load_state_dict(self, state_dict: dict[str, Any]):
        """Continues from a ``state_dict``: of the same shapes, or a ValueError and no change."""
        saved = [tuple(total.shape) for total in state_dict["sums"]]
        here = [tuple(total.shape) for total in self._sums]
        if saved != here:
            raise ValueError(f"saved for parameters of shapes {saved}; these are {here}")
        self.updates = state_dict["updates"]
        for total, other in zip(self._sums, state_dict["sums"], strict=True):
            total.copy_(other)

    def _vote(self, total: Tensor, parameter: Tensor, quantizer: Any) -> Tensor:
        if not self.updates:
            raise ValueError("no votes yet: call update() after each step to watch")
        codes = (2 * total + self.updates) // (2 * self.updates)
        return quantizer.dequantize(codes).to(parameter.dtype)

    @torch.no_grad()
    def _put(self, values: list[Tensor]):
        for value, (parameter, _) in zip(values, self.pairs, strict=True):
            parameter.copy_(value)
