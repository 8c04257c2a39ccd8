"""A run folder: at any moment, also after a power cut, it holds a whole checkpoint or none.

A file is written beside its place, forced to disk and moved there; the one before it is kept as well. What is
read is plain tensors, numbers and text: nothing in a file that came from a stranger can run.

    plan.toml                  the whole configuration
    command.txt                the command that repeats the run
    NAME.py                    a copy of the file of your own surrogate, if it has one; run only by --with
    versions.json              what it ran with
    rows.jsonl                 a row per epoch
    checkpoint.pt              after the last finished epoch, and checkpoint.previous.pt after the one before
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import platform
import shlex
import struct
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from coarsegrad import own
from coarsegrad.train.plan import PLACES, TrainPlan

FORMAT = 1
ANOTHER = "choose another folder, or start over in this one with resume=False (--no-resume)"
_SEAL = b"coarsegrad sha256 "


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, written by one process."""

    path: Path

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "checkpoint.pt"

    @property
    def previous(self) -> Path:
        """The one before it."""
        return self.path / "checkpoint.previous.pt"

    def open(self, plan: TrainPlan, *, resume: bool, world: int = 1) -> dict[str, Any] | None:
        """Make or check the folder; the state to continue from, or None at the start.

        Raises ``CheckpointError`` where the folder holds the run of another plan, or no checkpoint in it can
        be read.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for left in self.path.glob(".*.part"):  # by a run that was killed while it wrote
            left.unlink(missing_ok=True)
        if resume and (self.last.exists() or self.previous.exists()):
            state = self.load(plan)
            own.keep(plan.own_sources(), self.path, mend=ANOTHER)
            self.write_rows(state["rows"])
            return state
        if resume and (self.path / "plan.toml").exists():
            _require_same(self.path, TrainPlan.read(self.path / "plan.toml"), plan, ANOTHER)
        own.keep(plan.own_sources(), self.path, mend=ANOTHER, replace=not resume)
        for file in (self.last, self.previous, self.path / "rows.jsonl"):
            file.unlink(missing_ok=True)
        start = f"torchrun --nproc-per-node {world} -m coarsegrad" if world > 1 else "coarsegrad"
        self._write_text("plan.toml", plan.write())
        named = [shlex.quote(Path(source.path).name) for source in plan.own_sources()]
        files = "".join(f" --with {name}" for name in named)
        self._write_text("command.txt", f"{start} train --config plan.toml{files}\n")
        self._write_text("versions.json", json.dumps(versions(plan), indent=2) + "\n")
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the newest checkpoint, which becomes the previous one. ``OSError`` leaves both alone."""
        content = packed(state)
        with replacing(self.last) as file:
            file.write(content)
            _settle(file)
            if self.last.exists():
                _link(self.last, self.previous)

    def load(self, plan: TrainPlan | None = None, *, mend: str = ANOTHER) -> dict[str, Any]:
        """The newest state that is whole; a damaged one is skipped with a warning that names it.

        With a ``plan``, raises ``CheckpointError``, ending in ``mend``, where the state is another plan's.
        """
        faults = []
        for file in (self.last, self.previous):
            try:
                state = unpacked(file.read_bytes(), file)
            except FileNotFoundError:
                continue
            except CheckpointError as error:
                faults.append(str(error))
                continue
            if plan is not None:
                _require_same(self.path, TrainPlan.of(state["plan"]), plan, mend)
            for fault in faults:
                warnings.warn(f"{fault}; continuing from {file.name}", stacklevel=2)
            return state
        if faults:
            raise CheckpointError(
                "; ".join(faults) + "; start over with resume=False (--no-resume), or restore the file"
            )
        raise FileNotFoundError(f"{self.path} holds no checkpoint: train(plan, folder) writes one")

    def write_rows(self, rows: list[dict]) -> None:
        """Replace ``rows.jsonl`` where it does not hold exactly these rows."""
        text = "".join(_line(row) for row in rows)
        file = self.path / "rows.jsonl"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            self._write_text("rows.jsonl", text)

    def add_row(self, row: dict) -> None:
        """Append one row, a whole line."""
        with open(self.path / "rows.jsonl", "ab") as file:
            file.write(_line(row).encode())

    def _write_text(self, name, text):
        with replacing(self.path / name) as file:
            file.write(text.encode())


def versions(plan: TrainPlan) -> dict[str, Any]:
    """What the run's numbers depend on beside its plan."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "coarsegrad": installed(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "seed": plan.seed,
        "plan_id": plan.id(),
    }


def installed() -> str:
    """The version of coarsegrad that is installed, or "not installed"."""
    from importlib import metadata

    try:
        return metadata.version("coarsegrad")
    except metadata.PackageNotFoundError:
        return "not installed"


def packed(state: dict[str, Any]) -> bytes:
    """The bytes of a state: torch's file format, then a line with the sha256 of all before it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def unpacked(content: bytes, file: Path) -> dict[str, Any]:
    """The state back. Raises ``CheckpointError`` where a byte is wrong or more than data inside."""
    body, seal, digest = content.rpartition(_SEAL)
    if not seal:
        raise CheckpointError(f"{file} is cut short or no checkpoint of coarsegrad")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise CheckpointError(f"{file} is damaged: its content does not match its sha256")
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{file} holds more than tensors, numbers and text: {first}") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{file} has another format than this version of coarsegrad reads ({FORMAT})")
    return state


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dict from a ``.safetensors`` file, a ``torch.save`` file or a checkpoint of a float run.

    Nothing is unpickled but tensors. Raises ``ValueError`` where the file is damaged or holds something else.
    """
    path = Path(path)
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return _safetensors(content, path)
    try:
        found = torch.load(
            io.BytesIO(content.rpartition(_SEAL)[0] or content), map_location="cpu", weights_only=True
        )
    except Exception as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{path} is damaged, or holds more than a state dict: {first}") from None
    found = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(f"{path} holds no state dict: write it with torch.save(model.state_dict(), path)")
    return found


@contextlib.contextmanager
def replacing(path: Path):
    """A new file that takes the place of ``path`` whole, at the end, or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            _settle(file)
        os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            why = f"{os.strerror(error.errno)}: {path.name} in {path.parent} could not be written; "
            mend = "make room and run again, it continues from the checkpoint before"
            raise OSError(error.errno, why + mend) from None
        raise
    _settle_folder(path.parent)


def _settle(file: BinaryIO):
    file.flush()
    os.fsync(file.fileno())


def _settle_folder(folder: Path):
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _link(old: Path, new: Path):
    """Make ``new`` a second name of ``old``; where links do not exist, move it there."""
    beside = new.with_name(f".{new.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)
        os.link(old, beside)
    except OSError:
        os.replace(old, new)
        return
    try:
        os.replace(beside, new)
    finally:
        beside.unlink(missing_ok=True)


def _require_same(folder: Path, there: TrainPlan, here: TrainPlan, mend: str):
    if there.id() == here.id():
        return
    a, b = there.values(), here.values()
    differ = [f"{k}={a[k]!r} there, {b[k]!r} here" for k in a if a[k] != b[k] and k not in PLACES]
    raise CheckpointError(f"{folder} holds the run of another plan ({'; '.join(differ)}): {mend}")


def _line(row: dict) -> str:
    return json.dumps(row, allow_nan=True) + "\n"


_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def _safetensors(content: bytes, path: Path) -> dict[str, Tensor]:
    """The format: a length (8 bytes, little endian), a JSON table of names, shapes, places; the numbers."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        if len(content) < 8 + length:
            raise ValueError(f"it ends before its table of {length} bytes does")
        table = json.loads(content[8 : 8 + length])
        body = bytearray(content[8 + length :])
        found = {}
        for name, entry in table.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
            size = torch.Size(shape).numel()
            if not 0 <= start <= end <= len(body) or end - start != size * dtype.itemsize:
                raise ValueError(f"tensor {name!r} lies outside the file")
            flat = torch.frombuffer(body[start:end], dtype=dtype) if size else torch.empty(0, dtype=dtype)
            found[name] = flat.reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from None
    return found
