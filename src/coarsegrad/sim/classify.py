"""Classification on subspaces by coarse gradient descent, many starts side by side.

Three ways to one result: ``compiled`` lists, in compiled loops, the points that are short of their margin,
and asks the surrogate for its slope at these alone; ``batched``, the gradient by hand in torch, for any
surrogate; ``direct``, autograd through ``core``, their oracle.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from coarsegrad.core.quantizers import QuantizedReLU
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import LogTailedReLU, MagnitudeAwareSign, ReverseExponential
from coarsegrad.problem.descent import checked_step
from coarsegrad.problem.subspaces import Subspaces

_SLICE, _HELD = 2**15 - 64, 2**26
"""Slopes that are asked for at a time, so few that torch asks no other thread; bytes of what is held for them
by a thread, at least that of one run."""
METHODS = ("auto", "compiled", "batched", "direct")
Gradient = Callable[[Subspaces, Surrogate, Tensor], tuple[Tensor, ...]]
"""(problem, surrogate, w) -> loss, accuracy, largest \\|h\\| ``[runs]``, and the coarse gradient, w's
shape."""


@dataclass(frozen=True, eq=False, repr=False)
class Classified:
    """What became of each run; one entry a run."""

    w: Tensor
    """``[runs, k, D]``: where the runs ended; for binary weights the latent ones."""
    steps: Tensor
    """``[runs]``, int64: steps made until the loss was 0, the start counted as 0; -1 for never."""
    loss: Tensor
    """``[runs]``: the mean hinge loss at the end, against the labels."""
    accuracy: Tensor
    """``[runs]``: share of points whose true class has the strictly largest output, in [0, 1]."""
    largest: Tensor
    """``[runs]``: the largest pre-activation met on the way, without its sign."""
    still: Tensor
    """``[runs]``, bool: whether the last coarse gradient was 0 up to rounding, so that nothing changes."""
    method: str
    """How it was computed."""

    @property
    def solved(self) -> Tensor:
        """``[runs]``: whether the loss reached 0."""
        return self.steps >= 0

    def __repr__(self):
        return f"<Classified by {self.method}: {int(self.solved.sum())} of {len(self.w)} runs at zero loss>"

    @classmethod
    def joined(cls, parts: list["Classified"]) -> "Classified":
        """Runs computed apart, as one."""
        of = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls) if f.name != "method"}
        return cls(**{name: torch.cat(found) for name, found in of.items()}, method=parts[0].method)


def classify(
    problem: Subspaces,
    surrogate: Surrogate,
    *,
    runs: int,
    steps: int,
    step_size: float,
    seed: int,
    start: Tensor | None = None,
    method: str = "auto",
    threads: int | None = None,
    memory: float = 2**22,
) -> Classified:
    r"""Full-batch coarse gradient descent of ``runs`` networks on the same data, each until its loss is 0.

    Args:
        problem: the data and the network's fixed part.
        surrogate: any, also one that looks at the upstream gradient (a point's own); also your own. It meets
            the pre-activations as they are: to stretch it, give ``surrogate.over(levels)``.
        runs: how many; run k's start depends on ``seed`` and k alone.
        steps: at most so many.
        step_size: of the hidden weights; of binary ones, of the latents, which take the gradient as it is.
        seed: of the starts.
        start: ``[runs, k, D]`` in place of ``problem.starts(runs, seed)``.
        method: one of ``METHODS``; ``auto`` takes the fastest that applies.
        threads: of ``compiled``, some runs each; by default torch's number. Any gives the same bits.
        memory: bytes of pre-activations held at a time by the other two, at least those of one run.

    Raises ``ValueError`` with the mend for what cannot be run. Long, Yin & Xin 2021, arXiv:2011.11256:
    \(w \leftarrow w - \eta\, \mathrm{E}[\text{coarse gradient}]\), the second layer fixed.

    >>> from coarsegrad.core.surrogates import Identity, ReLU
    >>> problem = Subspaces(directions=8, radii=(1.0, 2.0))
    >>> for surrogate in (ReLU(), Identity()):
    ...     classify(problem, surrogate, runs=4, steps=150, step_size=1.0, seed=0, method="batched")
    <Classified by batched: 4 of 4 runs at zero loss>
    <Classified by batched: 0 of 4 runs at zero loss>
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; known: {', '.join(METHODS)}")
    if type(steps) is not int or steps < 0:
        raise ValueError(f"steps=... is a whole number that is not negative, got {steps!r}")
    step_size = checked_step(step_size)
    if type(runs) is not int or runs < 1:
        raise ValueError(f"runs=... is a whole number, 1 or more, got {runs!r}")
    w = problem.starts(runs, seed) if start is None else torch.as_tensor(start, dtype=torch.float64)
    if w.shape != (runs, problem.neurons, problem.width) or not torch.isfinite(w).all():
        raise ValueError(
            f"start=... must be finite, of shape [{runs}, {problem.neurons}, {problem.width}], got "
            f"{tuple(w.shape)}; problem.starts(runs, seed) draws such"
        )
    fits = find_spec("numba") is not None and (_form(surrogate) is not None or _pointwise(surrogate))
    if method == "compiled" and not fits:
        raise ValueError(
            f'method="compiled" needs Numba (coarsegrad[fast]) and a slope that depends on its point alone; '
            f'for {surrogate} say method="batched"'
        )
    if method == "compiled" or (method == "auto" and fits):
        return _compiled(problem, surrogate, w, steps, step_size, threads or torch.get_num_threads())
    gradient, name = (by_autograd, "direct") if method == "direct" else (by_hand, "batched")
    group = max(1, int(memory // (8 * problem.points * problem.neurons)))
    return Classified.joined(
        [_follow(problem, surrogate, part, gradient, steps, step_size, name) for part in w.split(group)]
    )


def by_hand(problem: Subspaces, surrogate: Surrogate, w: Tensor) -> tuple[Tensor, ...]:
    r"""A ``Gradient`` without autograd: \((v_{\xi j} - v_{yj}) 1\{l>0\}\, g(h_j)\, x\), mean over points."""
    served, radii = problem.served, torch.tensor(problem.radii, dtype=w.dtype)
    h = (problem.x @ problem.shown(w).mT)[:, :, None] * radii[:, None]  # [runs, directions, radii, k]
    serves = torch.nn.functional.one_hot(served, problem.classes).to(w.dtype)
    loss, right, label, rival, short = _judged(problem, problem.v * (problem.level(h) @ serves))
    blame = torch.zeros(*short.shape, problem.classes, dtype=w.dtype)
    blame.scatter_(-1, label, -short[..., None].to(w.dtype)).scatter_(-1, rival, short[..., None].to(w.dtype))
    upstream = (problem.v * blame)[..., served]
    arrived = surrogate.pullback(upstream.flatten(1), h.flatten(1)).view_as(h)
    arrived = (arrived * radii[:, None]).sum(2)
    return loss, right, h.abs().flatten(1).amax(-1), arrived.mT @ problem.x / problem.points


def by_autograd(problem: Subspaces, surrogate: Surrogate, w: Tensor) -> tuple[Tensor, ...]:
    """A ``Gradient`` by autograd, the activation a quantizer of ``core``."""
    quantizer = QuantizedReLU(bits=problem.bits, rounding=problem.rounding, scale=Scale("one"))
    points = (problem.x[:, None] * torch.tensor(problem.radii, dtype=w.dtype)[:, None]).flatten(0, 1)
    with torch.enable_grad():
        shown = problem.shown(w).detach().requires_grad_()
        h = shown @ points.T
        level = quantizer(h.mT.flatten(1), surrogate, scale=torch.tensor(1.0)).view_as(h.mT)
        output = torch.stack(
            [level[..., problem.served == i].sum(-1) for i in range(problem.classes)], -1
        ) * problem.v  # fmt: skip
        label = problem.labels.reshape(-1, 1).expand(len(w), -1, -1)
        others = output.detach().scatter(-1, label, -torch.inf)
        margin = output.gather(-1, label) - output.gather(-1, others.argmax(-1, keepdim=True))
        hinge = torch.relu(1 - margin.squeeze(-1))
        (gradient,) = torch.autograd.grad(hinge.sum(), shown)
    grid = output.detach().view(len(w), *problem.labels.shape, problem.classes)
    accuracy = _judged(problem, grid)[1]
    return hinge.detach().mean(-1), accuracy, h.detach().abs().flatten(1).amax(-1), gradient / problem.points


def _judged(problem: Subspaces, output: Tensor) -> tuple[Tensor, ...]:
    """Loss and accuracy ``[runs]``; label and strongest rival ``[..., 1]``; where the margin is short."""
    label = problem.labels[..., None].expand(*output.shape[:-1], 1)
    rival = output.scatter(-1, label, -torch.inf).argmax(-1, keepdim=True)
    margin = (output.gather(-1, label) - output.gather(-1, rival)).squeeze(-1)
    true = problem.true[:, None, None].expand(*output.shape[:-1], 1)
    right = (output.gather(-1, true) > output.scatter(-1, true, -torch.inf).amax(-1, True)).squeeze(-1)
    loss = (1 - margin).clamp(min=0).flatten(1).mean(-1)
    return loss, right.flatten(1).double().mean(-1), label, rival, margin < 1


def _follow(problem, surrogate, w, gradient: Gradient, steps: int, step_size: float, name: str) -> Classified:
    w, runs = w.clone(), len(w)
    met = {key: torch.zeros(runs, dtype=torch.float64) for key in ("loss", "accuracy", "largest")}
    solved, still = torch.full((runs,), -1), torch.zeros(runs, dtype=torch.bool)
    alive = torch.arange(runs)
    for step in range(steps + 1):
        loss, accuracy, largest, dw = gradient(problem, surrogate, w[alive])
        met["loss"][alive], met["accuracy"][alive] = loss, accuracy
        met["largest"][alive] = torch.maximum(met["largest"][alive], largest)
        still[alive] = (dw.abs() < 1e-12).flatten(1).all(-1)
        solved[alive[loss == 0]] = step
        on = loss > 0
        if step == steps or not on.any():
            break
        alive = alive[on]
        w[alive] -= step_size * dw[on]
    return Classified(w=w, steps=solved, still=still, method=name, **met)


def _form(surrogate: Surrogate) -> tuple[tuple[int, float, float], bool] | None:
    """Of a slope that the kernel knows: kind and two numbers; and whether it is taken times mean|h|."""
    if surrogate.passes:
        low, high = surrogate.passes
        return (0, float(low), float(high)), False
    if type(surrogate) is MagnitudeAwareSign:
        return (0, -surrogate.clip, surrogate.clip), True
    if type(surrogate) is LogTailedReLU:
        return (1, 0.0, surrogate.top), False
    return ((2, 0.0, surrogate.top), False) if type(surrogate) is ReverseExponential else None


def _pointwise(surrogate: Surrogate) -> bool:
    """Whether what arrives at a point depends on that point alone, and is 0 where nothing was sent: tried."""
    drawn = torch.Generator().manual_seed(0)
    h, sent = torch.randn(2, 1000, generator=drawn, dtype=torch.float64)
    h = h * 10 ** torch.linspace(-3, 3, 1000, dtype=torch.float64)  # from small to large, and so what is sent
    sent = sent * torch.linspace(0, 2, 1000, dtype=torch.float64) ** 3
    sent[::7] = 0
    mixed = torch.randperm(1000, generator=drawn)
    places = [mixed, *mixed.split(300), *torch.arange(1000).split([100, 700, 200])]
    whole = surrogate.pullback(sent[None], h[None])[0]
    parts = [surrogate.pullback(sent[None, i], h[None, i])[0] for i in places]
    there = [whole[i] for i in places]
    alike = [torch.allclose(a, b, rtol=1e-12, atol=1e-300) for a, b in zip(there, parts, strict=True)]
    return all(alike) and not whole[sent == 0].any()


def _compiled(problem: Subspaces, surrogate, w: Tensor, steps, step_size, threads) -> Classified:
    """Every run alone, in one loop, for a known form; else together, the slope by the surrogate itself."""
    from coarsegrad.sim import classify_compiled as kernels

    classes, k = problem.classes, problem.neurons
    x = problem.x.view(classes, 2, -1, problem.width)[:, 0]
    half, each = x.shape[1], torch.bincount(problem.served, minlength=classes)
    labels = problem.labels.view(classes, 2, half, -1).mT.contiguous()
    first = torch.cat([torch.zeros(1, dtype=torch.int64), each.cumsum(0)])
    fixed = kernels.Fixed(
        x.mT.contiguous().numpy(), np.array(problem.radii), labels.numpy(), first.numpy(), problem.v,
        problem.top, problem.rounding == "ceil", problem.weights == "binary",
    )  # fmt: skip
    asked = problem.points * int(each.topk(2).values.sum()) + kernels.BLOCK
    form, measured = _form(surrogate) or (None, False)
    ends, told = w.clone().numpy(), np.zeros((len(w), 5))
    size = 1 if form else max(1, min(-(-len(w) // max(1, threads)), _HELD // (24 * asked)))

    def rooms(*runs: int):
        rows, lists = (*runs, classes, k, half), (*runs, classes, classes, problem.points // classes)
        return kernels.Room(
            np.empty(rows), np.empty(rows), np.empty(lists, np.uint64), np.empty(lists), np.empty(lists),
            np.empty((*runs, classes, classes), np.int64),
        )  # fmt: skip

    def alone(run: int) -> None:
        kernels.descend(ends[run], fixed, rooms(), steps, step_size, form, measured, told[run])

    def together(begin: int) -> None:
        w, mine = ends[begin : begin + size], told[begin : begin + size]
        room, begins = rooms(len(w)), np.zeros(len(w), np.int64)
        h, upstream, pulled = torch.empty(3, len(w) * asked, dtype=torch.float64)
        mine[:, 3] = -1
        for step in range(steps + 1):
            length = kernels.ahead(w, fixed, room, begins, h.numpy(), upstream.numpy(), mine)
            for low in range(0, length, _SLICE):
                part = slice(low, min(low + _SLICE, length))
                pulled[part] = surrogate.pullback(upstream[part], h[part])
            if not kernels.back(w, fixed, room, begins, pulled.numpy(), step, step == steps, step_size, mine):
                break

    with ThreadPoolExecutor(max(1, min(threads, -(-len(w) // size)))) as pool:
        list(pool.map(alone if form else together, range(0, len(w), size)))
    loss, accuracy, largest, solved, still = torch.from_numpy(told).unbind(-1)
    return Classified(
        w=torch.from_numpy(ends), steps=solved.long(), loss=loss, accuracy=accuracy, largest=largest,
        still=still > 0, method="compiled",
    )  # fmt: skip
