"""``Latent``: any torch optimizer, with a map on the latents before and after its step.

Weight decay needs no rule. A decay of the base optimizer pulls latents towards 0 like any other parameter;
since the forward pass sees only their level, it shrinks nothing there: it brings every latent closer to
flipping. To leave latents undecayed, give them a parameter group with ``weight_decay=0``.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from coarsegrad.optim.rules import Rule, State
from coarsegrad.spec import write

Pair = tuple[Tensor, Any]


class Latent(Optimizer):
    """The base optimizer's step between the ``before`` and ``after`` maps of some rules.

    Args:
        base: any torch optimizer that already holds the pairs' parameters. Its parameter groups and state
            are this one's: schedulers, ``GradScaler`` and hooks work on either.
        pairs: ``(parameter, quantizer)`` for every latent, as ``coarsegrad.nn.pairs(model)`` yields them. See
            ``coarsegrad.optim.rules`` for what a quantizer must offer.
        rules: applied to every pair, in this order. None at all is plain straight-through training.

    A parameter without a gradient is left alone, by the rules as by the base optimizer. Example: the latent
    of a weight that wants to be 3 stays in BinaryConnect's box.

    >>> from types import SimpleNamespace
    >>> from coarsegrad.optim import Clip, Latent
    >>> binary = SimpleNamespace(quantize=torch.sign)
    >>> w = torch.nn.Parameter(torch.tensor([0.2]))
    >>> optimizer = Latent(torch.optim.SGD([w], lr=1.0), [(w, binary)], rules=[Clip(-1, 1)])
    >>> w.grad = torch.tensor([-2.0])
    >>> optimizer.step()
    >>> w.data
    tensor([1.])
    """

    def __init__(self, base: Optimizer, pairs: Iterable[Pair], rules: Iterable[Rule] = ()):
        if not isinstance(base, Optimizer):
            raise TypeError(f"Latent(base=...) takes a torch optimizer, got {type(base).__name__}")
        if isinstance(base, Latent):
            raise TypeError("Latent around a Latent: give all rules to one, in order, as rules=[...]")
        self.base = base
        self.rules = tuple(rules)
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise TypeError(f"Latent(rules=...) takes rules such as Clip(), got {rule!r}")
        self.pairs: list[Pair] = []
        self.steps = 0
        self._memory: list[list[State]] = []  # [pair][rule]
        self.__setstate__({})  # torch's hooks; its __init__ would make parameter groups of its own
        self._take(pairs)

    @property
    def param_groups(self):  # the base replaces its list when it loads: never keep a copy
        return self.base.param_groups

    @property
    def state(self):
        return self.base.state

    @property
    def defaults(self):
        return self.base.defaults

    def __getstate__(self):
        kept = ("base", "rules", "pairs", "steps", "_memory")
        return {name: self.__dict__[name] for name in kept}

    def __repr__(self):
        rules = ", ".join(map(write, self.rules))
        return f"Latent({self.base!r}, {len(self.pairs)} pairs, rules=[{rules}])"

    def zero_grad(self, set_to_none: bool = True):
        """As the base optimizer's."""
        self.base.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any], pairs: Iterable[Pair] = ()):
        """Adds a group to the base optimizer, and pairs among its parameters or those already held."""
        self.base.add_param_group(param_group)
        self._take(pairs)

    def step(self, closure: Callable[[], Any] | None = None):
        """One step; returns the closure's loss, or None.

        With an optimizer that calls its closure several times (LBFGS), rules see each of its gradients, and
        ``before`` runs once, at the first.
        """
        moved: list[int] = []

        def evaluate():
            assert closure is not None
            loss = closure()
            self._prepare(moved)
            return loss

        if closure is None:
            self._prepare(moved)
            loss = self.base.step()
        else:
            loss = self.base.step(evaluate)
        self._finish(moved)
        return loss

    @contextmanager
    def hard(self):
        """Inside, the forward pass sees quantized weights whatever a rule relaxes: for evaluation.

        The relaxations are back at exit, also after an error.
        """
        self._relax(None)
        try:
            yield
        finally:
            self._relax(self._relaxing())

    def memory(self, parameter: Tensor) -> list[State]:
        """What each rule remembers about a parameter, in the rules' order: a look, not a copy."""
        for (held, _), states in zip(self.pairs, self._memory, strict=True):
            if held is parameter:
                return states
        raise KeyError(f"no pair holds this parameter of shape {tuple(parameter.shape)}")

    def state_dict(self):
        """The base optimizer's state dict, with one more entry, "latent": steps, rules and their memory."""
        return {
            **self.base.state_dict(),
            "latent": {
                "steps": self.steps,
                "rules": [write(rule) for rule in self.rules],
                "shapes": self._shapes(),
                "memory": [[dict(state) for state in states] for states in self._memory],
            },
        }

    def load_state_dict(self, state_dict: dict[str, Any]):
        """Continues from a ``state_dict``: same rules, pairs and shapes, or a ValueError and no change."""
        saved = dict(state_dict)
        if "latent" not in saved:
            raise ValueError('no "latent" entry: a bare optimizer\'s state; load it into Latent(...).base')
        own = saved.pop("latent")
        here = {"rules": [write(rule) for rule in self.rules], "shapes": self._shapes()}
        for what, expected in here.items():
            if own[what] != expected:
                raise ValueError(f"saved with other {what}: {own[what]}; this optimizer has {expected}")
        described = [[_describe(state) for state in states] for states in own["memory"]]
        expected = [[_describe(state) for state in states] for states in self._memory]
        if described != expected:
            raise ValueError(f"the saved memory of the rules is {described}; this optimizer's is {expected}")
        self.base.load_state_dict(saved)
        self.steps = own["steps"]
        self._memory = [
            [
                {name: tensor.to(mine[name].device, copy=True) for name, tensor in state.items()}
                for mine, state in zip(mines, states, strict=True)
            ]
            for mines, states in zip(self._memory, own["memory"], strict=True)
        ]
        self._relax(self._relaxing())

    @torch.no_grad()
    def _take(self, pairs: Iterable[Pair]):
        held = {id(p) for group in self.param_groups for p in group["params"]}
        new, taken = list(pairs), {id(p) for p, _ in self.pairs}
        for index, (parameter, _) in enumerate(new):
            where = f"pair {index} (parameter of shape {tuple(parameter.shape)})"
            if id(parameter) not in held:
                raise ValueError(f"{where} is not among the base optimizer's parameters: add it there")
            if id(parameter) in taken:
                raise ValueError(f"{where} comes twice: a parameter has one quantizer")
            taken.add(id(parameter))
        self.pairs += new
        self._memory += [[rule.init(p, quantizer) for rule in self.rules] for p, quantizer in new]
        self._relax(self._relaxing())

    @torch.no_grad()
    def _prepare(self, moved: list[int]):
        first = not moved
        for index, (parameter, quantizer) in enumerate(self.pairs):
            if parameter.grad is None:
                continue
            grad, latent = parameter.grad, parameter.detach()
            for rule in self.rules:
                grad = rule.gradient(grad, latent, quantizer, self.steps)
            _put(parameter.grad, grad)
            if first:
                moved.append(index)
                for rule in self.rules:
                    latent = rule.before(latent, quantizer, self.steps)
                _put(parameter, latent)

    @torch.no_grad()
    def _finish(self, moved: list[int]):
        for index in moved:
            parameter, quantizer = self.pairs[index]
            latent, states = parameter.detach(), self._memory[index]
            for place, rule in enumerate(self.rules):
                latent, states[place] = rule.after(latent, states[place], quantizer, self.steps)
            _put(parameter, latent)
        self.steps += 1
        self._relax(self._relaxing())

    def _relaxing(self) -> Rule | None:
        _, quantizer = self.pairs[0] if self.pairs else (None, None)
        found = [rule for rule in self.rules if rule.relaxation(quantizer, self.steps) is not None]
        if len(found) > 1:
            raise ValueError(
                f"two rules decide what the forward pass sees; keep one of {', '.join(map(write, found))}"
            )
        return found[0] if found else None

    def _relax(self, rule: Rule | None):
        for _, quantizer in self.pairs:
            wanted = None if rule is None else rule.relaxation(quantizer, self.steps)
            if wanted is None and getattr(quantizer, "relax", None) is None:
                continue
            try:
                quantizer.relax = wanted
            except AttributeError as error:
                raise TypeError(
                    f"{write(rule)} changes what the forward pass sees, and needs a quantizer whose relax "
                    f"can be set; {type(quantizer).__name__} refuses: {error}"
                ) from error

    def _shapes(self) -> list[list[int]]:
        return [list(p.shape) for group in self.param_groups for p in group["params"]] + [
            list(p.shape) for p, _ in self.pairs
        ]


def _put(target: Tensor, value: Tensor):
    if value is not target and value.data_ptr() != target.data_ptr():
        target.copy_(value)


def _describe(state: State) -> dict[str, str]:
    return {name: f"{tensor.dtype}{list(tensor.shape)}" for name, tensor in state.items()}
