"""Numbers a model needs from data: activation ranges, and batch norm statistics."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.sites import call, evaluating


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[Any]) -> list[str]:
    """Fit every activation quantizer to these batches, in place, with the network in float for them.

    Runs the model in eval mode (batch norm untouched). Returns the names of quantizers that saw no data:
    those whose module was not called. Raises ``ValueError`` on no batches and on non-finite activations.

    >>> from coarsegrad.nn.prepare import prepare
    >>> net = prepare(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "w2a2")
    >>> calibrate(net, [torch.randn(32, 4)])
    []
    """
    quantizers = {n: m for n, m in model.named_modules() if isinstance(m, FakeQuantize) and m.role == "activation"}
    number = 0
    try:
        for q in quantizers.values():
            q.observe(True)
        with evaluating(model):
            for batch in batches:
                call(model, batch)
                number += 1
        if not number:
            raise ValueError("calibrate(model, batches) got no batches")
        silent = [name for name, q in quantizers.items() if not q._seen]
        for q in quantizers.values():
            q.observe(False)
    finally:
        for q in quantizers.values():
            q._seen = None
    return silent


@torch.no_grad()
def reestimate_bn(model: nn.Module, batches: Iterable[Any]) -> int:
    """Replace batch norm's running statistics by their plain mean over these batches, in place.

    Nagel et al. 2022, arXiv:2203.11086, section 4: oscillating weights leave stale statistics behind.
    Everything but batch norm runs in eval mode. Returns the number of batch norms re-estimated.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return 0
    momenta = [m.momentum for m in norms]
    number = 0
    try:
        with evaluating(model):
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
                norm.training = True
            for batch in batches:
                call(model, batch)
                number += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if not number:
        raise ValueError("reestimate_bn(model, batches) got no batches; the statistics are now reset")
    return len(norms)
