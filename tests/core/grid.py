"""Every member of the catalogues in many settings: a new member or field is tested without a new test."""

from dataclasses import fields, replace

import torch

from coarsegrad.core.learned import QUANTIZERS
from coarsegrad.core.scales import STATISTICS, Scale
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.spec import write

torch.set_num_threads(1)


def surrogates(*, slope=True):
    """Each surrogate by default and with a number changed; ``slope=False`` adds those that have no slope."""
    for cls in SURROGATES.values():
        base = cls()
        changed = (
            replace(base, **{f.name: 0.5 if not f.default else 1.5 * f.default})  # pyright: ignore
            for f in fields(cls)  # pyright: ignore
        )
        yield from (s for s in (base, *changed) if not slope or has_slope(s))


def has_slope(surrogate):
    try:
        surrogate.slope(torch.zeros(1))
    except TypeError:
        return False
    return True


def made(cls, **values):
    """The quantizer, or nothing where its class refuses these values."""
    try:
        return [cls(**values)]
    except (ValueError, TypeError):
        return []


def quantizers():
    """Each quantizer in all its bits and signs, with each statistic, per tensor, channel and group."""
    seen = {}
    for cls in QUANTIZERS.values():
        base = cls()
        choices = [base]
        for bits in range(1, 9):
            choices += made(cls, bits=bits)
            choices += made(cls, bits=bits, signed=not getattr(base, "signed", False))
        for extra in ({"narrow": True}, {"ternary": True}, {"rounding": "floor"}, {"rounding": "ceil"}):
            choices += made(cls, **extra)
        choices += made(cls, signed=False, zero_point=True)
        choices += made(cls, levels=(-1.0, -0.3, 0.0, 0.1, 2.0), thresholds=(-0.8, -0.2, 0.05, 1.5))
        scale = base.scale
        for change in ({"axis": 0}, {"axis": 1}, {"group": 4}, *({"statistic": s} for s in STATISTICS)):
            choices += made(cls, scale=replace(scale, **change))
        choices += made(cls, signed=False, zero_point=True, scale=Scale(axis=0))
        choices += made(cls, signed=False, zero_point=True, scale=Scale(group=4))
        seen |= {write(choice): choice for choice in choices}
    return list(seen.values())


def data(*shape, seed=0, dtype=torch.float32):
    """Gaussian numbers, a little off centre."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)) + 0.1


X = data(6, 8, 4)
"""Small enough for the plain path."""
WIDE = data(6, 8, 16, seed=1)
"""Large enough for the fused path."""
