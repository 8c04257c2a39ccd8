"""From published files to tensors: found in a folder or downloaded whole, checked, and never unpickled.

A published data set is a :class:`Canonical`: what to download, and what must lie in the files once unpacked.
The check is the SHA256 of the *unpacked* content, so a folder may hold the files packed or unpacked. Whatever
is wrong with a file is one ``ValueError``, ``FileNotFoundError`` or ``OSError`` that names it and the mend.
"""

import contextlib
import errno
import gzip
import hashlib
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

FULL = (errno.ENOSPC, errno.EDQUOT)
Pair = tuple[torch.Tensor, torch.Tensor]  # images, labels
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp")
GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@contextlib.contextmanager
def extra():
    """Where a heavy library is imported: its absence becomes an ``ImportError`` that says what to install."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f'{error.name} is missing: pip install "coarsegrad[train]"', name=error.name
        ) from error


@dataclass(frozen=True)
class Canonical:
    """A data set as its authors publish it.

    ``urls`` mirror each other. ``downloads`` maps a file there to its SHA256, ``contents`` an unpacked file
    to the SHA256 of its bytes; a difference in a ``lenient`` one is a warning. ``inside`` is the folder they
    may lie in, one level down. ``mean`` and ``std`` are published, per channel of an image divided by 255.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    urls: tuple[str, ...]
    downloads: dict[str, str] = field(hash=False)
    contents: dict[str, str] = field(hash=False)
    parse: Callable[[dict[str, bytes]], tuple]
    inside: str = "."
    lenient: tuple[str, ...] = ()

    def read(self, folder=None, *, download=True) -> tuple[Pair, Pair]:
        """Images and labels for training, and for testing: ``((x, y), (x, y))``, uint8 and int64.

        Without ``folder`` the files come from the cache, ``pooch.os_cache("coarsegrad")``, and first from the
        network where ``download`` allows it.

        Raises:
            FileNotFoundError: a file is neither there nor to be downloaded.
            ValueError: a file is damaged or not the published one.
            OSError: the network or the disk gave out; no half-written file stays behind.
        """
        if folder is None:
            with extra():
                import pooch
            folder = Path(pooch.os_cache("coarsegrad")) / self.name
            if download:
                self.download(folder)
        return self.parse(self.unpacked(Path(folder).expanduser()))

    def download(self, cache):
        """Fill the folder ``cache`` from the first mirror that has the published files, each written whole.

        A file that is there and right is not fetched again.
        """
        with extra():
            import pooch
        logger = pooch.get_logger()
        level = logger.level
        logger.setLevel("ERROR")
        try:
            for name, sha256 in self.downloads.items():
                self._download(name, f"sha256:{sha256}", cache, pooch.retrieve)
        finally:
            logger.setLevel(level)

    def _download(self, name, known_hash, cache, retrieve):
        url, reason = "", FileNotFoundError("it has no address")
        for url in self.urls:
            try:
                return retrieve(url + name, known_hash=known_hash, fname=name, path=cache)
            except (ValueError, OSError) as error:
                reason = error
                if isinstance(error, OSError) and error.errno in FULL:
                    break
        message = (
            f"cannot get {url}{name} into {cache} ({reason}): try again with network and free disk, "
            f"or give a folder (--data-folder) with {', '.join(self.contents)}"
        )
        if isinstance(reason, ValueError):
            raise ValueError(message) from reason
        raise OSError(*filter(None, [reason.errno]), message) from reason

    def require(self, folder):
        """Raise ``FileNotFoundError`` where a published file is not in the folder; none is read."""
        self._places(Path(folder).expanduser())

    def unpacked(self, folder):
        """The bytes of every published file, by name: in ``folder/NAME`` or ``folder``, or an archive."""
        found, archive = self._places(folder)
        if archive is not None:
            inside = read_tar(archive, [f"{self.inside}/{name}" for name in found])
            found = dict.fromkeys(found, archive)
            content = dict(zip(found, inside, strict=True))
        else:
            content = {name: read_bytes(path) for name, path in found.items()}
        for name, path in found.items():
            self._check(name, path, content[name])
        return content

    def _places(self, folder):
        """Each file's place by its name; or none, and the archive that holds them."""
        archive = self._find(folder, *(name for name in self.downloads if name.endswith(".tar.gz")))
        found = {name: self._find(folder, *_spellings(name)) for name in self.contents}
        if not any(found.values()) and archive is not None:
            return found, archive
        missing = [name for name, path in found.items() if path is None]
        if missing:
            raise FileNotFoundError(
                f"no {', '.join(missing)} of {self.name} in {folder}: put them there, plain or .gz, or give "
                "no folder, and they are downloaded"
            )
        return found, None

    def _find(self, folder, *spellings):
        folders = (at / inner for at in (folder / self.name, folder) for inner in (".", self.inside))
        places = (at / spelling for at in folders for spelling in spellings)
        return next((place for place in places if place.is_file()), None)

    def _check(self, name, path, content):
        digest = hashlib.sha256(content).hexdigest()
        if digest == self.contents[name]:
            return
        differs = f"{path} is not the published {name} of {self.name} (its content has SHA256 {digest})"
        if name not in self.lenient:
            mend = (
                f"is it another data set's, or damaged? Give the folder of {self.name}'s files; images of "
                "your own load as npz:PATH or imagefolder:PATH"
            )
            raise ValueError(f"{differs}: {mend}")
        warnings.warn(f"{differs}: accuracies may not compare with published ones", stacklevel=2)


def _spellings(name):
    return [f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]


def read_bytes(path):
    """The bytes of a file, unpacked where its name ends in ``.gz``."""
    path = Path(path)
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} is truncated or no gzip file ({error}): delete it and fetch it again"
        ) from error


def read_tar(path, members):
    """The bytes of each of ``members`` of a ``.tar.gz`` file; nothing is written."""
    try:
        with tarfile.open(path) as tar:
            found = {m.name: file.read() for m in tar if m.name in members and (file := tar.extractfile(m))}
            return [found[name] for name in members]
    except (tarfile.TarError, EOFError, KeyError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and fetch it again") from error


def read_idx(content, path, *, dims):
    """The array in an IDX file of unsigned bytes: uint8 with ``dims`` axes. LeCun, yann.lecun.com/exdb/mnist.

    ``path`` is the name that errors give.

    >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]), "labels", dims=1)
    tensor([7, 2, 1], dtype=torch.uint8)
    """
    start = 4 + 4 * dims
    if len(content) < start or content[:4] != bytes([0, 0, 8, dims]):
        raise ValueError(
            f"{path} is no IDX file of bytes with {dims} axes: it starts with 0x{content[:4].hex()}, "
            f"not 0x000008{dims:02x}; fetch it again"
        )
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    return _bytes(content, path, start, shape)


def read_cifar(content, path):
    """Images and labels of a CIFAR-10 binary batch: uint8 ``[10000, 3, 32, 32]`` and int64 ``[10000]``.

    A row is one label byte, then 1024 red, 1024 green and 1024 blue ones. Krizhevsky 2009, "Learning multiple
    layers of features from tiny images". ``path`` is the name that errors give.
    """
    rows = _bytes(content, path, 0, [10_000, 3073])
    labels = rows[:, 0].long()
    if labels.max() > 9:
        raise ValueError(f"{path} has a label {int(labels.max())} outside 0..9: fetch it again")
    return rows[:, 1:].reshape(-1, 3, 32, 32), labels


def idx_pairs(content):
    """Training and test images and labels of four IDX files, by name."""
    images, labels = (
        [read_idx(found, name, dims=dims) for name, found in content.items() if f"idx{dims}" in name]
        for dims in (3, 1)
    )
    return tuple((x[:, None], y.long()) for x, y in zip(images, labels, strict=True))


def cifar_pairs(content):
    """The same of CIFAR's batches, of which the last one is for testing."""
    *batches, test = (read_cifar(found, name) for name, found in content.items())
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True)), test


def _bytes(content, path, start, shape):
    size = start + torch.Size(shape).numel()
    if len(content) != size:
        raise ValueError(f"{path} is truncated or too long: {len(content)} of {size} bytes; fetch it again")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)


def read_npz(path) -> tuple[Pair, Pair, tuple[str, ...]]:
    """Pairs ``(x_train, y_train)`` and ``(x_test, y_test)`` of an ``.npz`` file, and its classes' names.

    Images become uint8 or float32, with a channel axis; labels int64. Nothing is unpickled.
    """
    path = Path(path).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in file]
            if missing:
                raise KeyError(f"no {', '.join(missing)}, only {', '.join(file) or 'nothing'}")
            arrays = {key: file[key] for key in file}
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path}: give the path of an .npz file") from None
    except (ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        mend = (
            "write arrays of numbers by numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)"
        )
        raise ValueError(f"{path} cannot be read ({error}): {mend}") from error
    keys = (("x_train", "y_train"), ("x_test", "y_test"))
    train, test = ((_numbers(path, x, arrays[x]), _labels(path, y, arrays[y])) for x, y in keys)
    last = max((int(y.max()) for _, y in (train, test) if len(y)), default=0)
    return train, test, tuple(str(name) for name in arrays.get("classes", range(last + 1)))


def _numbers(path, key, x):
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise ValueError(f"{path}: {key} is {x.dtype}: save it as uint8 in 0..255 or as float32")
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        raise ValueError(f"{path}: {key} {list(x.shape)} has channels last: transpose it by (0, 3, 1, 2)")
    x = x if x.dtype == np.uint8 else x.astype(np.float32)
    return torch.tensor(x[:, None] if x.ndim == 3 else x)


def _labels(path, key, y):
    if y.dtype.kind not in "ui" or y.ndim != 1:
        raise ValueError(f"{path}: {key} is {y.dtype} {list(y.shape)}: save whole numbers, one an image")
    return torch.tensor(y.astype(np.int64))


def read_image_folder(folder, size=None) -> tuple[Pair, Pair, tuple[str, ...]]:
    """Images with labels of ``train/<class>/*.png``, those of ``test``, and the names of the classes.

    If all images are grey they have one channel, else all become RGB; an alpha channel is dropped. ``size``
    (pixels) makes every image ``size x size``, bilinear; without it all must have one size.
    """
    with extra():
        import PIL.Image
    folder = Path(folder).expanduser()
    named = {p: _class_folders(folder / p) for p in ("train", "test")}
    classes = tuple(named["train"])
    new = [name for name in named["test"] if name not in classes]
    if new:
        raise ValueError(
            f"{folder}/test has classes that train lacks: {', '.join(new)}; rename or remove them"
        )
    pixels, labels, first = {"train": [], "test": []}, {"train": [], "test": []}, None
    for part, name, path in ((part, *row) for part, found in named.items() for row in _rows(found)):
        image = _read_image(path, size, PIL.Image)
        first = first or (path, image.shape[:2])
        if image.shape[:2] != first[1]:
            sizes = f"{path} has {image.shape[:2]} pixels, {first[0]} has {first[1]}"
            raise ValueError(f"{sizes}: give size=, as in imagefolder(folder='{folder}',size=32)")
        pixels[part].append(image)
        labels[part].append(classes.index(name))
    grey = all(image.ndim == 2 for found in pixels.values() for image in found)
    train, test = ((_stacked(pixels[part], grey), torch.tensor(labels[part])) for part in named)
    return train, test, classes


def _rows(found):
    return ((name, path) for name, paths in found.items() for path in paths)


def _stacked(images, grey):
    if grey:
        return torch.from_numpy(np.stack(images)[:, None])
    colour = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in images]
    return torch.from_numpy(np.ascontiguousarray(np.stack(colour).transpose(0, 3, 1, 2)))


def _class_folders(folder):
    """The image files of every class in ``folder``: name -> paths, both sorted."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: put images into {folder}/<class>/*.png")
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    images = ((at.name, [p for p in at.iterdir() if p.suffix.lower() in IMAGES]) for at in inside)
    found = {name: sorted(p for p in paths if not p.name.startswith(".")) for name, paths in images}
    empty = [name for name, paths in found.items() if not paths]
    if empty or not found:
        raise FileNotFoundError(f"no images in {folder}/{(*empty, '<class>')[0]}: put *.png files there")
    return found


def _read_image(path, size, library):
    """The pixels of one file: uint8 ``[H, W]`` where it is grey, else ``[H, W, 3]``."""
    try:
        with library.open(path) as image:
            if image.mode not in GREY + COLOUR:
                raise ValueError(f"its pixels are {image.mode}, not 8 bits a channel")
            image = image.convert("L" if image.mode in GREY else "RGB")
    except (OSError, ValueError, SyntaxError, library.DecompressionBombError) as error:
        raise ValueError(
            f"{path} is no image that can be read ({error}): save it again as 8-bit PNG"
        ) from error
    if size is not None:
        image = image.resize((size, size), library.Resampling.BILINEAR)
    return np.asarray(image)
