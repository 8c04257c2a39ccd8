r"""One hidden layer on samples: loss, gradient and coarse gradient of \(v^T \sigma(Zw)\), as means over Z.

Everything comes from the samples that are passed in: ``z`` is ``[..., N, m, n]``, ``noise`` on the labels
``[..., N]``; leading axes are batches and broadcast with those of v ``[..., m]`` and w ``[..., n]``. For a
standard error give the samples in blocks: ``[blocks, N, m, n]`` yields a mean per block. sigma is the
threshold 1{x > 0}, or ``activation``, a quantizer of ``core`` whose scale does not depend on the data. With
``batch_norm`` it sees Zw at mean 0 and variance 1 over the rows of all N samples, and the backward pass goes
through both statistics.
"""

from typing import Any

import torch
from torch import Tensor

from coarsegrad.core.ste import through
from coarsegrad.core.surrogate import Surrogate


def output(
    v: Tensor,
    w: Tensor,
    z: Tensor,
    surrogate: Surrogate | None = None,
    activation: Any = None,
    batch_norm: bool = False,
) -> Tensor:
    """The network's answer to each sample, ``[..., N]``; differentiable in v, and in w through ``surrogate``.

    >>> z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])  # one sample of two rows
    >>> output(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 0.0]), z)
    tensor([2.])
    """
    return torch.einsum("...km,...m->...k", _hidden(w, z, surrogate, activation, batch_norm), v)


def before(w: Tensor, z: Tensor, batch_norm: bool = False) -> Tensor:
    """What the activation sees: Zw ``[..., N, m]``, or that after a batch norm without scale and shift.

    >>> before(torch.tensor([2.0, 0.0]), torch.tensor([[[1.0, 0.0]], [[4.0, 0.0]]]), True).flatten()
    tensor([-1.0000,  1.0000])
    """
    x = torch.einsum("...kmn,...n->...km", z, w)
    if not batch_norm:
        return x
    rows = x.reshape(1, x.shape[:-2].numel(), -1)  # a batch is a channel, its rows are the channel's numbers
    return torch.nn.functional.batch_norm(rows, None, None, training=True).reshape(x.shape)


def loss(
    v: Tensor,
    w: Tensor,
    v_star: Tensor,
    w_star: Tensor,
    z: Tensor,
    *,
    noise: Tensor | float = 0.0,
    activation: Any = None,
) -> Tensor:
    """Half the mean squared error over the samples, ``[...]``.

    >>> z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    >>> loss(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 0.0]), torch.ones(2), torch.tensor([-1.0, 0.0]), z)
    tensor(1.2500)
    """
    labels = output(v_star, w_star, z, None, activation) + noise
    return (output(v, w, z, None, activation) - labels).square().mean(-1) / 2


def gradient(
    v: Tensor,
    w: Tensor,
    v_star: Tensor,
    w_star: Tensor,
    z: Tensor,
    *,
    noise: Tensor | float = 0.0,
    activation: Any = None,
) -> tuple[Tensor, Tensor]:
    r"""(dv ``[..., m]``, dw ``[..., n]``): unbiased estimates of the population loss's gradient, z Gaussian.

    dv differentiates the empirical loss. In w that is flat wherever it is smooth, so dw weights each sample's
    loss l by the score of the move instead (likelihood ratio): with \(e = w - (w \cdot w^*) w^*/|w^*|^2\),
    \(\mathrm{dw} = \mathrm{mean}\; l \sum_i [(z_i \cdot e) z_i - e] / (e \cdot w)\). Its variance grows like
    1/sin(theta)^2, and where w and w_star are parallel the loss has a kink and dw is not finite.
    """
    hidden = _hidden(w, z, None, activation)
    rest = torch.einsum("...km,...m->...k", hidden, v) - output(v_star, w_star, z, None, activation) - noise
    dv = (hidden * rest[..., None]).mean(-2)
    along = (w * w_star).sum(-1, keepdim=True) / w_star.square().sum(-1, keepdim=True)
    e = w - along * w_star
    score = torch.einsum("...kmn,...km->...kn", z, torch.einsum("...kmn,...n->...km", z, e))
    score = score - z.shape[-2] * e[..., None, :]
    per_sample = rest.square() / 2
    per_sample = per_sample - per_sample.mean(-1, keepdim=True)  # the score has mean 0: less variance
    factor = z.shape[-3] / max(z.shape[-3] - 1, 1)  # the mean taken off was the samples' own
    return dv, factor * (per_sample[..., None] * score).mean(-2) / (e * w).sum(-1, keepdim=True)


def coarse_gradient(
    v: Tensor,
    w: Tensor,
    v_star: Tensor,
    w_star: Tensor,
    surrogate: Surrogate,
    z: Tensor,
    *,
    noise: Tensor | float = 0.0,
    activation: Any = None,
) -> Tensor:
    """The mean over samples of what arrives at w through ``surrogate``, ``[..., n]``.

    By autograd through ``core``, so also for a surrogate that looks at the upstream gradient (EWGS), which is
    that of one sample's loss. It is in units of the activation's scale, as everywhere.

    >>> from coarsegrad.core.surrogates import Identity, ReLU
    >>> z, v = torch.tensor([[[1.0, 2.0], [-1.0, 0.0]]]), torch.tensor([2.0, 3.0])
    >>> w, w_star = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])
    >>> coarse_gradient(v, w, torch.ones(2), w_star, ReLU(), z)
    tensor([2., 4.])
    >>> coarse_gradient(v, w, torch.ones(2), w_star, Identity(), z)
    tensor([-1., 4.])
    """
    labels = output(v_star, w_star, z, None, activation) + noise
    return step(v, w, labels, z, surrogate, activation=activation)[2]


def step(
    v: Tensor,
    w: Tensor,
    labels: Tensor,
    z: Tensor,
    surrogate: Surrogate,
    *,
    activation: Any = None,
    batch_norm: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss ``[...]``, dv ``[..., m]``, coarse gradient ``[..., n]``) against ``labels``, in one pass."""
    batch = torch.broadcast_shapes(v.shape[:-1], w.shape[:-1], labels.shape[:-1], z.shape[:-3])
    with torch.enable_grad():
        v = v.detach().expand(*batch, v.shape[-1]).requires_grad_()
        w = w.detach().expand(*batch, w.shape[-1]).requires_grad_()
        per_sample = (output(v, w, z, surrogate, activation, batch_norm) - labels).square() / 2
        dv, dw = torch.autograd.grad(per_sample.sum(), (v, w))  # batches do not meet: each gets its own
    samples = per_sample.shape[-1]
    return per_sample.detach().mean(-1), dv / samples, dw / samples


def _hidden(
    w: Tensor, z: Tensor, surrogate: Surrogate | None, activation: Any, batch_norm: bool = False
) -> Tensor:
    """The hidden layer, ``[..., N, m]``; a surrogate sees each batch's numbers in a row of their own."""
    x = before(w, z, batch_norm)
    shape, x = x.shape, x.reshape(x.shape[:-2].numel(), -1)
    if activation is not None:
        return activation(x, surrogate).reshape(shape)
    level = (x > 0).to(x.dtype)
    return (level if surrogate is None else through(x, level, surrogate)).reshape(shape)
