"""The optimizer of a plan: which parameters decay, and who looks after the latents."""

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from coarsegrad.nn import FakeQuantize, pairs
from coarsegrad.optim import Bop, Latent, Together
from coarsegrad.train.plan import BopRule, TrainPlan


def make_optimizer(plan: TrainPlan, model: nn.Module) -> Optimizer:
    """The plan's optimizer over the model, inside ``Latent`` or beside ``Bop`` where it has latent rules.

    Weight decay leaves the quantizers' own parameters alone. Every group remembers its ``initial_lr``.
    """
    rules, held = plan.read_latent(), list(pairs(model))
    bop = rules[0] if rules and isinstance(rules[0], BopRule) else None
    binary = [(p, q) for p, q in held if len(q.quantizer.levels) == 2] if bop else []
    if bop and not binary:
        raise ValueError("latent=('bop(...)',) trains binary weights, and this recipe has none: try w1a2")
    taken = {id(p) for p, _ in binary}
    own = [p for m in model.modules() if isinstance(m, FakeQuantize) for p in m.parameters(recurse=False)]
    taken |= {id(p) for p in own}
    rest = [p for p in model.parameters() if id(p) not in taken and p.requires_grad]
    groups = [{"params": rest, "weight_decay": plan.weight_decay}, {"params": own, "weight_decay": 0.0}]
    optimizer = _base(plan, [group for group in groups if group["params"]])
    if bop:
        optimizer = Together([Bop(binary, threshold=bop.threshold, lr=bop.lr), optimizer])
    elif rules:
        optimizer = Latent(optimizer, held, rules)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Every group's learning rate: its initial one times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _base(plan, groups):
    if plan.optimizer == "sgd":
        return SGD(groups, lr=plan.lr, momentum=plan.momentum)
    return {"adam": Adam, "adamw": AdamW}[plan.optimizer](groups, lr=plan.lr, betas=(plan.momentum, 0.999))
