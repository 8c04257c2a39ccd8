"""The optimizer of a plan: which parameters decay, and who looks after the latents."""

from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from coarsegrad.nn import FakeQuantize, pairs
from coarsegrad.nn.sites import EMBEDDINGS, PLAIN, TRANSPOSED, stored
from coarsegrad.optim import Bop, Latent, Lion, Muon, Together
from coarsegrad.train.plan import BopRule, TrainPlan


def make_optimizer(plan: TrainPlan, model: nn.Module) -> Optimizer:
    """The plan's optimizer over the model, inside ``Latent`` or beside ``Bop`` where it has latent rules.

    Weight decay leaves the quantizers' own parameters alone. Every group remembers its ``initial_lr``.

    Adam, AdamW, Lion and Muon move a number by about the learning rate, however small the number and its
    gradient are: a step between levels of 3e-4 by many times itself. LSQ's factor, which makes steps and
    weights change alike in units of themselves (arXiv:1902.08153, section 2.2), has no effect there. So under
    these the rate of a weight quantizer's parameters is multiplied by their mean size over that of the
    weights, that of an activation quantizer's by their mean size, as they are when the optimizer is made.
    Under SGD they have the rate itself.

    Raises ``ValueError`` where ``bop`` finds no binary weight, or ``muon`` no hidden layer.
    """
    rules, held = plan.read_latent(), list(pairs(model))
    bop = rules[0] if rules and isinstance(rules[0], BopRule) else None
    binary = [(p, q) for p, q in held if len(q.quantizer.levels) == 2] if bop else []
    if bop and not binary:
        raise ValueError("latent=('bop(...)',) trains binary weights, and this recipe has none: try w1a2")
    taken = {id(p) for p, _ in binary}
    own = {m: list(m.parameters(recurse=False)) for m in model.modules() if isinstance(m, FakeQuantize)}
    taken |= {id(p) for values in own.values() for p in values}
    rest = [p for p in model.parameters() if id(p) not in taken and p.requires_grad]
    parts: list[Optimizer] = [Bop(binary, threshold=bop.threshold, lr=bop.lr)] if bop else []
    if plan.optimizer == "muon":
        hidden = [p for p in hidden_weights(model) if id(p) not in taken and p.requires_grad]
        if not hidden:
            raise ValueError(
                "optimizer='muon' trains the weights of hidden layers, between the first and the last, and "
                "finds none to train: try 'adamw'"
            )
        parts.append(Muon(hidden, lr=plan.lr, momentum=plan.momentum, weight_decay=plan.weight_decay))
        rest = [p for p in rest if id(p) not in set(map(id, hidden))]
    groups = [{"params": rest, "weight_decay": plan.weight_decay}]
    if plan.optimizer == "sgd":
        groups.append({"params": [p for values in own.values() for p in values], "weight_decay": 0.0})
    else:
        weights = {q: _size([p]) for p, q in held}
        groups += [
            {"params": values, "weight_decay": 0.0, "lr": plan.lr * _size(values) / weights.get(q, 1.0)}
            for q, values in own.items()
        ]
    groups = [group for group in groups if group["params"]]
    parts += [_base(plan, groups)] if groups else []
    optimizer = parts[0] if len(parts) == 1 else Together(parts)
    if rules and not bop:
        optimizer = Latent(optimizer, held, rules)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Every group's learning rate: its initial one times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def hidden_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of linear and convolutional layers between the first layer and the last.

    Layers are in the order in which the model lists them; an embedding is a layer, and never a hidden one.
    """
    layers = [m for m in model.modules() if isinstance(m, PLAIN + TRANSPOSED + EMBEDDINGS)]
    inner = [m for m in layers[1:-1] if not isinstance(m, EMBEDDINGS)]
    return [p for m in inner for p in stored(m, "weight") if isinstance(p, nn.Parameter) and p.dim() > 1]


def _size(values: list[nn.Parameter]) -> float:
    """The mean size of the first, of a quantizer its step or clip; 1 where there is none or it is 0."""
    return (float(values[0].detach().abs().mean()) if values else 0.0) or 1.0


def _base(plan: TrainPlan, groups: list[dict[str, Any]]) -> Optimizer:
    """What trains everything that has no optimizer of its own; beside Muon that is AdamW, first beta 0.9."""
    if plan.optimizer == "sgd":
        return SGD(groups, lr=plan.lr, momentum=plan.momentum)
    if plan.optimizer == "lion":
        return Lion(groups, lr=plan.lr, betas=(plan.momentum, 0.99))
    kind = Adam if plan.optimizer == "adam" else AdamW
    first = 0.9 if plan.optimizer == "muon" else plan.momentum
    return kind(groups, lr=plan.lr, betas=(first, 0.999))
