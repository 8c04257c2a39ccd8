"""What is trained: LeNet-5 on images, and a small transformer on the text that comes with Python.

Each has a part to train on, a part held out for trials of learning rates, and a part for the final test.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coarsegrad.nn import prepare
from coarsegrad.nn.recipe import Recipe
from coarsegrad.train import data, zoo

CONTEXT = 64
"""Characters that the transformer sees."""
HELD_OUT = 2000
"""Images of the held-out part that judge, at most."""
WINDOWS = 256
"""Windows of text that judge, at most."""
Batch = tuple[Tensor, Tensor]


class Net(Protocol):
    """A network with its data. Batches are inputs and the classes to tell, ``[N, ...]`` and ``[M]``."""

    @property
    def classes(self) -> int:
        """How many there are to tell apart."""
        ...

    def model(self, recipe: Recipe, seed: int) -> nn.Module:
        """The prepared network, in training mode; it returns logits ``[M, classes]``."""
        ...

    def batches(self, seed: int, size: int) -> Iterator[Batch]:
        """Training batches without end, the same for a seed whatever is trained on them."""
        ...

    def judged_on(self, part: str) -> list[Batch]:
        """Batches of the part ``held out`` or ``test``."""
        ...


@dataclass(frozen=True, eq=False)
class Images:
    """LeNet-5 with a quantizer in place of every ReLU; every tenth of the training images is held out."""

    found: data.Dataset

    @property
    def classes(self) -> int:
        """Classes of images."""
        return len(self.found.classes)

    def model(self, recipe: Recipe, seed: int) -> nn.Module:
        """LeNet-5 in Caffe's widths."""
        shape = self.found.in_shape
        net = zoo.build("lenet5", in_shape=shape, classes=self.classes, seed=seed)
        return prepare(net, recipe, torch.zeros(2, *shape)).train()

    def batches(self, seed: int, size: int) -> Iterator[Batch]:
        """Epochs one after the other, each in an order of its own, without augmentation."""
        order = self._batches(False, size, seed=seed, drop_last=True)
        epoch = 0
        while True:
            yield from order.epoch(epoch)
            epoch += 1

    def judged_on(self, part: str) -> list[Batch]:
        """The first 2,000 held-out training images, or all test images."""
        if part == "test":
            return list(self.found.test_batches().epoch(0))
        return list(self._batches(True, 500, shuffle=False).epoch(0))

    def _batches(self, held_out: bool, size: int, **order: Any) -> data.Batches:
        found = self.found
        (which,) = ((torch.arange(len(found.train_images)) % 10 == 9) == held_out).nonzero(as_tuple=True)
        which = which[:HELD_OUT] if held_out else which
        images, labels = found.train_images[which], found.train_labels[which]
        return data.Batches(images, labels, size, mean=found.mean, std=found.std, **order)


@dataclass(frozen=True, eq=False)
class Text:
    """A transformer of two layers that says the next character; of the text, a tenth each is for judging."""

    codes: Tensor
    classes: int
    width: int = 64

    def model(self, recipe: Recipe, seed: int) -> nn.Module:
        """The transformer, quantized at the inputs of its linear layers."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            net = Transformer(self.classes, self.width)
        return prepare(net, recipe, torch.zeros(2, CONTEXT, dtype=torch.int64)).train()

    def batches(self, seed: int, size: int) -> Iterator[Batch]:
        """Windows that begin anywhere in the first four fifths."""
        random, last = torch.Generator().manual_seed(seed), len(self.codes) * 4 // 5 - CONTEXT
        while True:
            yield self._windows(torch.randint(last, (size,), generator=random))

    def judged_on(self, part: str) -> list[Batch]:
        """Windows spread evenly over the ninth tenth (``held out``) or the last one (``test``)."""
        tenth = len(self.codes) // 10
        start = (9 if part == "test" else 8) * tenth
        count = min(WINDOWS, tenth // (CONTEXT + 1))
        starts = start + torch.arange(count) * ((tenth - CONTEXT - 1) // max(count - 1, 1))
        return [self._windows(some) for some in starts.split(50)]

    def _windows(self, starts: Tensor) -> Batch:
        windows = self.codes[starts[:, None] + torch.arange(CONTEXT + 1)]
        return windows[:, :-1], windows[:, 1:].flatten()


class Block(nn.Module):
    """Attention to what came before, then two linear layers with a ReLU; layer norm before each."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, T, width]`` -> the same shape."""
        split = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*split.unbind(), is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Characters ``[N, T]`` -> logits of the next ones, ``[N * T, characters]``."""

    def __init__(self, characters: int, width: int, layers: int = 2):
        super().__init__()
        self.characters = nn.Embedding(characters, width)
        self.places = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, codes: Tensor) -> Tensor:
        """The logits."""
        places = self.places(torch.arange(codes.shape[1], device=codes.device))
        return self.head(self.norm(self.blocks(self.characters(codes) + places))).flatten(0, 1)


@cache
def text() -> str:
    """The help topics that ``help()`` shows, in English, in the order of their names."""
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))


def text_id() -> str:
    """16 hexadecimal digits that name the text: it differs between versions of Python."""
    return hashlib.sha256(text().encode()).hexdigest()[:16]


@cache
def net_of(name: str, folder: str | None = None, width: int = 64) -> Net:
    """The network and its data: ``text`` (a transformer of this width), or the name of a source of images."""
    if name != "text":
        return Images(data.load(name, folder=folder))
    characters = sorted(set(text()))
    place = {character: code for code, character in enumerate(characters)}
    return Text(torch.tensor([place[character] for character in text()]), len(characters), width)


def loaded(settings: Mapping[str, Any]) -> Net:
    """The net of a task's settings. Raises ``ValueError`` where the text is not the one that was planned."""
    if settings["data"] == "text" and settings["text"] != text_id():
        raise ValueError("the text of this Python is not the planned one: plan and run with one version")
    return net_of(settings["data"], settings.get("data_folder"), settings.get("width", 64))
