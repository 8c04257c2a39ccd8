"""The pair inside a user's own ``nn.Module``: plan, prepare, calibrate, train, convert."""

from coarsegrad.nn.calibrate import calibrate, reestimate_bn
from coarsegrad.nn.fake_quantize import FakeQuantize
from coarsegrad.nn.fold import fold_bn
from coarsegrad.nn.groups import parameter_groups
from coarsegrad.nn.plan import Plan, plan
from coarsegrad.nn.prepare import convert, pairs, prepare, quantize, set_progress
from coarsegrad.nn.recipe import Bits, Recipe, Rule

__all__ = [
    "Bits",
    "FakeQuantize",
    "Plan",
    "Recipe",
    "Rule",
    "calibrate",
    "convert",
    "fold_bn",
    "pairs",
    "parameter_groups",
    "plan",
    "prepare",
    "quantize",
    "reestimate_bn",
    "set_progress",
]
