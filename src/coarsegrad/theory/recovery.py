r"""Recovery of a binary teacher without sampling error: the force on each weight, and when all are right.

The population twin of ``sim.recover`` with v fixed at the teacher's. There the expected coarse gradient of
``theory.hidden`` is, for filters of length 1,

    identity        c (w - w*),  c = |v|^2 / sqrt(2 pi)
    ReLU            c (w - w*),  c = |v|^2 / (2 sqrt(2 pi))
    any surrogate   A w + B w*,  A and B depending on theta

and the loss \(|v|^2\theta/2\pi\). So with binary weights all wrong coordinates feel one force, and all right
ones another: none at all for the identity and the ReLU, where each latent moves on its own until it is right.
``theory.descend`` with ``Problem(weights="binary", trained="w")`` follows the descent step by step, for all
surrogates. Model of Jeong, Xin & Yin 2025, arXiv:2505.18113; what is said of it is derived here.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coarsegrad.core.surrogate import Surrogate
from coarsegrad.theory import hidden


class Force(NamedTuple):
    """On a coordinate, times its sign: above 0 it pulls the latent to the other side. ``[...]`` each."""

    wrong: Tensor
    """Where the signs of w and w_star differ; nan where they differ nowhere."""
    right: Tensor
    """Where they agree; nan where they agree nowhere."""


class Hit(NamedTuple):
    """When a run first has all signs of the teacher, in steps, ``[...]``; 0: at its start."""

    steps: Tensor
    """Exactly, whole numbers."""
    estimate: Tensor
    r"""\(\max_j |u_j| \sqrt n / (2 \eta c)\) over the wrong latents: not rounded."""


def constant(v: Tensor, surrogate: Surrogate) -> Tensor:
    r"""The c of \(E g = c (w - w^*)\) for v ``[..., m]``, ``[...]``; the identity's and the ReLU's.

    ``ValueError`` for other surrogates, whose coarse gradient is not of this form.

    >>> from coarsegrad.core.surrogates import Identity
    >>> round(float(constant(torch.tensor([3.0, 4.0]).double(), Identity())) * math.sqrt(2 * math.pi), 9)
    25.0
    """
    if surrogate.passes not in ((-math.inf, math.inf), (0, math.inf)):
        raise ValueError(
            f"{type(surrogate).__name__}: its force changes on the way; theory.descend follows it"
        )
    return force(v, 1, 1, surrogate).wrong / 2


def force(v: Tensor, wrong: Tensor | int, n: int, surrogate: Surrogate) -> Force:
    r"""The force with ``wrong`` ``[...]`` of n signs wrong, second layer v ``[..., m]`` that of the teacher.

    \((A - B)/\sqrt n\) on a wrong coordinate and \((A + B)/\sqrt n\) on a right one; for the identity and the
    ReLU \(2c/\sqrt n\) and 0, however many are wrong.

    >>> v = torch.ones(1).double()
    >>> from coarsegrad.core.surrogates import ClippedReLU, ReLU
    >>> here = force(v, torch.tensor([1, 2, 3]), 4, ReLU())
    >>> (here.wrong * math.sqrt(2 * math.pi)).round(decimals=9).tolist(), bool(here.right.abs().max() < 1e-15)
    ([0.5, 0.5, 0.5], True)
    >>> force(v, torch.tensor([1, 2, 3]), 4, ClippedReLU()).right < 0  # it also strengthens what is right
    tensor([True, True, True])
    """
    part = torch.as_tensor(wrong, dtype=torch.float64, device=v.device) / n
    if n < 1 or (part < 0).any() or (part > 1).any():
        raise ValueError(f"force(wrong=..., n=...) needs 0 <= wrong <= n, got {wrong} of {n}")
    agree, differ = (1 - part).sqrt(), part.sqrt()  # the plane spanned by what agrees and what differs
    w, w_star = torch.stack([agree, differ], -1), torch.stack([agree, -differ], -1)
    g = hidden.coarse_gradient(v, w, v, w_star, surrogate) / math.sqrt(n)
    on = torch.where(w > 0, g / w, torch.nan)
    return Force(on[..., 1], on[..., 0])


def first_hit(v: Tensor, latent: Tensor, w_star: Tensor, surrogate: Surrogate, step_size: float) -> Hit:
    """When descent from ``latent`` ``[..., n]`` first shows the binary teacher ``w_star`` ``[..., n]``.

    v ``[..., m]`` is the teacher's and stays. Each wrong latent moves by the same amount a step and stops
    where it is right; the sign of 0 is +1. ``ValueError`` for surrogates other than the identity and the
    ReLU, whose forces change on the way: follow them with ``theory.descend``.

    >>> from coarsegrad.core.surrogates import Identity
    >>> w_star = torch.tensor([0.5, 0.5]).sqrt()
    >>> hit = first_hit(torch.ones(1), torch.tensor([0.1, -0.9]), w_star, Identity(), step_size=0.5)
    >>> int(hit.steps), round(float(hit.estimate), 2)  # 2 c/sqrt(n) = 0.564
    (4, 3.19)
    """
    if not (step_size > 0 and math.isfinite(step_size)):
        raise ValueError(f"step_size=... must be positive and finite, got {step_size}")
    v, latent, w_star = (hidden.floating(t).to(torch.float64) for t in (v, latent, w_star))
    each = 2 * step_size * constant(v, surrogate).unsqueeze(-1) / math.sqrt(latent.shape[-1])
    up, up_star = latent >= 0, w_star > 0
    away = torch.where(up == up_star, 0.0, latent.abs() / each)
    whole = torch.where(up_star, away.ceil(), away.floor() + (up != up_star))
    return Hit(whole.amax(-1).to(torch.int64), away.amax(-1))
