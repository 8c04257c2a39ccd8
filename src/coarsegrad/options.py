"""Words of the command line into plain values, and the options that ``train`` and ``compare`` share."""

import argparse
import json
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
# The options of `train` and `compare` that are fields of the plan by the same name.
_TEXT = ("data", "data-folder", "model", "optimizer", "schedule", "activations", "first", "last", "device",
         "batch-norm", "start", "teacher")  # fmt: skip
_WHOLE = ("epochs", "batch-size", "pretrain-epochs", "seed")
_NUMBER = ("lr", "momentum", "weight-decay", "warmup", "grad-clip", "distill", "temperature")
_LISTS = {"rule": "rules", "latent": "latent"}
_FLAGS = ("amp", "compile", "reestimate-bn")


def plan_options(it: argparse.ArgumentParser) -> None:
    """The options of a command that trains."""
    it.add_argument(
        "--out", required=True, metavar="FOLDER", help="results; the same command goes on where it stopped"
    )
    it.add_argument("--config", metavar="FILE", help=".toml or .yaml; options win over it")
    it.add_argument("--set", action="append", metavar="KEY=VALUE", help="any field of the configuration")
    it.add_argument("--json", action="store_true", help="a JSON object per line, for machines")
    for options, kind in ((_TEXT, str), (_WHOLE, int), (_NUMBER, float)):
        for option in options:
            it.add_argument(f"--{option}", type=kind, metavar={str: "TEXT", int: "N", float: "X"}[kind])
    for option in _LISTS:
        it.add_argument(f"--{option}", action="append", metavar="TEXT")
    for option in _FLAGS:
        it.add_argument(f"--{option}", action=argparse.BooleanOptionalAction, default=None)


def configured(words: argparse.Namespace, read_config: Callable) -> Row:
    """File, then ``--set``, then options: the later one wins."""
    values: Row = dict(read_config(words.config)) if words.config else {}
    for text in words.set or ():
        key, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"--set {text}: write --set KEY=VALUE")
        try:
            values[key.strip().replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            values[key.strip().replace("-", "_")] = {"True": True, "False": False}.get(value, value)
    for option in (*_TEXT, *_WHOLE, *_NUMBER, *_FLAGS):
        name = option.replace("-", "_")
        if getattr(words, name) is not None:
            values[name] = getattr(words, name)
    for option, name in _LISTS.items():
        if getattr(words, option):
            values[name] = tuple(getattr(words, option))
    return values


def names(text: str) -> tuple[str, ...]:
    """Split at commas outside brackets: ``relu,clipped_relu(top=2)``."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts if part.strip())


def number(text: str, option: str) -> float:
    """The number that a text writes."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} takes numbers with commas between, got {text!r}") from None


def shape_of(text: str) -> tuple[int, ...]:
    """The shape in ``3,32,32`` or ``3x32x32``."""
    try:
        return tuple(int(n) for n in text.replace("x", ",").split(","))
    except ValueError:
        raise ValueError(f"--in-shape is like 3,32,32, got {text!r}") from None
