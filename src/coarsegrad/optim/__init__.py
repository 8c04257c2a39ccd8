"""Optimizers for quantized training: any torch optimizer with a map on its latents, Bop, ergodic averages.

``Lion`` and ``Muon``, which torch lacks or has in part, train any parameters.

>>> sorted(RULES)
['binary_relax', 'blend', 'clip', 'dampen', 'freeze', 'induce', 'parq', 'prox_quant', 'watch']
"""

from coarsegrad.optim.bop import Bop, Together
from coarsegrad.optim.ergodic import Ergodic
from coarsegrad.optim.latent import Latent
from coarsegrad.optim.lion import Lion
from coarsegrad.optim.muon import Muon
from coarsegrad.optim.oscillation import Dampen, Freeze, Induce, Watch
from coarsegrad.optim.rules import PARQ, BinaryRelax, Blend, Clip, ProxQuant, Rule

__all__ = [
    "Latent", "Rule", "Clip", "Blend", "BinaryRelax", "ProxQuant", "PARQ", "Dampen", "Freeze",
    "Induce", "Watch", "RULES",
    "Bop", "Together", "Lion", "Muon",
    "Ergodic",
]  # fmt: skip

RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Clip, Blend, BinaryRelax, ProxQuant, PARQ, Dampen, Freeze, Induce, Watch)
}
