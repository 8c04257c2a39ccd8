"""What is compared: arms, each a recipe with its two surrogates, under one budget and the same seeds."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coarsegrad.train.plan import TrainPlan, read_config

Row = dict[str, Any]

_OF_ARM = ("recipe", "weight_surrogate", "activation_surrogate", "seed")


@dataclass(frozen=True)
class Arm:
    """What a row is about. ``bits`` may be ``float``; ``kind`` is ``run``, or ``ptq`` for untrained."""

    bits: str
    weight_surrogate: str = ""
    activation_surrogate: str = ""
    kind: str = "run"

    def label(self, weights: bool = False) -> str:
        """What a reader sees; with ``weights``, also the weights' surrogate."""
        if self.bits == "float":
            return "float"
        if self.kind == "ptq":
            return f"{self.bits} calibrated only"
        both = f"{self.activation_surrogate} | {self.weight_surrogate}"
        return f"{self.bits} {both if weights else self.activation_surrogate}"


@dataclass(frozen=True)
class Comparison:
    """What is compared: ``bits`` x ``surrogates`` (of activations) x ``weight_surrogates`` x ``seeds``.

    ``base`` says everything else; its own recipe and surrogates stand for nothing, its seed is the first one.
    With ``base.pretrain_epochs`` one float model per seed is trained first, and every arm, the float one too,
    starts from it. ``tune``: learning rates tried for each arm.

    Raises ``ValueError`` for unknown names and for bits that nothing can have.

    >>> [arm.label() for arm in Comparison(surrogates=("relu", "identity")).arms]
    ['w1a2 relu', 'w1a2 identity']
    """

    base: TrainPlan = field(default=TrainPlan(recipe="w1a2"))
    bits: tuple[str, ...] = ("w1a2",)
    surrogates: tuple[str, ...] = ("clipped_relu", "relu", "identity")
    weight_surrogates: tuple[str, ...] = ("usual",)
    seeds: int = 3
    tune: int = 0

    def __post_init__(self):
        for name in ("bits", "surrogates", "weight_surrogates"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, name, tuple(dict.fromkeys(value)))
            if not value or not all(isinstance(v, str) and v for v in value):
                raise ValueError(f"Comparison({name}=...) lists one name or more, got {getattr(self, name)}")
        for name, least in (("seeds", 1), ("tune", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"Comparison({name}=...) is a whole number, {least} or more, got {value!r}")
        if "float" in self.bits:
            raise ValueError("the float model always stands beside the others: leave float out of bits")
        for arm in self.arms:
            self.plan(arm, self.base.seed)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The quantized ones, in the order given."""
        return tuple(Arm(b, w, a) for b in self.bits for w in self.weight_surrogates for a in self.surrogates)

    @property
    def all_seeds(self) -> range:
        """``seeds`` of them from the first."""
        return range(self.base.seed, self.base.seed + self.seeds)

    def plan(self, arm: Arm, seed: int, **changes: Any) -> TrainPlan:
        """How this arm is trained with this seed, pretraining apart."""
        changes = {"seed": seed, "pretrain_epochs": 0, **changes}
        if arm.bits == "float":
            return replace(self.base, recipe=None, latent=(), **changes)
        return replace(
            self.base,
            recipe=arm.bits,
            weight_surrogate=arm.weight_surrogate,
            activation_surrogate=arm.activation_surrogate,
            **changes,
        )

    def values(self) -> dict[str, Any]:
        """Every setting as a plain value, the base's among them."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "base"}
        base = {k: v for k, v in self.base.values().items() if k not in _OF_ARM[:3]}
        return {**own, **base}

    def write(self) -> str:
        """All of it as a TOML table, which `read` reads."""
        own = {k: v for k, v in self.values().items() if k not in self.base.values()}
        lists = "".join(f"{k} = {json.dumps(v)}\n" for k, v in own.items())
        rest = [line for line in self.base.write().splitlines() if line.split(" ")[0] not in _OF_ARM[:3]]
        return lists + "\n".join(rest) + "\n"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Comparison":
        """From plain values; those that are not its own fields are the base plan's."""
        own = {f.name for f in dataclasses.fields(cls)} - {"base"}
        mine: Row = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in own}
        rest = {k: v for k, v in values.items() if k not in own}
        for key in _OF_ARM[:3]:
            if key in rest:
                raise ValueError(f"a comparison has no {key!r}: list bits, surrogates and weight_surrogates")
        return cls(base=TrainPlan.of({"recipe": "w1a2", **rest}), **mine)

    @classmethod
    def read(cls, path: str | Path) -> "Comparison":
        """From a TOML or YAML file."""
        return cls.of(read_config(path))


def arm_of(row: Row) -> Arm:
    """The arm a row of results is about."""
    kind = "ptq" if row.get("epoch") == 0 else "run"
    return Arm(row["bits"], row.get("weight_surrogate", ""), row.get("activation_surrogate", ""), kind)


def learning_rates(lr: float, number: int) -> tuple[float, ...]:
    """``number`` rates around ``lr``, each about sqrt(10) times the one before.

    >>> learning_rates(0.1, 3)
    (0.0316, 0.1, 0.316)
    """
    return tuple(float(f"{lr * 10 ** ((k - (number - 1) / 2) / 2):.3g}") for k in range(number))
