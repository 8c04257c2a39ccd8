"""Your own surrogates by name: a Python file that you name gives its surrogates a written form.

An object needs none of this: pass it wherever a surrogate is asked for. A text does: the command line, a
training plan, a row of results. ``use`` (``--with FILE``) runs the file, as ``python hat.py`` would. Nothing
else does: a plan, a table or a checkpoint can name a surrogate, but never the file it comes from.
"""

import hashlib
import keyword
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from coarsegrad import spec
from coarsegrad.core.learned import QUANTIZERS
from coarsegrad.core.surrogate import Surrogate
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.view.whole import write_whole


class Source(NamedTuple):
    """A file as it was when it was read."""

    path: str
    text: str


SOURCES: dict[str, Source] = {}
"""Per surrogate that is a user's own, its file."""
_TAKEN = (*QUANTIZERS, "bits", "none", "recipe", "rule", "scale", "usual")  # what the same texts mean else


def use(path: str | Path) -> dict[str, type[Surrogate]]:
    """Run a file of the user's and make its surrogates known by their names, which are returned.

    Every public subclass of ``Surrogate`` in it counts, by its ``name``, else its class's in small letters. A
    file that was changed can be used again, and takes the place of what it was.

    Raises ``ValueError`` that names the mend: no such file, an error in it, no surrogate, a taken name.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name the Python file that holds your surrogate")
    return _known(Source(str(path.resolve()), path.read_text(encoding="utf-8")))


def use_again(sources: Iterable[Source]) -> None:
    """The same files with the same text, in another process, whatever became of them since."""
    for source in sources:
        _known(source)


def sources() -> list[Source]:
    """The files in use, each once."""
    return list(dict.fromkeys(SOURCES.values()))


def sources_of(*texts: str | None) -> list[Source]:
    """The files of the own surrogates that these written forms name."""
    words = dict.fromkeys(word for text in texts if text for word in re.findall(r"\w+", text))
    return list(dict.fromkeys(SOURCES[word] for word in words if word in SOURCES))


def content(*texts: str | None) -> str:
    """16 hexadecimal digits for the text of these files; empty where all is the library's."""
    found = [source.text for source in sources_of(*texts)]
    return hashlib.sha256("\0".join(found).encode()).hexdigest()[:16] if found else ""


def surrogate(text: str) -> Surrogate:
    """The surrogate that a text names, the catalogue's or a user's own.

    >>> surrogate("clipped_relu(top=2)")
    ClippedReLU(top=2)
    """
    try:
        return spec.read(text, SURROGATES)
    except ValueError as error:
        if "unknown name" not in str(error):
            raise
        mend = "one of your own is known once its file is named: --with FILE, or coarsegrad.own.use(FILE)"
        raise ValueError(f"{error}; {mend}") from None


def keep(files: Iterable[Source], folder: Path, *, mend: str, replace: bool = False) -> None:
    """Put a copy of each file into a folder of results, for whoever repeats them; nothing runs it unasked.

    Raises ``ValueError``, ending in ``mend``, where it holds another text of a file; not with ``replace``.
    """
    for source in files:
        copy = folder / Path(source.path).name
        same = copy.exists() and copy.read_text(encoding="utf-8") == source.text
        if copy.exists() and not (same or replace):
            raise ValueError(f"{copy} holds another text than {source.path}, with which you go on: {mend}")
        if not same:
            write_whole(copy, source.text)


def _known(source: Source) -> dict[str, type[Surrogate]]:
    for other in sources():
        if Path(other.path).name == Path(source.path).name and other.path != source.path:
            raise ValueError(f"{source.path} and {other.path} have one name: rename one of the files")
    module = _run(source)
    found = {
        spec.name_of(thing): thing
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, Surrogate) and thing.__module__ == module.__name__
        and not name.startswith("_")
    }  # fmt: skip
    if not found:
        raise ValueError(
            f"{source.path} holds no surrogate: write a class Name(Surrogate) with curve and slope"
        )
    for name, cls in found.items():
        _check(name, cls, source)
    for name in [name for name, old in SOURCES.items() if old.path == source.path]:
        del SOURCES[name], SURROGATES[name]
    SURROGATES.update(found)
    SOURCES.update(dict.fromkeys(found, source))
    return found


def _run(source: Source) -> ModuleType:
    """The file as a module; its text is what is run, so that its content id speaks of what ran."""
    name = f"own_{hashlib.sha256(repr(source).encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = source.path
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        exec(compile(source.text, source.path, "exec"), vars(module))
    except Exception as error:
        del sys.modules[name]
        frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == source.path]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
        where = f"{source.path}, line {line}" if line else source.path
        raise ValueError(f"{where}: {type(error).__name__}: {error}; mend the file") from None
    return module


def _check(name: str, cls: type[Surrogate], source: Source) -> None:
    where = f"{source.path}: {cls.__name__}"
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{where} is called {name!r}, which no text can name: use letters, digits and _")
    there = SOURCES.get(name)
    if name in _TAKEN or (name in SURROGATES and (there is None or there.path != source.path)):
        whose = there.path if there else "the library"
        raise ValueError(
            f'{where} is called {name!r}, a name that {whose} has: give it another, name = "my_{name}"'
        )
    if not is_dataclass(cls):
        raise ValueError(f"{where} has no written form: write @dataclass(frozen=True) above the class")
    if cls.slope is Surrogate.slope:
        raise ValueError(
            f"{where} has no slope: define slope(self, x), and curve(self, x), whose slope it is"
        )
