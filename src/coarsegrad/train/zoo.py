"""Float models to start from, as their papers draw them, out of plain torch modules.

Every activation is a module of its own, used once, with a batch norm before it: a recipe can put a quantizer
in its place. A model here is a small frozen description; ``build`` makes the ``nn.Module``, its weights drawn
from ``seed`` and nothing else. Layers have names (``conv1``, ``bn1``, ``act1``, ..., ``fc``) for a recipe.
"""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from coarsegrad.spec import read

# hardtanh, or identity, where the quantizer is a sign: the identity leaves all to the quantizer
ACTIVATIONS = {"relu": nn.ReLU, "hardtanh": nn.Hardtanh, "identity": nn.Identity}


@dataclass(frozen=True, kw_only=True)
class Model:
    """What every model has: its activation, and whether its batch norms have scale and shift (``affine``).

    ``activation`` is ``relu``; ``hardtanh`` or ``identity`` for networks whose activations become signs.
    """

    activation: str = "relu"
    affine: bool = True
    name: ClassVar[str]
    images: ClassVar[bool] = True
    least: ClassVar[int] = 1

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"{self.name}(activation=...) must be one of {known}; got {self.activation!r}")

    def build(self, *, in_shape, classes, seed=0):
        """The float model for images of shape ``(C, H, W)`` or ``(d,)``; it returns logits ``[N, classes]``.

        The same ``seed`` gives the same weights; torch's global generator is left as it was.
        """
        in_shape = tuple(in_shape)
        if self.images and (len(in_shape) != 3 or min(in_shape[1:]) < self.least):
            raise ValueError(
                f"{self.name} takes images (C, H, W), {self.least} or more pixels a side, got {in_shape}; "
                "mlp takes any shape"
            )
        if classes < 2 or min(in_shape) < 1:
            raise ValueError(
                f"{self.name} needs two classes or more and a shape, got classes={classes}, {in_shape}"
            )
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            return self.layers(in_shape, classes)

    def layers(self, in_shape, classes) -> nn.Module:
        raise NotImplementedError

    def act(self):
        return ACTIVATIONS[self.activation]()

    def norm(self, width, dims=2):
        return (nn.BatchNorm1d, nn.BatchNorm2d)[dims // 2](width, affine=self.affine)

    def behind(self, i, width, *, pooled, pool_first):
        """Names and modules behind convolution i: batch norm and activation, pooling before or after them."""
        act = [(f"bn{i}", self.norm(width)), (f"act{i}", self.act())]
        pool = [(f"pool{i}", nn.MaxPool2d(2))] if pooled else []
        return pool + act if pool_first else act + pool


@dataclass(frozen=True)
class MLP(Model):
    """Fully connected: per width a linear layer, batch norm and activation, then the linear ``fc``.

    270,346 parameters for 1x28x28 and 10 classes.

    >>> model = MLP(widths=(8,)).build(in_shape=(1, 8, 8), classes=10)
    >>> [name for name, _ in model.named_children()]
    ['flatten', 'fc1', 'bn1', 'act1', 'fc']
    """

    widths: tuple[int, ...] = (256, 256)
    name: ClassVar[str] = "mlp"
    images: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        widths = self.widths
        if not isinstance(widths, tuple) or not all(isinstance(w, int) and w > 0 for w in widths):
            raise ValueError(
                f"mlp(widths=...) are whole numbers, 1 or more, as in (256,256) or (64,), got {self.widths}"
            )

    def layers(self, in_shape, classes):
        width, layers = prod(in_shape), [("flatten", nn.Flatten())]
        for i, wider in enumerate(self.widths, start=1):
            layers += [
                (f"fc{i}", nn.Linear(width, wider)),
                (f"bn{i}", self.norm(wider, 1)),
                (f"act{i}", self.act()),
            ]
            width = wider
        return nn.Sequential(OrderedDict([*layers, ("fc", nn.Linear(width, classes))]))


@dataclass(frozen=True)
class LeNet5(Model):
    """LeNet-5 in Caffe's widths, a batch norm before each activation as in Yin et al. 2019, arXiv:1903.05662.

    conv 20@5x5, pool, conv 50@5x5, pool, fc 500, fc. Theirs have no scale and shift: ``affine=False``.
    ``widths`` are those of the two convolutions, then of the hidden linear layers: ``(6, 16, 120, 84)`` is
    LeCun et al. 1998, doi:10.1109/5.726791. Convolutions are unpadded as in the original; below 16x16 pixels,
    where nothing would be left, padding 2 keeps the size. ``pool_first`` pools before the batch norm, for
    networks of signs: the largest of four is mostly positive, and its sign says little. 432,220 parameters
    for 1x28x28 and 10 classes, 431,080 with ``affine=False``; 44,878 in LeCun's widths.
    """

    widths: tuple[int, ...] = (20, 50, 500)
    pool_first: bool = False
    name: ClassVar[str] = "lenet5"
    least: ClassVar[int] = 4

    def __post_init__(self):
        super().__post_init__()
        widths = self.widths
        if (
            not isinstance(widths, tuple)
            or not all(isinstance(w, int) and w > 0 for w in widths)
            or (len(widths) < 2)
        ):
            raise ValueError(
                "lenet5(widths=...) are whole numbers, two for the convolutions and then one for each hidden "
                f"linear layer, as in (20,50,500) or (6,16,120,84), got {widths}"
            )

    def layers(self, in_shape, classes):
        channels, *sides = in_shape
        padding = 0 if min(sides) >= 16 else 2
        left = [((side - 4 + 2 * padding) // 2 - 4 + 2 * padding) // 2 for side in sides]
        first, second, *hidden = self.widths
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (before, after) in enumerate(((channels, first), (first, second)), start=1):
            layers[f"conv{i}"] = nn.Conv2d(before, after, 5, padding=padding)
            layers.update(self.behind(i, after, pooled=True, pool_first=self.pool_first))
        layers["flatten"] = nn.Flatten()
        width = second * prod(left)
        for i, wider in enumerate(hidden, start=1):
            layers[f"fc{i}"] = nn.Linear(width, wider)
            layers[f"bn{i + 2}"], layers[f"act{i + 2}"] = self.norm(wider, 1), self.act()
            width = wider
        layers["fc"] = nn.Linear(width, classes)
        return nn.Sequential(layers)


@dataclass(frozen=True)
class VGG11(Model):
    """VGG-11 for CIFAR with batch norm and one linear layer. Simonyan and Zisserman 2015, arXiv:1409.1556.

    conv 64, pool, 128, pool, 256, 256, pool, 512, 512, pool, 512, 512, pool, fc; all 3x3 and without bias.
    9,228,362 parameters for 3x32x32 and 10 classes.
    """

    name: ClassVar[str] = "vgg11"
    least: ClassVar[int] = 32
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 256, 512, 512, 512, 512)
    pooled: ClassVar[tuple[int, ...]] = (1, 2, 4, 6, 8)
    pool_first: ClassVar[bool] = False

    def layers(self, in_shape, classes):
        (channels, *sides), layers = in_shape, []
        for i, width in enumerate(self.widths, start=1):
            layers += [(f"conv{i}", nn.Conv2d(channels, width, 3, padding=1, bias=False))]
            layers += self.behind(i, width, pooled=i in self.pooled, pool_first=self.pool_first)
            channels = width
        left = prod(side // 2 ** len(self.pooled) for side in sides)
        layers += [("flatten", nn.Flatten()), ("fc", nn.Linear(channels * left, classes))]
        return nn.Sequential(OrderedDict(layers))


@dataclass(frozen=True)
class VGGSmall(VGG11):
    """The six-convolution VGG of binary networks. Cai et al. 2017, arXiv:1702.00953.

    conv 128, 128, pool, 256, 256, pool, 512, 512, pool, fc; all 3x3 and without bias. Pooling stands before
    the batch norm, as in IR-Net (arXiv:1909.10788): behind a sign it would have nothing left to compare.
    4,660,106 parameters for 3x32x32 and 10 classes.
    """

    name: ClassVar[str] = "vggsmall"
    least: ClassVar[int] = 8
    widths: ClassVar[tuple[int, ...]] = (128, 128, 256, 256, 512, 512)
    pooled: ClassVar[tuple[int, ...]] = (2, 4, 6)
    pool_first: ClassVar[bool] = True


@dataclass(frozen=True)
class ResNet20(Model):
    """ResNet-20 for CIFAR. He et al. 2016, arXiv:1512.03385, section 4.2; first weights by arXiv:1502.01852.

    ``shortcut="A"`` is the paper's without parameters (every second pixel, new channels zero): 269,722
    parameters for 3x32x32 and 10 classes; ``"B"`` is a 1x1 convolution with batch norm: 272,474.
    """

    shortcut: str = "B"
    name: ClassVar[str] = "resnet20"

    def __post_init__(self):
        super().__post_init__()
        if self.shortcut not in ("A", "B"):
            raise ValueError(
                f"resnet20(shortcut=...) must be 'A' (no parameters) or 'B' (1x1), got {self.shortcut!r}"
            )

    def layers(self, in_shape, classes):
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(in_shape[0], 16, 3, padding=1, bias=False), bn1=self.norm(16), act1=self.act()
        )
        widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
        for i, (width, wider) in enumerate(pairwise(widths)):
            layers[f"block{i // 3 + 1}_{i % 3 + 1}"] = Residual(self, width, wider)
        layers |= OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(64, classes))
        model = nn.Sequential(layers)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        return model


@dataclass(frozen=True)
class DSCNN(Model):
    """Depthwise-separable blocks of one width. Zhang et al. 2017, "Hello Edge", arXiv:1711.07128: DS-CNN.

    A 3x3 convolution, stride 2 from 16 pixels a side on, else 1; then ``blocks`` times a 3x3 convolution of
    each channel by itself (``depth1``, ...) and a 1x1 convolution (``point1``, ...), a batch norm and an
    activation behind each; mean over the pixels, fc. ``width=64`` is theirs for speech of size S, but for the
    first kernel. 21,066 parameters for 1x28x28 and 10 classes.
    """

    width: int = 64
    blocks: int = 4
    name: ClassVar[str] = "dscnn"

    def __post_init__(self):
        super().__post_init__()
        if self.width < 1 or self.blocks < 1:
            raise ValueError(f"dscnn(width=..., blocks=...) are 1 or more, got {self.width}, {self.blocks}")

    def layers(self, in_shape, classes):
        (channels, *sides), width = in_shape, self.width
        stride = 2 if min(sides) >= 16 else 1
        first = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=first, bn1=self.norm(width), act1=self.act())
        for i in range(1, self.blocks + 1):
            layers |= {
                f"depth{i}": nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                f"bn{i}_depth": self.norm(width),
                f"act{i}_depth": self.act(),
                f"point{i}": nn.Conv2d(width, width, 1, bias=False),
                f"bn{i}_point": self.norm(width),
                f"act{i}_point": self.act(),
            }
        layers |= {
            "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(width, classes),
        }  # fmt: skip
        return nn.Sequential(layers)


class Residual(nn.Module):
    """Two 3x3 convolutions and a way around them: ``[N, width, H, W]`` -> ``[N, wider, H', W']``.

    Half the pixels a side where it gets wider. ``model`` says which shortcut, norm and activation.
    """

    def __init__(self, model, width, wider):
        super().__init__()
        stride = 1 if width == wider else 2
        self.conv1 = nn.Conv2d(width, wider, 3, stride=stride, padding=1, bias=False)
        self.bn1 = model.norm(wider)
        self.act1 = model.act()
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=False)
        self.bn2 = model.norm(wider)
        if width == wider:
            self.shortcut = nn.Identity()
        elif model.shortcut == "A":
            self.shortcut = Subsample(wider - width)
        else:
            projection = nn.Conv2d(width, wider, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=projection, bn=model.norm(wider)))
        self.act2 = model.act()

    def forward(self, x):
        y = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(y)) + self.shortcut(x))


class Subsample(nn.Module):
    """Every second pixel, and ``channels`` zero ones, half before and half behind.

    >>> Subsample(channels=2)(torch.ones(1, 1, 4, 4)).sum(dim=(2, 3))
    tensor([[0., 4., 0.]])
    """

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        before = self.channels // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.channels - before))


def build(model, *, in_shape, classes, seed=0):
    """The float ``nn.Module`` of a model or its written form, for one input shape and number of classes.

    Raises ``ValueError`` where the name is unknown or the shape does not suit the model.

    >>> model = build("resnet20(shortcut='A')", in_shape=(3, 32, 32), classes=10)
    >>> sum(p.numel() for p in model.parameters())
    269722
    """
    found = read(model, MODELS) if isinstance(model, str) else model
    return found.build(in_shape=in_shape, classes=classes, seed=seed)


MODELS = {kind.name: kind for kind in (MLP, LeNet5, VGG11, VGGSmall, ResNet20, DSCNN)}
