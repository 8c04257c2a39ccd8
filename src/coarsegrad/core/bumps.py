"""Surrogates with a smooth bump around the threshold of a sign."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from coarsegrad.core.surrogate import Surrogate, positive


@dataclass(frozen=True)
class ApproxSign(Surrogate):
    """Curve 2x - x|x| on [-1, 1], sign outside; slope 2 - 2|x|. Liu et al. 2018, arXiv:1808.00278.

    It is the slope of the activations' sign in Bi-Real Net; outside it is 0.
    """

    name: ClassVar[str] = "approx_sign"
    formula: ClassVar[str] = "max(0, 2-2|x|)"
    source: ClassVar[str] = "Liu et al. 2018, arXiv:1808.00278"
    breaks: ClassVar[tuple[float, ...]] = (-1.0, 0.0, 1.0)

    def curve(self, x):
        """The two parabolas."""
        x = x.clamp(-1, 1)
        return 2 * x - x * x.abs()

    def slope(self, x):
        """The triangle of height 2."""
        return 2 * (1 - x.abs()).clamp(min=0)


@dataclass(frozen=True)
class SwishSign(Surrogate):
    r"""Curve \(2\sigma(bx)(1 + bx(1-\sigma(bx))) - 1\). BNN+, Darabi et al. 2018, arXiv:1812.11800."""

    beta: float = 5.0
    name: ClassVar[str] = "swish_sign"
    formula: ClassVar[str] = "b(2 - bx tanh(bx/2)) / (1 + cosh bx)"
    source: ClassVar[str] = "Darabi et al. 2018, arXiv:1812.11800"
    breaks: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self):
        positive(self, "beta")

    def curve(self, x):
        """The sign-swish."""
        z = (self.beta * x).clamp(-60, 60)
        return 2 * torch.sigmoid(z) * (1 + z * torch.sigmoid(-z)) - 1

    def slope(self, x):
        """Written with sigmoids, which do not overflow: 1/(1+cosh z) = 2 s(z) s(-z)."""
        z = (self.beta * x).clamp(-60, 60)
        return self.beta * 2 * torch.sigmoid(z) * torch.sigmoid(-z) * (2 - z * torch.tanh(z / 2))


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """Curve 2s(kx) - 1, s the sigmoid; slope 2k s(kx)s(-kx). After Zenke & Ganguli 2018, arXiv:1705.11146."""

    k: float = 2.0
    name: ClassVar[str] = "sigmoid"
    formula: ClassVar[str] = "2k s(kx) s(-kx)"
    source: ClassVar[str] = "Zenke & Ganguli 2018, arXiv:1705.11146"
    breaks: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self):
        positive(self, "k")

    def curve(self, x):
        """The centred sigmoid."""
        return torch.tanh(self.k * x / 2)

    def slope(self, x):
        """A product of two sigmoids: no exponential to overflow."""
        z = self.k * x
        return 2 * self.k * torch.sigmoid(z) * torch.sigmoid(-z)


@dataclass(frozen=True)
class Tanh(Surrogate):
    """Curve tanh(kx); slope k(1 - tanh^2(kx)). Gong et al. 2019 (DSQ, one step), arXiv:1908.05033."""

    k: float = 1.0
    name: ClassVar[str] = "tanh"
    formula: ClassVar[str] = "k (1 - tanh(kx)^2)"
    source: ClassVar[str] = "Gong et al. 2019, arXiv:1908.05033"
    breaks: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self):
        positive(self, "k")

    def curve(self, x):
        """The hyperbolic tangent."""
        return torch.tanh(self.k * x)

    def slope(self, x):
        """Its derivative."""
        return self.k * (1 - torch.tanh(self.k * x).square())


@dataclass(frozen=True)
class Triangular(Surrogate):
    """Slope height * max(0, 1 - |x|/width). Esser et al. 2016, arXiv:1603.08270."""

    width: float = 1.0
    height: float = 1.0
    name: ClassVar[str] = "triangular"
    formula: ClassVar[str] = "h max(0, 1 - |x|/w)"
    source: ClassVar[str] = "Esser et al. 2016, arXiv:1603.08270"

    def __post_init__(self):
        positive(self, "width", "height")

    @property
    def breaks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The kinks of the triangle."""
        return (-self.width, 0.0, self.width)

    def curve(self, x):
        """Two parabolas."""
        x = x.clamp(-self.width, self.width)
        return self.height * (x - x * x.abs() / (2 * self.width))

    def slope(self, x):
        """The triangle."""
        return self.height * (1 - x.abs() / self.width).clamp(min=0)


@dataclass(frozen=True)
class Arctan(Surrogate):
    r"""Curve \(2\arctan(\pi ax/2)/\pi\); slope \(a/(1+(\pi ax/2)^2)\). Fang et al. 2021, arXiv:2007.05785."""

    a: float = 1.0
    name: ClassVar[str] = "arctan"
    formula: ClassVar[str] = "a / (1 + (pi a x/2)^2)"
    source: ClassVar[str] = "Fang et al. 2021, arXiv:2007.05785"
    breaks: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self):
        positive(self, "a")

    def curve(self, x):
        """The scaled arc tangent."""
        return torch.atan(math.pi / 2 * self.a * x) * (2 / math.pi)

    def slope(self, x):
        """A Cauchy bump; a square that overflows gives 0, as it should."""
        return self.a / (1 + (math.pi / 2 * self.a * x).square())


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """Curve erf(x/(sigma sqrt 2)); slope twice a normal density. Yin et al. 2021 (SNN), arXiv:2103.12593."""

    sigma: float = 0.5
    name: ClassVar[str] = "gaussian"
    formula: ClassVar[str] = "sqrt(2/pi)/s exp(-x^2/2s^2)"
    source: ClassVar[str] = "Yin, Corradi & Bohte 2021, arXiv:2103.12593"
    breaks: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self):
        positive(self, "sigma")

    def curve(self, x):
        """The error function."""
        return torch.erf(x / (self.sigma * math.sqrt(2)))

    def slope(self, x):
        """The bell; its exponent may reach -inf, where it is 0."""
        return math.sqrt(2 / math.pi) / self.sigma * torch.exp(-(x / self.sigma).square() / 2)
