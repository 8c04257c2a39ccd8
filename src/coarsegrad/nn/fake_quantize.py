"""One quantizer in a network: a quantizer, a surrogate, and the state that `core` does not hold."""

import math
import warnings

import torch
from torch import Tensor, nn

from coarsegrad.core.learned import LSQPlus
from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.quantizers import DoReFaWeight, Uniform
from coarsegrad.core.scales import thinned
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.windows import ClippedReLU, HardTanh, Identity, ReLU

_SAMPLE = 2**16


class FakeQuantize(nn.Module):
    """Float in, quantized float out, gradient through the surrogate.

    A weight's values are fitted when the module is made; an activation's on the first training batch, or by
    ``calibrate``. Evaluating before that raises ``RuntimeError``. Trained values are parameters, fitted ones
    buffers; ``state_dict`` loads with ``strict=True``.

    ``relax``, if set, maps (latent, quantized) to the value the network sees instead of the quantized one,
    with the gradient of the identity (BinaryRelax, ProxQuant).

    >>> from coarsegrad.core.quantizers import Uniform
    >>> q = FakeQuantize(Uniform(bits=2, signed=False))
    >>> q(torch.rand(8)).unique().numel() <= 4
    True
    """

    def __init__(
        self, quantizer: Quantizer, surrogate: Surrogate | None = None, weight: Tensor | None = None
    ):
        super().__init__()
        self.quantizer = quantizer
        self.role = "activation" if weight is None else "weight"
        self.surrogate: Surrogate = _usual(quantizer, self.role) if surrogate is None else surrogate
        self.relax = None
        self.place = ""
        self._seen: list[Tensor] | None = None
        self._ready = quantizer.live
        self.register_buffer("ready", torch.tensor(quantizer.live))
        self.register_buffer("form", _form(quantizer))  # so that a state of another quantizer is refused
        self._undecided = isinstance(quantizer, Uniform) and quantizer.signed is None
        if self._undecided:
            self.register_buffer("signed", torch.tensor(False))
        self._scheduled = self.surrogate.at(0.5) != self.surrogate
        if self._scheduled:
            self.register_buffer("progress", torch.tensor(0.0))
        self.learned = quantizer.learned
        self._names: tuple[str, ...] = ()
        if weight is not None:
            if self._undecided:
                self._decide(bool(weight.min() < 0))
            self._keep(self.quantizer.fit(weight))
            self._set_ready()
        else:
            decided = _with_sign(quantizer, False) if self._undecided else quantizer
            self._keep(decided.fit(torch.linspace(0, 1, 64)))
        self._refresh()

    def forward(self, x: Tensor) -> Tensor:
        """Quantize x, same shape and dtype."""
        if self._seen is not None:
            self._watch(x)
            return x
        if not self._ready:
            self._start(x)
        return self._quantized(x, self._over)

    def behind_relu(self, x: Tensor) -> Tensor:
        """``self(relu(x))``, gradient included; one step for windows where the lowest level is 0."""
        if self.started and self._over is not None and self._over.passes:
            right = self._over.passes[1]
            if self.quantizer.levels[0] == 0 and "offset" not in self._names and self._over.passes[0] <= 0:
                return self._quantized(x, ReLU() if right == math.inf else ClippedReLU(right))
        return self(torch.relu(x))

    def _quantized(self, x, surrogate):
        values = {} if self.quantizer.live else {name: getattr(self, "raw_" + name) for name in self._names}
        if self._scheduled:
            surrogate = surrogate.at(self.progress)
        count = None
        if self.role == "activation" and x.dim() > 1:
            count = math.prod(x.shape[1:])
        quantizer = self.quantizer if self.training else self._settled
        y = quantizer(x, surrogate, count=count, **values)
        if self.relax is not None:
            return x + (self.relax(x.detach(), y.detach()) - x).detach()
        return y

    @property
    def started(self) -> bool:
        """Whether it quantizes now: it has its values, and is not observing."""
        return self._ready and self._seen is None

    # What `optim` and `export` ask of a pair's quantizer.

    @torch.no_grad()
    def quantize(self, x: Tensor) -> Tensor:
        """The quantized value, outside autograd and untouched by ``relax``."""
        return self._settled(x, None, count=None, **self.values(x))

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """The index of each element's level, int64."""
        return self.quantizer.codes(x, **self.values(x))

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """The value of each code."""
        return self.quantizer.dequantize(codes, **(self._last if self.quantizer.live else self.values(codes)))

    @property
    def scale(self) -> Tensor:
        """The positive scale in use (of a live one: the last); broadcasts against the (grouped) tensor."""
        return self.quantizer.spacing(self._last if self.quantizer.live else self.values(self.ready)).detach()  # pyright: ignore

    @torch.no_grad()
    def values(self, x: Tensor) -> dict[str, Tensor]:
        """The fitted and trained values in use for x."""
        if self.quantizer.live:
            self._last = self.quantizer.fit(x)
            return self._last
        return {name: getattr(self, "raw_" + name).detach() for name in self._names}

    def set_progress(self, progress: float) -> None:
        """Tell a scheduled surrogate how far training is, in [0, 1]."""
        if not 0 <= progress <= 1:
            raise ValueError(f"progress must lie in [0, 1], got {progress}")
        if self._scheduled:
            self.progress.fill_(progress)  # pyright: ignore

    # Starting values.

    def observe(self, on: bool) -> None:
        """While observing, x passes unchanged and is remembered (a sample, and its extremes)."""
        if on:
            self._seen = []
        elif self._seen is not None:
            seen, self._seen = self._seen, None
            if seen:
                self.start_from(torch.cat(seen))

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Fit the values to x: over all ranks where there are several."""
        x = _gathered(x.detach())
        if not x.numel():
            raise ValueError(f"{self.place or 'a quantizer'} cannot be calibrated: its input is empty")
        if not torch.isfinite(x).all():
            raise ValueError(f"{self.place or 'a quantizer'} cannot be calibrated: its input is not finite")
        if self._undecided:
            self._decide(_better_signed(self.quantizer, x))
        if not self.quantizer.live:
            for name, value in self.quantizer.fit(x).items():
                getattr(self, "raw_" + name).copy_(value)
        self._set_ready()

    def _start(self, x):
        if torch.compiler.is_compiling():
            raise RuntimeError(
                f"{self.place or 'a quantizer'} has no scale yet: calibrate before torch.compile"
            )
        if not self.training:
            raise RuntimeError(
                f"{self.place or 'a quantizer'} has no scale yet: run calibrate(model, batches) "
                "or one training batch before evaluating"
            )
        self.start_from(x)
        if x.requires_grad and self._over is not None and self.quantizer.levels[0] < 0:
            below = x.detach()[x.detach() < 0][:1] * 0 - 0.5
            if below.numel() and not self._over.pullback(torch.ones_like(below), below).any():
                warnings.warn(
                    "a surrogate that is 0 below zero stops the gradient of negative values, and an input "
                    'has them: take a two-sided one such as hardtanh, or quantize at activations="relus"',
                    stacklevel=2,
                )

    def _watch(self, x):
        seen, flat = self._seen, x.detach().flatten()
        assert seen is not None
        if not flat.numel():
            return
        seen += [thinned(flat, _SAMPLE).float(), flat.min().float().reshape(1), flat.max().float().reshape(1)]

    def _keep(self, values):
        self._last = {name: value.detach() for name, value in values.items()}
        self._names = () if self.quantizer.live else tuple(values)
        for name in self._names:
            value = values[name].detach().clone()
            if name in self.learned:
                self.register_parameter("raw_" + name, nn.Parameter(value))
            else:
                self.register_buffer("raw_" + name, value)

    def _decide(self, signed: bool):
        self.quantizer = _with_sign(self.quantizer, signed)
        self.signed.fill_(signed)  # pyright: ignore
        self._refresh()

    def _set_ready(self):
        self._ready = True
        self.ready.fill_(True)  # pyright: ignore

    def _refresh(self):
        self._settled = self.quantizer.settled()  # in eval mode nothing is left to chance
        decided = not (isinstance(self.quantizer, Uniform) and self.quantizer.signed is None)
        own = getattr(self.quantizer, "own_surrogate", False)
        self._over = self.surrogate.over(self.quantizer.window) if decided and not own else None

    def _load_from_state_dict(self, state_dict, prefix, *args):
        theirs, errors = state_dict.get(prefix + "form"), args[-1]
        if theirs is not None and bytes(theirs.tolist()) != bytes(self.form.tolist()):  # pyright: ignore
            told, mine = (bytes(t.tolist()).decode(errors="replace") for t in (theirs, self.form))  # pyright: ignore
            errors.append(
                f"{prefix}: this state is of {told}, the model has {mine}: prepare it with the same recipe"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._ready = bool(self.ready)
        if self._undecided and self._ready:
            self._decide(bool(self.signed))

    def extra_repr(self) -> str:
        """Role, quantizer and surrogate in their written form."""
        from coarsegrad import spec

        return f"{self.role}, {spec.write(self.quantizer)}, {getattr(self.surrogate, 'name', 'own')}"


def _form(quantizer):
    from coarsegrad import spec

    return torch.tensor(list(spec.write(quantizer).encode()), dtype=torch.uint8)


def _better_signed(quantizer, x):
    """Whether signed levels fit x better: never where it is not negative, else by squared error."""
    if not bool(x.min() < 0):
        return False
    x = thinned(x)
    missed = []
    for signed in (False, True):
        q = _with_sign(quantizer, signed)
        missed.append(float((q.settled()(x, **q.fit(x)) - x).square().mean()))
    return missed[1] <= missed[0]


def _usual(quantizer, role):
    """The identity for weights without a clip of their own (sign, ternary, tanh), else the levels' window.

    Such a weight's scale is the mean size: a window of that width would stop the gradient of all larger ones.
    """
    unclipped = quantizer.live or quantizer.bits == 1 or isinstance(quantizer, DoReFaWeight)
    return Identity() if role == "weight" and unclipped else HardTanh()


def _with_sign(quantizer, signed):
    from dataclasses import replace

    if isinstance(quantizer, LSQPlus):
        return replace(quantizer, signed=False)
    return replace(quantizer, signed=signed)


def _gathered(x):
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    sizes = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(dist.get_world_size())]
    flat = x.contiguous().flatten()
    dist.all_gather(sizes, torch.tensor([flat.numel()], device=x.device))
    longest = int(max(s.item() for s in sizes))
    padded = torch.nn.functional.pad(flat, (0, longest - flat.numel()))
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])
