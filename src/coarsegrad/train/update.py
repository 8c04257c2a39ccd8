"""The optimizer of a plan: which parameters decay, and who looks after the latents."""

from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from coarsegrad.nn import pairs, parameter_groups
from coarsegrad.nn.sites import EMBEDDINGS, PLAIN, TRANSPOSED, stored
from coarsegrad.optim import Bop, Latent, Lion, Muon, Together
from coarsegrad.train.plan import BopRule, TrainPlan


def make_optimizer(plan: TrainPlan, model: nn.Module) -> Optimizer:
    """The plan's optimizer over the model, inside ``Latent`` or beside ``Bop`` where it has latent rules.

    Weight decay leaves the quantizers' own parameters alone, and but for SGD these have rates of their own:
    see `coarsegrad.nn.parameter_groups`. Every group remembers its ``initial_lr``.

    Raises ``ValueError`` where ``bop`` finds no binary weight, or ``muon`` no hidden layer.
    """
    rules, held = plan.read_latent(), list(pairs(model))
    bop = rules[0] if rules and isinstance(rules[0], BopRule) else None
    binary = [(p, q) for p, q in held if len(q.quantizer.levels) == 2] if bop else []
    if bop and not binary:
        raise ValueError("latent=('bop(...)',) trains binary weights, and this recipe has none: try w1a2")
    taken = {id(p) for p, _ in binary}
    parts: list[Optimizer] = [Bop(binary, threshold=bop.threshold, lr=bop.lr)] if bop else []
    if plan.optimizer == "muon":
        hidden = [p for p in hidden_weights(model) if id(p) not in taken and p.requires_grad]
        if not hidden:
            raise ValueError(
                "optimizer='muon' trains the weights of hidden layers, between the first and the last, and "
                "finds none to train: try 'adamw'"
            )
        parts.append(Muon(hidden, lr=plan.lr, momentum=plan.momentum, weight_decay=plan.weight_decay))
        taken |= set(map(id, hidden))
    groups = parameter_groups(
        model, plan.lr, weight_decay=plan.weight_decay, adaptive=plan.optimizer != "sgd"
    )  # fmt: skip
    groups = [group | {"params": [p for p in group["params"] if id(p) not in taken]} for group in groups]
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


def _base(plan: TrainPlan, groups: list[dict[str, Any]]) -> Optimizer:
    """What trains everything that has no optimizer of its own; beside Muon that is AdamW, first beta 0.9."""
    if plan.optimizer == "sgd":
        return SGD(groups, lr=plan.lr, momentum=plan.momentum)
    if plan.optimizer == "lion":
        return Lion(groups, lr=plan.lr, betas=(plan.momentum, 0.99))
    kind = Adam if plan.optimizer == "adam" else AdamW
    first = 0.9 if plan.optimizer == "muon" else plan.momentum
    return kind(groups, lr=plan.lr, betas=(first, 0.999))
