"""One written form: frozen dataclass <-> ``name(key=value)`` <-> content id.

The same text names an object on the command line, in a results table and in a saved file.
A class is named by its ``name`` attribute; a catalogue is a plain dict from name to class.
"""

import ast
import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def write(thing: Any) -> str:
    """The written form of a frozen dataclass: its name and the fields that differ from their defaults.

    >>> from coarsegrad.core.surrogates import ClippedReLU
    >>> write(ClippedReLU()), write(ClippedReLU(top=3.0))
    ('clipped_relu', 'clipped_relu(top=3.0)')
    """
    if not dataclasses.is_dataclass(thing):
        raise TypeError(f"only a dataclass has a written form, got {type(thing).__name__}")
    parts = []
    for field in dataclasses.fields(thing):
        value, default = getattr(thing, field.name), _default(field)
        if type(value) is int and type(default) is float:
            value = float(value)  # equal things have one written form
        if not _same(value, default):
            parts.append(f"{field.name}={_value(value)}")
    return f"{name_of(type(thing))}({','.join(parts)})" if parts else name_of(type(thing))


def read(text: str, *catalogues: Mapping[str, type]) -> Any:
    """The object a text names. Nothing is executed: the text is parsed, never evaluated.

    Raises ``ValueError`` naming the closest known name or field when the text names none.

    >>> from coarsegrad.core.surrogates import SURROGATES
    >>> read("clipped_relu(top=3)", SURROGATES)
    ClippedReLU(top=3)
    """
    known: dict[str, type] = {}
    for catalogue in catalogues:
        known.update(catalogue)
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"cannot read {text!r}; write it as name or name(key=value, ...)") from None
    if not isinstance(node, ast.Name | ast.Call):
        raise ValueError(f"cannot read {text!r}; write it as name or name(key=value, ...)")
    return _build(node, known, text)


def content_id(thing: Any) -> str:
    """16 hexadecimal digits that depend on every field, defaults included; also for plain values and dicts.

    Equal things have equal ids: 3 and 3.0 are one number, a list and a tuple one sequence.

    >>> content_id({"a": 1, "b": (2, 3)}) == content_id({"b": [2, 3], "a": 1})
    True
    """
    canonical = json.dumps(_plain(thing), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def name_of(cls: type) -> str:
    """The name of a class in written forms: its ``name``, else its own in small letters."""
    name = getattr(cls, "name", None)
    return name if isinstance(name, str) else cls.__name__.lower()


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and value == default)


def _value(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return write(value)
    if isinstance(value, tuple | list):
        inside = ",".join(_value(item) for item in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if hasattr(value, "item"):  # a tensor or NumPy scalar
        value = value.item()
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"  # a number that Python reads as infinity, not a name
    return repr(value)


def _plain(thing: Any) -> Any:
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = {f.name: _plain(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
        return {"is": name_of(type(thing)), **fields}
    if isinstance(thing, Mapping):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, tuple | list):
        return [_plain(item) for item in thing]
    if hasattr(thing, "item") and not isinstance(thing, type):
        thing = thing.item()
    if isinstance(thing, float) and thing.is_integer():
        return int(thing)
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    raise TypeError(f"{type(thing).__name__} has no content id; use numbers, text, tuples or dataclasses")


def _build(node: ast.expr, known: Mapping[str, type], text: str) -> Any:
    if isinstance(node, ast.Name):
        return _make(node.id, {}, known, text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError(f"in {text!r}: give every value its name, as in {node.func.id}(key=value)")
        keys = [keyword.arg for keyword in node.keywords]
        if len(set(keys)) < len(keys):
            raise ValueError(f"in {text!r}: {node.func.id} is given one field twice")
        values = {str(k.arg): _build(k.value, known, text) for k in node.keywords}
        return _make(node.func.id, values, known, text)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_build(item, known, text) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(f"in {text!r}: {ast.unparse(node)!r} is not a number, text, tuple or name") from None


def _make(name: str, values: dict[str, Any], known: Mapping[str, type], text: str) -> Any:
    if name not in known:
        raise ValueError(f"unknown name {name!r} in {text!r}; {_near(name, known)}")
    cls = known[name]
    fields = [f.name for f in dataclasses.fields(cls) if f.init]
    for key in values:
        if key not in fields:
            has = f"its fields are: {', '.join(fields)}" if fields else "it has no fields"
            raise ValueError(f"{name} has no field {key!r}; {has}")
    try:
        return cls(**values)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"cannot make {name} from {text!r}: {error}") from None


def _near(name: str, known: Mapping[str, type]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known))}"
