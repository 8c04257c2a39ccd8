"""Recipes: which quantizer and which surrogate go where, in one frozen value and one written form."""

import fnmatch
import re
from dataclasses import dataclass, field, replace
from typing import ClassVar

from coarsegrad import spec
from coarsegrad.core.learned import LSQ, QUANTIZERS
from coarsegrad.core.quantizer import Quantizer
from coarsegrad.core.quantizers import Binary
from coarsegrad.core.scales import Scale
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.core.windows import HardTanh

PLACES = ("inputs", "relus", "instead_of_relus")
CATALOGUES = (QUANTIZERS, SURROGATES, {"scale": Scale})


@dataclass(frozen=True)
class Bits:
    """What a layer gets: a weight and an activation quantizer, each None for float."""

    weight: Quantizer | None = None
    activation: Quantizer | None = None
    name: ClassVar[str] = "bits"

    def __post_init__(self):
        scale = getattr(self.activation, "scale", None)
        if scale is not None and (scale.axis is not None or scale.group is not None):
            raise ValueError("activations have one scale per tensor: Scale(...) without axis and group")

    @classmethod
    def read(cls, text: "str | Bits") -> "Bits":
        """From ``w2a2`` (0 and 32 mean float), ``float``, or ``weight=...;activation=...`` in written form.

        >>> Bits.read("w4a32").activation is None
        True
        """
        if isinstance(text, Bits):
            return text
        if text == "float":
            return cls()
        match = re.fullmatch(r"w(\d+)a(\d+)", text.strip().lower())
        if match:
            return cls(weight_quantizer(int(match[1])), activation_quantizer(int(match[2])))
        parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
        if parts and set(parts) <= {"weight", "activation"}:
            return cls(**{key: spec.read(value, *CATALOGUES) for key, value in parts.items()})
        raise ValueError(
            f"cannot read bits {text!r}; write w2a2, float, or weight=NAME(...);activation=NAME(...)"
        )


def weight_quantizer(bits: int) -> Quantizer | None:
    """The default for weights: per channel, at 1 bit binary with mean|w|, above LSQ; None for 32."""
    if bits in (0, 32):
        return None
    if bits == 1:
        return Binary(scale=Scale("mean_abs", axis=0, live=True))
    return LSQ(bits=bits, signed=True, scale=Scale("mse", axis=0, learned=True))


def activation_quantizer(bits: int) -> Quantizer | None:
    """The default for activations: LSQ per tensor, signed as calibration finds; None for 32 (float)."""
    return None if bits in (0, 32) else LSQ(bits=bits, signed=None, scale=Scale("mse", learned=True))


@dataclass(frozen=True)
class Rule:
    """These bits for modules whose name matches ``match`` (a file name pattern), of type ``kind``.

    >>> Rule.read("decoder.*:Linear=w4a8").kind
    'Linear'
    """

    match: str = "*"
    bits: str | Bits = "float"
    kind: str | None = None
    name: ClassVar[str] = "rule"

    def __post_init__(self):
        Bits.read(self.bits)

    def applies(self, name: str, kind: str) -> bool:
        """Whether it speaks of this module."""
        return fnmatch.fnmatchcase(name, self.match) and self.kind in (None, kind)

    @classmethod
    def read(cls, text: str) -> "Rule":
        """From ``PATTERN=BITS`` or ``PATTERN:Type=BITS``."""
        where, sign, bits = text.partition("=")
        if not sign:
            raise ValueError(
                f"cannot read rule {text!r}; write PATTERN=w4a8, PATTERN:Type=w4a8 or PATTERN=float"
            )
        match, _, kind = where.partition(":")
        return cls(match.strip() or "*", bits.strip(), kind.strip() or None)


@dataclass(frozen=True)
class Recipe:
    """How a model is quantized.

    ``bits`` holds for every supported layer; ``first``, ``last`` and ``embeddings`` for those layers (None:
    like all others); then ``rules`` in order, the last match wins. ``activations`` says where they are
    quantized: at the ``inputs`` of quantized layers; at the outputs of ReLU-like modules (``relus``); or with
    the quantizer ``instead_of_relus``, as the theory has it (Yin et al. 2019, arXiv:1903.05662): only then
    does a surrogate such as the identity pass gradients where a ReLU before it would stop them.
    ``weight_surrogate`` None is the usual one: slope 1 between the outer levels, the identity for sign,
    ternary, DoReFa weights.

    >>> Recipe("w2a2", rules=(Rule("head", "w8a8"),)).bits
    'w2a2'
    """

    bits: str | Bits = "w4a4"
    weight_surrogate: Surrogate | None = None
    activation_surrogate: Surrogate = field(default=HardTanh())
    first: str | Bits | None = "w8a8"
    last: str | Bits | None = "w8a8"
    embeddings: str | Bits | None = "w8a32"
    rules: tuple[Rule, ...] = ()
    activations: str = "inputs"
    name: ClassVar[str] = "recipe"

    def __post_init__(self):
        if self.activations not in PLACES:
            raise ValueError(
                f"Recipe(activations={self.activations!r}) is unknown; known: {', '.join(PLACES)}"
            )
        for bits in (self.bits, self.first, self.last, self.embeddings):
            if bits is not None:
                Bits.read(bits)
        for name in ("weight_surrogate", "activation_surrogate"):
            surrogate = getattr(self, name)
            if isinstance(surrogate, str):
                object.__setattr__(self, name, spec.read(surrogate, SURROGATES))
            elif surrogate is not None and not hasattr(surrogate, "slope"):
                raise TypeError(
                    f"Recipe({name}=...) takes a surrogate or its written form, such as 'clipped_relu'; "
                    f"got {surrogate!r}"
                )
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise ValueError(
                    f"Recipe(rules=...) holds Rule objects, got {rule!r}; Rule.read('PATTERN=w4a8') makes one"
                )

    @classmethod
    def read(cls, text: "str | Recipe") -> "Recipe":
        """From bits (``w2a2``, ``activation=pact(bits=4)``) or the full form ``recipe(bits='w2a2', ...)``."""
        if isinstance(text, Recipe):
            return text
        if not text.strip().startswith("recipe"):
            Bits.read(text.strip())
            return cls(bits=text.strip())
        return spec.read(text, *CATALOGUES, {"recipe": cls, "rule": Rule, "bits": Bits})


def on_axis(quantizer: Quantizer, axis: int) -> Quantizer:
    """The same quantizer with its per-channel scale on the layer's own channel axis."""
    scale = getattr(quantizer, "scale", None)
    if isinstance(scale, Scale) and scale.axis is not None and scale.axis != axis and scale.group is None:
        return replace(quantizer, scale=replace(scale, axis=axis))  # pyright: ignore
    return quantizer
