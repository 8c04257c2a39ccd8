"""Training quantized neural networks with straight-through estimators, and knowing whether they work.

The verbs and nouns of the public face come from their own rooms when first asked for: ``import coarsegrad``
alone does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coarsegrad.core.quantizer import Quantizer
    from coarsegrad.core.ste import through
    from coarsegrad.core.surrogate import Surrogate
    from coarsegrad.nn import (
        Recipe,
        Rule,
        calibrate,
        convert,
        fold_bn,
        pairs,
        plan,
        prepare,
        quantize,
        reestimate_bn,
        set_progress,
    )

__version__ = "0.1.0"

__all__ = [
    "quantize", "prepare", "convert", "plan", "calibrate", "Recipe", "Rule",
    "pairs", "fold_bn", "reestimate_bn", "set_progress",
    "through", "Surrogate", "Quantizer",
    "__version__",
]  # fmt: skip

_HOMES = {
    "Quantizer": "coarsegrad.core.quantizer",
    "Surrogate": "coarsegrad.core.surrogate",
    "through": "coarsegrad.core.ste",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'coarsegrad' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(_HOMES.get(name, "coarsegrad.nn")), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
