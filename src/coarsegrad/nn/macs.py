"""Multiply-accumulates as they happen: each product with a weight in it is credited to that weight.

A weight is a parameter, or anything made of parameters alone (a view, a cast, a normalized or quantized
weight). Products of two activations, such as attention's, have no weight in them and are not counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_BATCHED = ("bmm", "baddbmm")


class MacCounter(TorchDispatchMode):
    """While active, ``macs[id(parameter)]`` counts for ``model``'s parameters, all examples of a batch.

    >>> net = nn.Linear(4, 8)
    >>> with MacCounter(net) as counter:
    ...     _ = net(torch.randn(10, 4))
    >>> counter.macs[id(net.weight)]
    320
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.macs: dict[int, int] = {}
        self._origin: dict[int, int] = {}
        self._alive: list[Tensor] = []
        for parameter in model.parameters():
            self._mark(parameter, id(parameter))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation, then credit it or pass its origin on."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        origins = [self._origin.get(_storage(t)) for t in given]
        packet = func._overloadpacket
        if packet in flop_registry:
            self._credit(packet, args, kwargs, out, [o for o in reversed(origins) if o is not None], origins)
        elif packet.__name__ == "_grouped_mm" and given[1].dim() == 3:  # [tokens, in], [experts, in, out]
            self._add(origins[1], given[0].numel() * given[1].shape[-1])
        elif (
            packet.__name__ == "mkldnn_rnn_layer"
        ):  # one direction of one layer: [time, batch, in], w_ih, w_hh
            steps = given[0].shape[0] * given[0].shape[1]
            for weight in given[1:3]:
                self._add(self._origin.get(_storage(weight)), steps * weight.numel())
        weights = [o for o in origins if o is not None]
        if weights and len(weights) == len(given):
            for made in tree_leaves(out):
                if isinstance(made, Tensor) and _storage(made) not in self._origin:
                    self._mark(made, weights[0])
        return out

    def _credit(self, packet, args, kwargs, out, weights, origins):
        name = packet.__name__
        if not weights or "attention" in name or (name in _BATCHED and None not in origins):
            return
        operands = origins[-2:] if "addmm" in name or name == "baddbmm" else origins[:2]
        found = [o for o in reversed(operands) if o is not None]
        if found:
            self._add(found[0], flop_registry[packet](*args, **kwargs, out_val=out) // 2)

    def _add(self, origin, number):
        if origin is not None:
            self.macs[origin] = self.macs.get(origin, 0) + number

    def _mark(self, tensor, origin):
        storage = _storage(tensor)
        if storage is not None:
            self._origin[storage] = origin
            self._alive.append(tensor)  # a freed storage would lend its address to another tensor


def _storage(tensor: Tensor) -> Any:
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # a tensor without storage
        return None


@contextmanager
def plain_attention() -> Iterator[None]:
    """Without torch's fused transformer layers, which call no submodule; the setting is put back."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
