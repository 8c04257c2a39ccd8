"""Data sets as tensors, and the order in which a training run sees them.

A *source* is a small frozen value that says where images come from; ``load`` turns it, or its written form,
into a :class:`Dataset`; :class:`Batches` deals that out. Batches depend on ``(seed, epoch)`` alone: a resumed
run sees what it would have seen, and ``world`` processes together see what a single one does.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from coarsegrad.spec import read
from coarsegrad.train import fetch, published


def _require(true, message):
    if not true:
        raise ValueError(message)


@dataclass(frozen=True)
class Augment:
    """Random crop after ``pad`` black pixels on every side; if ``flip``, half are mirrored.

    ``Augment()`` changes nothing; ``Augment(pad=4, flip=True)`` is what He et al. 2016, arXiv:1512.03385, do
    to CIFAR-10. Whole batches at a time: ``[N, C, H, W]`` and draws ``[N, 3]`` -> ``[N, C, H, W]``.

    >>> Augment(pad=1).apply(torch.ones(1, 1, 2, 2), torch.tensor([[0, 1, 0]]))
    tensor([[[[0., 0.],
              [1., 1.]]]])
    """

    pad: int = 0
    flip: bool = False

    def __post_init__(self):
        _require(self.pad >= 0, f"Augment(pad=...) is a number of pixels, 0 or more, got {self.pad}")

    def __bool__(self):
        return self.pad > 0 or self.flip

    def draw(self, count, generator):
        """One row an image, int64 ``[count, 3]``: top and left edge in 0..2 ``pad``, and 1 where mirrored."""
        ends = (2 * self.pad + 1, 2 * self.pad + 1, 1 + self.flip)
        return torch.stack([torch.randint(end, (count,), generator=generator) for end in ends], dim=1)

    def apply(self, images, draws):
        """The images as these draws make them."""
        count, channels, height, width = images.shape
        top, left, mirrored = draws[:, :, None].unbind(1)
        row, column = (torch.arange(n, device=images.device) for n in (height, width))
        columns = left + torch.where(mirrored == 1, width - 1 - column, column)
        pixels = (top + row)[:, :, None] * (width + 2 * self.pad) + columns[:, None, :]
        padded = F.pad(images, (self.pad,) * 4).flatten(2)
        return padded.gather(2, pixels.reshape(count, 1, -1).expand(-1, channels, -1)).reshape(images.shape)


@dataclass(frozen=True, eq=False)
class Batches:
    """The order of a training run: ``epoch(k)`` iterates over ``(images, labels)`` of epoch ``k``.

    ``images`` are raw, uint8 in 0..255 or float32, ``[N, C, H, W]`` or ``[N, d]``; they come out as float32,
    divided by 255 where uint8, minus ``mean``, over ``std``, on their own device. ``batch_size`` counts the
    images of all ``world`` processes together: process ``rank`` gets its contiguous part of each batch,
    augmented as a single process would. The last batch is smaller unless ``drop_last``.

    >>> batches = Batches(torch.arange(6.0)[:, None], torch.arange(6), batch_size=4, shuffle=False)
    >>> [labels.tolist() for _, labels in batches.epoch(0)], len(batches)
    ([[0, 1, 2, 3], [4, 5]], 2)
    """

    images: Tensor
    labels: Tensor
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    augment: Augment = Augment()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    drop_last: bool = False
    rank: int = 0
    world: int = 1

    def __post_init__(self):
        count, shape, world = len(self.images), list(self.images.shape), self.world
        _require(0 <= self.rank < world, f"Batches(rank=...) must be in 0..{world - 1}, got {self.rank}")
        _require(self.seed >= 0, f"Batches(seed=...) must be 0 or more, got {self.seed}")
        _require(
            self.batch_size >= world, f"batch_size={self.batch_size} must be {world} or more: one a rank"
        )
        _require(count == len(self.labels), f"Batches got {count} images and {len(self.labels)} labels")
        _require(not self.augment or len(shape) == 4, f"{self.augment} needs [N, C, H, W], got {shape}")
        _require(len(self) > 0, f"{count} images fill no batch: take a batch_size below {self.batch_size}")
        last = self.size(len(self) - 1)
        _require(last >= world, f"the last batch has {last} images for {world} ranks: set drop_last=True")

    def __len__(self):
        """Batches per epoch."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def size(self, step):
        """Images of all ranks in batch ``step``.

        A rank's mean loss times ``world * len(labels) / size(step)``, averaged over ranks, is the batch's.
        """
        return min(self.batch_size, len(self.images) - step * self.batch_size)

    def epoch(self, k) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of epoch ``k`` = 0, 1, ...: float32 images and int64 labels."""
        _require(k >= 0, f"epochs count from 0, got epoch({k})")
        return self._deal(k)

    def _deal(self, k):
        count, device = len(self.images), self.images.device
        (state,) = np.random.SeedSequence([self.seed, k]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state))
        order = torch.randperm(count, generator=generator).to(device) if self.shuffle else None
        draws = self.augment.draw(count, generator).to(device) if self.augment else None
        pixel = (-1,) + (1,) * (self.images.dim() - 2)
        unit = 255 if self.images.dtype == torch.uint8 else 1
        mean, std = (torch.tensor(v, dtype=torch.float64).view(pixel) for v in (self.mean, self.std))
        gain, offset = (1 / (unit * std)).float().to(device), (-mean / std).float().to(device)
        for step in range(len(self)):
            start, size = step * self.batch_size, self.size(step)
            mine = slice(start + self.rank * size // self.world, start + (self.rank + 1) * size // self.world)
            both = (self.images, self.labels)
            images, labels = (t[mine] if order is None else t.index_select(0, order[mine]) for t in both)
            if draws is not None:
                images = self.augment.apply(images, draws[mine])
            yield (images * gain).add_(offset), labels


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images in memory, with what is needed to feed them to a network.

    Images are uint8 in 0..255 or float32, ``[N, C, H, W]``, or vectors ``[N, d]``; labels are int64 in
    0..len(classes)-1; ``mean`` and ``std`` are of an image divided by 255 where uint8, one a channel or one
    in all. ``augment`` is what the field does to the training images.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    augment: Augment = Augment()

    def __post_init__(self):
        first = self.train_images
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            here, like, last = f"{self.name}: {part}", f"{x.dtype} {list(x.shape)}", len(self.classes) - 1
            _require(
                x.dim() in (2, 4) and x.numel(), f"{here} images must be [N, C, H, W] or [N, d], got {like}"
            )
            _require(
                x.dtype in (torch.uint8, torch.float32), f"{here} images must be uint8 or float32, got {like}"
            )
            _require(x.dtype == torch.uint8 or x.isfinite().all(), f"{here} images hold NaN or infinity")
            same = x.shape[1:] == first.shape[1:] and x.dtype == first.dtype
            _require(same, f"{here} images are {like}, training images {first.dtype} {list(first.shape)}")
            fits = y.dtype == torch.int64 and y.shape == x.shape[:1]
            _require(fits, f"{here} labels must be int64 [{len(x)}], got {y.dtype} {list(y.shape)}")
            low, high = int(y.min()), int(y.max())
            _require(low >= 0 and high <= last, f"{here} labels {low}..{high} leave 0..{last}")
        fits = (
            len(self.mean) == len(self.std) and len(self.mean) in (1, self.in_shape[0]) and min(self.std) > 0
        )
        _require(
            fits, f"{self.name}: give one mean and one positive std a channel, got {self.mean}, {self.std}"
        )

    @property
    def in_shape(self):
        """Shape of one image: ``(C, H, W)`` or ``(d,)``."""
        return tuple(self.train_images.shape[1:])

    def to(self, device):
        """The same data on ``device``; its batches come out there."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def train_batches(self, batch_size, **order):
        """Shuffled, augmented :class:`Batches`; ``order`` is its seed, augment, drop_last, rank, world."""
        order = {"augment": self.augment, "mean": self.mean, "std": self.std, **order}
        return Batches(self.train_images, self.train_labels, batch_size, **order)

    def test_batches(self, batch_size=500, **order):
        """Every test image once, in order: ``test_batches().epoch(0)``; ``order`` is rank and world."""
        order = {"shuffle": False, "mean": self.mean, "std": self.std, **order}
        return Batches(self.test_images, self.test_labels, batch_size, **order)


def _measured(name, train: fetch.Pair, test: fetch.Pair, classes):
    """A :class:`Dataset` of two ``(images, labels)`` pairs; images by their own mean and std, vectors raw."""
    mean, std = (0.0,), (1.0,)
    if train[0].dim() == 4 and train[0].numel():
        values = train[0].transpose(0, 1).flatten(1).double() / (255 if train[0].dtype == torch.uint8 else 1)
        mean, std = values.mean(dim=1).tolist(), values.std(dim=1, correction=0).tolist()
    return Dataset(name, *train, *test, tuple(classes), tuple(mean), tuple(v or 1.0 for v in std))


@dataclass(frozen=True)
class Digits:
    """Handwritten digits that scikit-learn carries, 8x8 grey, 1,797 images: no network is needed.

    Every fifth image of a class is for testing. Alpaydin and Kaynak 1998, doi:10.24432/C50P49.
    """

    name: ClassVar[str] = "digits"

    def load(self, *, download=True):
        with fetch.extra():
            import sklearn.datasets
        pixels, target = sklearn.datasets.load_digits(return_X_y=True)
        images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
        labels = torch.tensor(target, dtype=torch.int64)
        fifth = F.one_hot(labels).cumsum(0).gather(1, labels[:, None])[:, 0] % 5 == 0  # within its class
        train, test = ((images[at], labels[at]) for at in (~fifth, fifth))
        return _measured(self.name, train, test, "0123456789")


@dataclass(frozen=True)
class MNIST:
    """Handwritten digits, 28x28 grey, 60,000 + 10,000. LeCun et al. 1998, doi:10.1109/5.726791.

    ``folder`` holds the canonical IDX files, packed or not; without it they are downloaded once.
    """

    folder: str | None = None
    name: ClassVar[str] = "mnist"
    files: ClassVar[fetch.Canonical] = published.MNIST
    augment: ClassVar[Augment] = Augment()

    def load(self, *, download=True):
        train, test = self.files.read(self.folder, download=download)
        facts = (self.files.classes, self.files.mean, self.files.std)
        return Dataset(self.name, *train, *test, *facts, self.augment)


@dataclass(frozen=True)
class FashionMNIST(MNIST):
    """Zalando's articles, 28x28 grey, 60,000 + 10,000. Xiao et al. 2017, arXiv:1708.07747."""

    name: ClassVar[str] = "fashion_mnist"
    files: ClassVar[fetch.Canonical] = published.FASHION_MNIST
    augment: ClassVar[Augment] = Augment(pad=2, flip=True)


@dataclass(frozen=True)
class CIFAR10(MNIST):
    """Small photographs, 3x32x32, 50,000 + 10,000. Krizhevsky 2009, "Learning multiple layers of features".

    ``folder`` holds the six files of the binary version, or their archive, which is else downloaded once.
    """

    name: ClassVar[str] = "cifar10"
    files: ClassVar[fetch.Canonical] = published.CIFAR10
    augment: ClassVar[Augment] = Augment(pad=4, flip=True)


@dataclass(frozen=True)
class ImageFolder:
    """Your images, ``folder/train/<class>/*.png`` and ``folder/test/...``; also ``imagefolder:FOLDER``.

    ``size`` (pixels) makes every image a square of that size; without it all must have one size.
    """

    folder: str
    size: int | None = None
    name: ClassVar[str] = "imagefolder"

    def __post_init__(self):
        _require(self.size is None or self.size > 0, f"ImageFolder(size=...) is in pixels, got {self.size}")

    def load(self, *, download=True):
        return _measured(self.name, *fetch.read_image_folder(self.folder, self.size))


@dataclass(frozen=True)
class Npz:
    """Your arrays ``x_train``, ``y_train``, ``x_test``, ``y_test`` in one ``.npz`` file; also ``npz:PATH``.

    Images ``[N, C, H, W]``, ``[N, H, W]`` or vectors ``[N, d]``, uint8 or floats; ``classes`` may name them.
    """

    path: str
    name: ClassVar[str] = "npz"

    def load(self, *, download=True):
        return _measured(self.name, *fetch.read_npz(self.path))


@dataclass(frozen=True)
class Gaussian:
    r"""Vectors \(x \sim N(0, I)\), in class 1 where most of ``hidden`` (odd) signs \(w_j \cdot x > 0\) hold.

    The teacher is a two-layer threshold net, a committee: Gaussian \(w_j\), equal second weights, so that
    both classes are equally likely. It and all samples follow from ``seed``.
    """

    dim: int = 20
    samples: int = 2000
    test_samples: int = 1000
    hidden: int = 3
    seed: int = 0
    name: ClassVar[str] = "gaussian"

    def __post_init__(self):
        _require(min(self.dim, self.samples, self.test_samples) > 0, f"all sizes must be 1 or more: {self}")
        _require(self.hidden > 0 and self.hidden % 2, f"Gaussian(hidden=...) must be odd, got {self.hidden}")

    def load(self, *, download=True):
        generator = torch.Generator().manual_seed(self.seed)
        teacher = torch.randn(self.hidden, self.dim, generator=generator)
        draws = [torch.randn(n, self.dim, generator=generator) for n in (self.samples, self.test_samples)]
        train, test = ((x, (2 * (x @ teacher.T > 0).sum(dim=1) > self.hidden).long()) for x in draws)
        return _measured(self.name, train, test, ("-1", "+1"))


@dataclass(frozen=True)
class Subspaces:
    r"""Class i on a plane of its own, neighbours at ``degrees``. Long et al. 2021, arXiv:2011.11256.

    Two classes are the paper's: \(V_1 = \text{span}(e_1, \sin\theta\, e_2 + \cos\theta\, e_3)\),
    \(V_2 = \text{span}(e_3, e_4)\); more are the chain of such pairs in \(R^{2n}\). Training points are the
    paper's grid, radii 1.0, 1.1, ..., 2.0 times ``turns`` directions; as many test points are drawn from the
    ring between with ``seed``.
    """

    classes: int = 2
    degrees: float = 60.0
    turns: int = 80
    seed: int = 0
    name: ClassVar[str] = "subspaces"

    def __post_init__(self):
        _require(self.classes > 1 and self.turns > 0, f"needs two classes and one turn or more, got {self}")
        _require(0 < self.degrees <= 90, f"Subspaces(degrees=...) must be in (0, 90], got {self.degrees}")

    def planes(self):
        """An orthonormal basis of each class' plane, float64 ``[classes, 2, 2 * classes]``."""
        theta, space = math.radians(self.degrees), torch.eye(2 * self.classes, dtype=torch.float64)
        second = math.sin(theta) * space[1:-1:2] + math.cos(theta) * space[2::2]
        return torch.stack([space[::2], torch.cat([second, space[-1:]])], dim=1)

    def load(self, *, download=True):
        generator = torch.Generator().manual_seed(self.seed)
        radii = 1 + torch.arange(11, dtype=torch.float64) / 10
        grid = torch.cartesian_prod(radii, torch.arange(self.turns, dtype=torch.float64) / self.turns)
        grid = grid.expand(self.classes, -1, -1)
        drawn = torch.rand(grid.shape, generator=generator, dtype=torch.float64)
        drawn[..., 0] += 1
        labels = torch.arange(self.classes).repeat_interleave(grid.shape[1])
        flat = (torch.view_as_real(torch.polar(p[..., 0], 2 * math.pi * p[..., 1])) for p in (grid, drawn))
        train, test = (((p @ self.planes()).flatten(0, 1).float(), labels) for p in flat)
        return _measured(self.name, train, test, map(str, range(self.classes)))


def source(text):
    """The source a text names: ``mnist``, ``gaussian(dim=50,seed=1)``, ``npz:PATH`` or ``imagefolder:PATH``.

    >>> source("subspaces(degrees=30)"), source("npz:my/data.npz")
    (Subspaces(classes=2, degrees=30, turns=80, seed=0), Npz(path='my/data.npz'))
    """
    kind, colon, path = text.partition(":")
    return SOURCES[kind](path) if colon and kind in ("npz", "imagefolder") else read(text, SOURCES)


def load(name="digits", *, folder=None, download=True):
    """The :class:`Dataset` of a source or its written form; ``folder`` is where its canonical files lie.

    Without ``folder`` they come from the cache, or once from the network if ``download``. Raises
    ``ValueError`` where the name is unknown or a file damaged or not the published one, ``FileNotFoundError``
    where one is missing, ``OSError`` where the network or the disk gives out.

    >>> load("digits").train_images.shape
    torch.Size([1442, 1, 8, 8])
    """
    found = source(name) if isinstance(name, str) else name
    if folder is not None:
        _require("folder" in (f.name for f in fields(found)), f"{found.name} takes no folder: leave it away")
        found = replace(found, folder=str(folder))
    return found.load(download=download)


KINDS = (Digits, MNIST, FashionMNIST, CIFAR10, ImageFolder, Npz, Gaussian, Subspaces)
SOURCES: dict[str, Any] = {kind.name: kind for kind in KINDS}
