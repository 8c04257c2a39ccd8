"""The real data sets, found where they already lie: nothing is downloaded for a test.

The folder is the one named by ``COARSEGRAD_DATA``, else ``../shared/data`` beside the repository. It holds
``mnist/`` and ``fashion-mnist/`` as canonical IDX files, and ``cifar-10/`` as lossless WebP mosaics, which
are turned once into the canonical binary batches:

    python tests/real_data.py --cifar FOLDER
"""

import argparse
import os
import uuid
from pathlib import Path

import numpy as np

PER_MOSAIC = 5000  # images: 250 rows of 20
CIFAR_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


def data_folder(name):
    """The folder of data set ``name`` (``mnist``, ``fashion-mnist`` or ``cifar-10``), or None."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("COARSEGRAD_DATA", beside)).expanduser() / name
    return folder if folder.is_dir() else None


def reason(name):
    """What a skipped test tells its reader."""
    return f"needs the real {name} files: set COARSEGRAD_DATA to the folder that holds {name}/"


def cifar_folder(cache=None):
    """The folder of canonical CIFAR-10 binary batches, written once; None without the mosaics."""
    mosaics = data_folder("cifar-10")
    if mosaics is None:
        return None
    cache = Path(cache or "~/.cache/coarsegrad-tests/cifar-10-batches-bin").expanduser()
    write_cifar(mosaics, cache)
    return cache


def write_cifar(mosaics, out):
    """Write the six binary batches into ``out``: each file whole or not at all, those already there kept."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    labels = np.load(Path(mosaics) / "labels.npz", allow_pickle=False)
    for number, name in enumerate(CIFAR_BATCHES):
        if (out / name).exists():
            continue
        part, start = ("test", 0) if name.startswith("test") else ("train", 2 * number)
        rows = np.empty((2 * PER_MOSAIC, 1 + 3072), dtype=np.uint8)
        rows[:, 0] = labels[part][start * PER_MOSAIC : (start + 2) * PER_MOSAIC]
        for half in (0, 1):
            pixels = rows[half * PER_MOSAIC : (half + 1) * PER_MOSAIC, 1:]
            pixels[:] = read_mosaic(Path(mosaics) / f"{part}-{start + half:02d}.webp").reshape(
                PER_MOSAIC, 3072
            )
        write_whole(out / name, rows.tobytes())


def read_mosaic(path):
    """The 5,000 images of one mosaic, left to right then down: uint8 ``[5000, 3, 32, 32]``."""
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return pixels.reshape(250, 32, 20, 32, 3).transpose(0, 2, 4, 1, 3).reshape(PER_MOSAIC, 3, 32, 32)


def write_whole(path, content):
    """Write beside, then rename: a reader sees the whole file or none, and two writers do not mix."""
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(
        description="Turn the CIFAR-10 mosaics into the canonical binary batches."
    )
    parser.add_argument("--cifar", metavar="FOLDER", required=True, help="where the six .bin files go")
    out = parser.parse_args().cifar
    if cifar_folder(out) is None:
        parser.error(reason("cifar-10"))
    print(out)


if __name__ == "__main__":
    main()
