"""Bop: binary weights without latents, flipped when a running mean of their gradient insists.

``Together`` is several optimizers used as one: Bop for the binary weights, another for the rest.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from coarsegrad.optim.by_mean import ByMean
from coarsegrad.optim.rules import level_count


class Bop(ByMean):
    r"""Flips a binary weight iff its running mean gradient m exceeds a threshold and has the weight's sign.

    \(m \leftarrow (1 - \gamma) m + \gamma \nabla\); flip where \(|m| > \tau\) and sign m = sign w.
    Helwegen et al. 2019, "Latent Weights Do Not Exist", arXiv:1906.02107.

    Args:
        pairs: ``(parameter, quantizer)`` of binary weights only. A flip negates the stored number and keeps
            its magnitude, so that a scale computed from magnitudes does not move.
        threshold: \(\tau\), in units of the gradient.
        lr: the adaptivity rate \(\gamma\) in (0, 1], the part a learning rate plays elsewhere; under this
            name every learning-rate scheduler can decay it, as the paper does.

    >>> from types import SimpleNamespace
    >>> binary = SimpleNamespace(levels=(-1, 1), codes=lambda x: (x >= 0).long())
    >>> w = torch.nn.Parameter(torch.tensor([1.0, 1.0, -1.0]))
    >>> optimizer = Bop([(w, binary)], threshold=0.1, lr=0.5)
    >>> w.grad = torch.tensor([1.0, -1.0, 1.0])
    >>> optimizer.step()
    >>> w.data
    tensor([-1.,  1., -1.])
    """

    def __init__(self, pairs: Iterable[tuple[Tensor, Any]], threshold: float = 1e-8, lr: float = 1e-4):
        if threshold < 0:
            raise ValueError(f"Bop(threshold=...) cannot be negative, got {threshold}")
        if not 0 < lr <= 1:
            raise ValueError(f"Bop(lr=...) is the adaptivity rate and must be in (0, 1], got {lr}")
        pairs = list(pairs)
        for index, (parameter, quantizer) in enumerate(pairs):
            count = level_count(quantizer)
            if count != 2:
                raise ValueError(
                    f"Bop trains binary weights; pair {index} (parameter of shape {tuple(parameter.shape)}) "
                    f"has a quantizer of {count} levels: leave it to another optimizer"
                )
        self._quantizers = {parameter: quantizer for parameter, quantizer in pairs}
        super().__init__([parameter for parameter, _ in pairs], {"lr": lr, "threshold": threshold})

    def add_param_group(self, param_group: dict[str, Any]):
        """As torch's; its parameters must be among the pairs this optimizer was made with."""
        super().add_param_group(param_group)
        if any(p not in self._quantizers for p in self.param_groups[-1]["params"]):
            self.param_groups.pop()
            raise ValueError("Bop needs a quantizer for each parameter: make a Bop(pairs) for the new ones")

    def __getstate__(self):
        return {**super().__getstate__(), "_quantizers": self._quantizers}

    def move(self, w, grad, m, group):
        """Flip where the mean insists."""
        m.lerp_(grad, group["lr"])
        sign = 2 * self._quantizers[w].codes(w).to(w.dtype) - 1
        magnitude = w.abs().clamp_min(torch.finfo(w.dtype).tiny)  # a zero has a sign to flip, too
        w.copy_(torch.where(sign * m > group["threshold"], -sign * magnitude, w))


class Together(Optimizer):
    """Several optimizers as one: stepped, cleared, scheduled, saved and loaded together.

    A scheduler scales the learning rate of each group by its own value. No parameter may be in two.

    >>> a, b = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    >>> both = Together([torch.optim.SGD([a], lr=0.1), torch.optim.Adam([b], lr=0.01)])
    >>> [group["lr"] for group in both.param_groups]
    [0.1, 0.01]
    """

    def __init__(self, optimizers: Iterable[Optimizer]):
        self.optimizers = list(optimizers)
        if not self.optimizers:
            raise ValueError("Together([...]) needs at least one optimizer")
        held = [id(p) for group in self.param_groups for p in group["params"]]
        if len(held) != len(set(held)):
            raise ValueError("a parameter is in two of these optimizers: leave it to one of them")
        self.__setstate__({})  # torch's hooks; its __init__ would make parameter groups of its own

    @property
    def param_groups(self):
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def state(self):
        return {p: state for optimizer in self.optimizers for p, state in optimizer.state.items()}

    @property
    def defaults(self):
        return {}

    def __getstate__(self):
        return {"optimizers": self.optimizers}

    def __repr__(self):
        return f"Together({self.optimizers!r})"

    def add_param_group(self, param_group: dict[str, Any]):
        """Refused: it would not say which optimizer takes the group."""
        raise TypeError("add the group to one of Together(...).optimizers")

    def zero_grad(self, set_to_none: bool = True):
        """As each optimizer's."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Any] | None = None):
        """One step of each, in order; the closure runs once, first. Returns its loss, or None."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self):
        """``{"optimizers": [the state dict of each]}``."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]):
        """Loads each; as many as there are here, or a ValueError."""
        saved = state_dict.get("optimizers", [])
        if len(saved) != len(self.optimizers):
            raise ValueError(f"saved with {len(saved)} optimizers; there are {len(self.optimizers)} here")
        for optimizer, state in zip(self.optimizers, saved, strict=True):
            optimizer.load_state_dict(state)
