"""Integrals on the line, many at a time: Gauss-Legendre on pieces that are halved until they agree."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NODES = 16
REACH = 12.0
"""Gaussian integrals are taken over [-12, 12]: the density outside is below 1e-31."""
_ABSOLUTE, _RELATIVE = 2e-14, 1e-13
_CAUTION = 8  # over a jump, halving may change less than what is still wrong
_DEPTH = 60
_BLOCK = 2**21  # numbers in flight
_MOST = (
    2**15
)  # pieces more than at the start: a function that does not settle is given up, and the error says so


class Estimate(NamedTuple):
    """An integral and a bound on its error: the last change under halving, summed over pieces."""

    value: Tensor
    error: Tensor


def integrate(
    function: Callable[[Tensor, Tensor], Tensor],
    edges: Tensor,
    fields: int = 1,
    *,
    declared: bool = True,
    width: int = 1,
) -> Estimate:
    r"""\(\int f_p(x)\,dx\) from the first to the last edge, for every problem p: ``[P, E]`` -> ``[P, F]``.

    ``function(x, p)`` takes points ``[I, N]`` and the problems ``[I, 1]`` that they belong to, and returns
    ``[I, N, F]``, F = ``fields``. ``edges`` ascend; pieces start between neighbours, so a jump at an edge
    costs nothing. With ``declared=False`` there may be jumps elsewhere: they are closed in by halving, and
    the ends of each piece are compared with what its inside foretells, so that none hides behind the
    outermost node. ``width`` is the memory that one point takes, in numbers.

    An error bound above 1e-12 and 1e-12 of the integral of \(|f|\) means that the function does not settle.
    A spike between all starting points is not seen: give an edge near it.

    >>> edges = torch.tensor([[-1.0, 0.0, 1.0]], dtype=torch.float64)
    >>> value, error = integrate(lambda x, p: x.abs().unsqueeze(-1), edges)
    >>> round(float(value), 14), float(error) < 1e-15
    (1.0, True)
    """
    edges = edges.to(torch.float64)
    owner, piece = (edges[:, 1:] > edges[:, :-1]).nonzero(as_tuple=True)
    low, high = edges[owner, piece], edges[owner, piece + 1]
    node, weight, ends = (torch.tensor(t, device=edges.device) for t in _rule())
    gap = float(1 - node[-1])

    def measured(low, high, owner):
        """The integral over each piece, that of the absolute value, and how far a hidden jump may move it."""
        parts = []
        for some in _blocks(len(low), max(1, _BLOCK // (NODES * (width + fields)))):
            left, right, p = low[some].unsqueeze(-1), high[some].unsqueeze(-1), owner[some].unsqueeze(-1)
            half = (right - left) / 2
            value = function(left + half * (1 + node), p)
            share = (half * weight).unsqueeze(-1)
            doubt = torch.zeros_like(half[:, 0])
            if not declared:
                inward = torch.cat([left + _nudge(left, half), right - _nudge(right, half)], -1)
                surprise = (function(inward, p) - ends @ value).abs()
                doubt = surprise.sum(1).amax(-1) * gap * half[:, 0]
            parts.append(((value * share).sum(1), (value.abs() * share).sum(1).amax(-1), doubt))
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    total, error = edges.new_zeros(len(edges), fields), edges.new_zeros(len(edges))
    if not len(low):
        return Estimate(total, error)
    most = _MOST + 4 * len(low)
    coarse, size, _ = measured(low, high, owner)
    tolerance = _ABSOLUTE + _RELATIVE * error.index_add(0, owner, size)
    for depth in range(_DEPTH):
        middle = (low + high) / 2
        halves = torch.stack([low, middle]), torch.stack([middle, high])
        fine, _, doubt = measured(halves[0].flatten(), halves[1].flatten(), owner.repeat(2))
        fine = fine.reshape(2, -1, fields)
        change = (fine.sum(0) - coarse).abs().amax(-1) * (1 if declared else _CAUTION)
        change = change + doubt.reshape(2, -1).sum(0)
        more = (change > tolerance[owner]) & (low < middle) & (middle < high)
        if depth == _DEPTH - 1 or 2 * int(more.sum()) > most:
            more = torch.zeros_like(more)
        total.index_add_(0, owner[~more], fine.sum(0)[~more])
        error.index_add_(0, owner[~more], change[~more])
        if not more.any():
            break
        low, high = (half[:, more].flatten() for half in halves)
        owner, coarse = owner[more].repeat(2), fine[:, more].flatten(0, 1)
    return Estimate(total, error)


def pieces(*points: Tensor) -> Tensor:
    """Edges from points ``[P, ...]``: sorted, kept inside [-12, 12], with both ends, ``[P, E]``."""
    inside = torch.cat([p.flatten(1) for p in points], 1).clamp(-REACH, REACH)
    ends = inside.new_tensor([-REACH, REACH]).expand(len(inside), 2)
    return torch.cat([inside, ends], 1).sort(1).values


def octaves(unit: Tensor) -> Tensor:
    """0 and plus or minus 2^k units, k from -2 as far as the integral reaches, ``[P]`` -> ``[P, K]``.

    With edges there, a function whose features have the size of a unit, or a few of them, is seen.
    """
    smallest = float(unit.min()) if unit.numel() else 1.0
    steps = 4 if not smallest > 0 else min(64, max(1, int(np.ceil(np.log2(REACH / smallest))) + 1))
    size = 2.0 ** torch.arange(-2, steps, dtype=torch.float64, device=unit.device)
    side = unit.unsqueeze(-1) * size
    return torch.cat([-side, torch.zeros_like(side[:, :1]), side], 1)


@functools.cache
def _rule():
    """Nodes and weights on [-1, 1], and the matrix that takes values at the nodes to the two ends."""
    node, weight = np.polynomial.legendre.leggauss(NODES)
    gaps = node[:, None] - node[None, :] + np.eye(NODES)
    ends = np.stack([(end - node + 0.0)[None, :] + np.zeros_like(gaps) for end in (-1.0, 1.0)])
    keep = ~np.eye(NODES, dtype=bool)
    matrix = np.stack([np.where(keep, end / gaps, 1.0).prod(1) for end in ends])
    return node, weight, matrix


def _nudge(at, half):
    """A step inwards that no rounding takes back, and that is too small to matter."""
    return at.abs() * 1e-15 + half * 1e-15


def _blocks(number, size):
    return (slice(start, start + size) for start in range(0, number, size))
