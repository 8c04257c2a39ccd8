"""A training run as one frozen value: everything that decides its weights, checked at the door.

The same plan on the same machine gives the same weights, bit for bit; its ``id`` names them. A plan is a flat
table of plain values: a TOML or YAML file, a row of results and the command line hold the same.
"""

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from coarsegrad import own, spec
from coarsegrad.nn import Recipe, Rule
from coarsegrad.optim import RULES
from coarsegrad.train import data as sources
from coarsegrad.train.zoo import MODELS

PLACES = ("data_folder", "device")  # where a run happens; they do not name it
OPTIMIZERS = ("sgd", "adam", "adamw", "lion", "muon")


def _require(true, message):
    if not true:
        raise ValueError(message)


@dataclass(frozen=True)
class Cosine:
    r"""\(\frac12 (1 + \cos \pi t)\), t the share of epochs done. Loshchilov and Hutter, arXiv:1608.03983."""

    name: ClassVar[str] = "cosine"

    def at(self, epoch: float, epochs: int) -> float:
        """What the learning rate is multiplied by after ``epoch`` of ``epochs``."""
        return (1 + math.cos(math.pi * min(epoch / epochs, 1.0))) / 2


@dataclass(frozen=True)
class Constant:
    """The learning rate stays."""

    name: ClassVar[str] = "constant"

    def at(self, epoch: float, epochs: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """Multiplied by ``factor`` when each of these epochs is done.

    >>> Step(epochs=(20, 40)).at(25.0, 50)
    0.1
    """

    epochs: tuple[int, ...]
    factor: float = 0.1
    name: ClassVar[str] = "step"

    def __post_init__(self):
        whole = isinstance(self.epochs, tuple) and all(isinstance(e, int) and e > 0 for e in self.epochs)
        _require(
            whole, f"step(epochs=...) lists whole numbers, as in step(epochs=(20,40)), got {self.epochs}"
        )
        _require(self.factor > 0, f"step(factor=...) must be positive, got {self.factor}")

    def at(self, epoch: float, epochs: int) -> float:
        """``factor`` to the number of epochs passed."""
        return self.factor ** sum(epoch >= e for e in self.epochs)


@dataclass(frozen=True)
class BopRule:
    """The binary weights go to :class:`coarsegrad.optim.Bop`, everything else to the plan's optimizer."""

    threshold: float = 1e-8
    lr: float = 1e-4
    name: ClassVar[str] = "bop"

    def __post_init__(self):
        if not self.threshold >= 0:
            raise ValueError(f"bop(threshold=...) cannot be negative, got {self.threshold}")
        if not 0 < self.lr <= 1:
            raise ValueError(f"bop(lr=...) is the adaptivity rate and must be in (0, 1], got {self.lr}")


SCHEDULES = {kind.name: kind for kind in (Cosine, Constant, Step)}
LATENT = {**RULES, BopRule.name: BopRule}


@dataclass(frozen=True)
class TrainPlan:
    """What to train, on what, and how. Fields that name things are in written form (``coarsegrad list``).

    - ``recipe``: ``w1a2`` or a full ``recipe(...)``, which then also decides surrogates, ``first``, ``last``,
      ``rules`` and ``activations``; None trains the float model.
    - ``rules``: ``PATTERN=w4a8``; ``latent``: rules of ``coarsegrad.optim`` as ``clip``, or ``bop(...)``.
    - ``pretrain_epochs``: of the float model, with the same schedule and learning rate; then it is quantized,
      calibrated and trained for ``epochs``. ``start``: a file with float weights to begin from.
    - ``optimizer``: ``sgd``, ``adam``, ``adamw``, ``lion``, or ``muon`` for hidden layers' weights beside
      AdamW for the rest. ``momentum`` is also the first beta of Adam, AdamW and Lion, but not of the AdamW
      beside Muon, whose betas are 0.9 and 0.999.
    - ``weight_decay`` holds for all parameters but the quantizers' own (scales, offsets, clips): decay would
      pull a step size to zero, and has nothing to regularize. On latents see ``coarsegrad.optim.latent``.
    - ``teacher``: a run folder or ``MODEL@FILE``; the loss is ``(1 - distill)`` cross entropy + ``distill``
      T^2 KL(teacher || student) at ``temperature`` T. At 1, the default, it is ReActNet's, arXiv:2003.03488.
    - ``held_out``: train on four fifths of the training images, and test on every fifth of them: for tuning.
    - ``batch_norm``: ``train``; ``frozen`` uses running statistics also in training; ``sync`` takes them over
      all processes (GPU). ``warmup`` is in epochs, ``batch_size`` counts all processes together.

    Raises ``ValueError`` that names the mend. ``id()`` depends on all fields but ``data_folder``, ``device``.

    >>> TrainPlan(recipe="w1a2", epochs=5).quantized
    True
    """

    data: str = "digits"
    model: str = "lenet5"
    recipe: str | None = "w2a2"
    weight_surrogate: str = "usual"
    activation_surrogate: str = "hardtanh"
    first: str | None = "w8a8"
    last: str | None = "w8a8"
    rules: tuple[str, ...] = ()
    activations: str = "inputs"
    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.0
    latent: tuple[str, ...] = ()
    grad_clip: float | None = None
    pretrain_epochs: int = 0
    start: str | None = None
    teacher: str | None = None
    distill: float = 1.0
    temperature: float = 1.0
    batch_norm: str = "train"
    reestimate_bn: bool = False
    seed: int = 0
    amp: bool = False
    compile: bool = False
    device: str = "cpu"
    data_folder: str | None = None
    held_out: bool = False
    name: ClassVar[str] = "train"

    def __post_init__(self):
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field, getattr(self, field.name)))
        if self.recipe == "float":
            object.__setattr__(self, "recipe", None)
        _require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        _require(self.pretrain_epochs >= 0, f"pretrain_epochs must be 0 or more, got {self.pretrain_epochs}")
        _require(
            self.quantized or not self.pretrain_epochs,
            "pretrain_epochs come before quantization; with recipe=None give them all as epochs",
        )
        _require(self.batch_size >= 1, f"batch_size must be 1 or more, got {self.batch_size}")
        _require(
            self.optimizer in OPTIMIZERS,
            f"optimizer={self.optimizer!r} is unknown; known: {', '.join(OPTIMIZERS)}",
        )
        _require(self.lr > 0, f"lr must be positive, got {self.lr}")
        _require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}")
        _require(self.weight_decay >= 0, f"weight_decay cannot be negative, got {self.weight_decay}")
        _require(self.warmup >= 0, f"warmup counts epochs and cannot be negative, got {self.warmup}")
        _require(
            self.grad_clip is None or self.grad_clip > 0, f"grad_clip must be positive, got {self.grad_clip}"
        )
        _require(0 <= self.distill <= 1, f"distill must be in [0, 1], got {self.distill}")
        _require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        norms = ("train", "frozen", "sync")
        _require(
            self.batch_norm in norms, f"batch_norm={self.batch_norm!r} is unknown; known: {', '.join(norms)}"
        )
        _require(
            self.batch_norm != "sync" or self.device.startswith("cuda"),
            "batch_norm='sync' is torch's SyncBatchNorm, on CUDA only; on the CPU take 'train' or 'frozen'",
        )
        _require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")
        sources.source(self.data)
        spec.read(self.model, MODELS)
        self.read_schedule()
        self.read_recipe()
        self.read_latent()

    @property
    def quantized(self) -> bool:
        """Whether the trained model is."""
        return self.recipe is not None

    @property
    def total_epochs(self) -> int:
        """Float ones and quantized ones."""
        return self.pretrain_epochs + self.epochs

    def id(self) -> str:
        """16 hexadecimal digits that name the weights this plan leads to."""
        return spec.content_id(self.work())

    def work(self) -> dict[str, Any]:
        """The fields that name the weights; those that later versions added, only where they are used."""
        added = {"held_out": False}
        work = {k: v for k, v in self.values().items() if k not in PLACES and added.get(k) != v}
        relative = self.quantized and self.optimizer != "sgd"  # as parameter_groups has it
        return work | ({"quantizer_rates": "relative"} if relative else {})

    def read_recipe(self) -> Recipe | None:
        """The recipe with its surrogates and rules, or None for float."""
        if self.recipe is None:
            return None
        if self.recipe.startswith("recipe"):
            return Recipe.read(self.recipe)
        return Recipe(
            bits=Recipe.read(self.recipe).bits,
            weight_surrogate=None
            if self.weight_surrogate == "usual"
            else own.surrogate(self.weight_surrogate),
            activation_surrogate=own.surrogate(self.activation_surrogate),
            first=self.first,
            last=self.last,
            rules=tuple(map(Rule.read, self.rules)),
            activations=self.activations,
        )

    def own_sources(self) -> list[own.Source]:
        """The user's own files that its surrogates come from."""
        quantized = (self.weight_surrogate, self.activation_surrogate) if self.quantized else ()
        return own.sources_of(self.recipe, *quantized)

    def read_schedule(self) -> Cosine | Constant | Step:
        """The schedule as an object."""
        return spec.read(self.schedule, SCHEDULES)

    def read_latent(self) -> tuple:
        """The rules for latents as objects."""
        rules = tuple(spec.read(text, LATENT) for text in self.latent)
        alone = len(rules) == 1 or not any(isinstance(rule, BopRule) for rule in rules)
        _require(alone, "bop(...) keeps no latents, so no other rule can stand beside it: give it alone")
        _require(
            self.quantized or not rules, "latent rules need a quantized model: set recipe, or drop latent"
        )
        return rules

    def factor(self, epoch: float, epochs: int) -> float:
        """What the learning rate is multiplied by after ``epoch`` (a fraction counts) of ``epochs``."""
        rise = min((epoch + 1e-3) / self.warmup, 1.0) if self.warmup else 1.0
        return rise * self.read_schedule().at(epoch, epochs)

    def values(self) -> dict[str, Any]:
        """Every field as a plain value."""
        return dataclasses.asdict(self)

    def write(self) -> str:
        """The whole plan as a TOML table; None is written ``"none"``, or for the recipe ``"float"``."""
        return "".join(f"{key} = {_toml(key, value)}\n" for key, value in self.values().items())

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "TrainPlan":
        """From plain values, as a file or the command line gives them; ``"none"`` is None, a list a tuple."""
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise ValueError(f"a training plan has no field {key!r}; {hint}fields: {', '.join(known)}")
        plain: dict[str, Any] = {key: None if value == "none" else value for key, value in values.items()}
        return cls(**plain)

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> "TrainPlan":
        """From a TOML or YAML file, with some fields replaced."""
        return cls.of({**read_config(path), **overrides})


def read_config(path: str | Path) -> dict[str, Any]:
    """The table in a ``.toml``, ``.yaml`` or ``.yml`` file. ``ValueError`` names the line that is wrong."""
    path = Path(path)
    _require(path.is_file(), f"{path}: no such file; give the path of a .toml, .yaml or .yml file")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not valid TOML: {error}") from None
    _require(path.suffix in (".yaml", ".yml"), f"{path}: a configuration ends in .toml, .yaml or .yml")
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from None
    _require(isinstance(found, dict), f"{path} must hold a table of KEY: VALUE lines")
    return found


def _typed(field, value):
    """The value in the field's own type: whole numbers become floats, lists tuples; else an error."""
    types = {"str": str, "int": int, "float": float, "bool": bool}
    kind = str(field.type if isinstance(field.type, str) else getattr(field.type, "__name__", field.type))
    if "None" in kind and value is None:
        return None
    if "tuple" in kind:
        value = (value,) if isinstance(value, str) else value
        good = isinstance(value, tuple | list) and all(isinstance(v, str) for v in value)
        _require(good, f"{field.name} takes a list of texts, got {value!r}")
        return tuple(value)
    wanted = types[kind.split(" ")[0]]
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    right = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    _require(right, f"{field.name} takes a value of type {wanted.__name__}, got {value!r}")
    _require(wanted is not float or math.isfinite(value), f"{field.name} must be finite, got {value}")
    return value


def _toml(key, value):
    if value is None:
        return '"float"' if key == "recipe" else '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(json.dumps(item, ensure_ascii=False) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
