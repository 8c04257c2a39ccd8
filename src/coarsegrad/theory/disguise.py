r"""When is a weight estimator the plain straight-through estimator in disguise? Schoenbauer et al. 2024.

A quantizer with borders a step D apart, and an estimator whose slope s is the same in every cell and lies
between two positive bounds. Then a small step of SGD with the estimator, seen through a monotone map M of
the latents, is a step with slope 1 at another rate: since \(M' = \alpha/s\),

\[M(w - \eta s(w) g) = M(w) - \alpha \eta g + O(\eta^2).\]

With \(\alpha = D / \int_{cell} ds/s\), M leaves every border where it is, so that both quantize alike.
arXiv:2405.05171.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.surrogate import Stretched, Surrogate
from coarsegrad.theory.gauss import plain
from coarsegrad.theory.quadrature import integrate

_GRID = 4096  # points of a cell at which the slope's bounds are looked for
_PANEL, _NODES = 1 / 256, 6  # 1/slope is integrated over panels of this width, so that a kink costs nothing
_FAR = 8.0  # how far from a lone border the slope is looked at, in scales, and at _FARTHER
_FARTHER, _MOST = (1e2, 1e4), 1e3


@dataclass(frozen=True)
class Disguise:
    """What turns training with ``surrogate`` into training with slope 1: another rate, another start.

    ``rate`` is alpha; ``least`` and ``most`` are the slope's bounds, seen on a grid of 4096 points a cell.
    The surrogate is as training sees it, stretched over the quantizer's window.
    """

    surrogate: Surrogate
    borders: tuple[float, ...]
    rate: float
    least: float
    most: float

    @property
    def period(self) -> float | None:
        """The distance D of the borders, in scales; None for a sign, which has one border."""
        return self.borders[1] - self.borders[0] if len(self.borders) > 1 else None

    def warp(self, u: Tensor) -> Tensor:
        """M(u) of latents in units of the scale, ``[...]`` -> ``[...]``, in the dtype of u.

        Raises ``ValueError`` for values that are not finite and, of a sign, beyond 1000 scales.
        """
        x, first = u.detach().to(torch.float64), self.borders[0]
        if not x.numel():
            return u.detach()
        if not torch.isfinite(x).all() or (self.period is None and x.abs().max() > _MOST):
            raise ValueError(
                f"warp(u) takes finite latents{'' if self.period else f' up to {_MOST:g}'}, in units of the "
                "scale: latent / scale"
            )
        jump = torch.zeros_like(x) if self.period is None else ((x - first) / self.period).floor()
        jump *= self.period or 0.0
        x = x - jump  # in the first cell: M leaves its ends where they are, and so those of every other
        panel = torch.floor((x - first) / _PANEL)
        low, high = min(int(panel.min()), 0), max(int(panel.max()), 0)
        edges = first + _PANEL * torch.arange(low, high + 1, dtype=x.dtype, device=x.device)
        whole = torch.cat([torch.zeros_like(edges[:1]), self._between(edges[:-1], edges[1:]).cumsum(0)])
        at = (panel - low).long()
        whole = whole[at] - whole[-low] + self._between(edges[at], x)
        return (first + jump + self.rate * whole).to(u.dtype)

    def _between(self, low: Tensor, high: Tensor) -> Tensor:
        """The integral of 1/slope from low to high, which share a panel."""
        node, weight = np.polynomial.legendre.leggauss(_NODES)
        half, total = (high - low) / 2, torch.zeros_like(low)
        for at, share in zip(node.tolist(), weight.tolist(), strict=True):
            total += half * share / self.surrogate.slope(low + half * (1 + at))
        return total


def disguise(surrogate: Surrogate, quantizer: Quantizer, **values: Tensor) -> Disguise:
    """The rate and the map of the latents; ``ValueError`` says which condition does not hold.

    Args:
        surrogate: of the weights, in units of the scale, smooth within a cell; also your own. It is taken
            as training takes it, ``surrogate.over(quantizer.window)``: one whose slope is meant cell by cell
            returns itself from ``over``.
        quantizer: of the weights, with evenly spaced borders (uniform, binary, ternary).
        **values: as ``fit`` returned them.

    For a sign every rate is as good as another, since it sees no size: ``rate`` is 1.

    >>> from coarsegrad.core.quantizers import Uniform
    >>> from coarsegrad.core.surrogates import Identity
    >>> round(disguise(Identity(), Uniform(bits=2)).rate, 12)
    1.0
    """
    if not isinstance(quantizer, Quantizer):
        raise TypeError(f"disguise(surrogate, quantizer) takes a quantizer second, got {quantizer!r}")
    surrogate = plain(surrogate).over(quantizer.window)
    name, borders = _name(surrogate), quantizer.breaks(**values)
    if borders is None:
        raise ValueError(f"{type(quantizer).__name__} declares no borders; disguise() needs breaks()")
    gaps = np.diff(borders)
    if len(gaps) and np.ptp(gaps) > 1e-9 * gaps[0]:
        raise ValueError(f"{type(quantizer).__name__} has cells of different width: the theorem needs one")
    width = float(gaps[0]) if len(gaps) else _FAR
    at = borders[0] + width * (torch.arange(_GRID, dtype=torch.float64) + 0.5) / _GRID
    cells = [surrogate.slope(at + k * width) for k in range(-1, max(len(borders), 1))]
    if not len(gaps):
        ends = torch.tensor([side * far for far in _FARTHER for side in (-1, 1)], dtype=torch.float64)
        cells.append(surrogate.slope(ends))
    least, most = float(min(c.min() for c in cells)), float(max(c.max() for c in cells))
    if not 0 < least <= most < float("inf"):
        raise ValueError(
            f"the slope of {name} goes from {least:g} to {most:g} in a cell; the theorem needs two positive "
            "bounds, and says nothing here"
        )
    if len(gaps) and any(not torch.allclose(c, cells[0], rtol=1e-9, atol=1e-12) for c in cells):
        raise ValueError(
            f"the slope of {name} differs between cells, each of which asks for a rate of its own"
        )
    edges = torch.tensor([[borders[0], borders[0] + width / 2, borders[0] + width]], dtype=torch.float64)
    inner = integrate(lambda x, _: 1 / surrogate.slope(x).unsqueeze(-1), edges)
    rate = width / float(inner.value) if len(gaps) else 1.0
    return Disguise(surrogate, tuple(map(float, borders)), rate, least, most)


def _name(surrogate: Surrogate) -> str:
    inner = surrogate.inner if isinstance(surrogate, Stretched) else surrogate
    return type(inner).__name__ + (" over the levels" if inner is not surrogate else "")
