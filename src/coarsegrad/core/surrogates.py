"""The catalogue of surrogates: names exist only for text; pass your own object wherever one is asked for."""

from coarsegrad.core.bumps import ApproxSign, Arctan, Gaussian, Sigmoid, SwishSign, Tanh, Triangular
from coarsegrad.core.scheduled import EDE, EWGS, ReSTE
from coarsegrad.core.surrogate import Stretched, Surrogate
from coarsegrad.core.windows import (
    ClippedReLU,
    HardTanh,
    Identity,
    LeakyHardTanh,
    LeakyReLU,
    LogTailedReLU,
    MagnitudeAwareSign,
    ReLU,
    ReverseExponential,
)

SURROGATES: dict[str, type[Surrogate]] = {
    cls.name: cls
    for cls in (
        Identity,
        ReLU,
        ClippedReLU,
        HardTanh,
        LeakyReLU,
        LeakyHardTanh,
        ApproxSign,
        SwishSign,
        Sigmoid,
        Tanh,
        Triangular,
        Arctan,
        Gaussian,
        LogTailedReLU,
        ReverseExponential,
        MagnitudeAwareSign,
        EDE,
        ReSTE,
        EWGS,
    )
}

__all__ = [
    "SURROGATES",
    "Stretched",
    "Surrogate",
    "ApproxSign",
    "Arctan",
    "ClippedReLU",
    "EDE",
    "EWGS",
    "Gaussian",
    "HardTanh",
    "Identity",
    "LeakyHardTanh",
    "LeakyReLU",
    "LogTailedReLU",
    "MagnitudeAwareSign",
    "ReLU",
    "ReSTE",
    "ReverseExponential",
    "Sigmoid",
    "SwishSign",
    "Tanh",
    "Triangular",
]
