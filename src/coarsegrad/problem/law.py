"""What a law of the inputs is, and the checks that all laws share."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np


class Law(Protocol):
    """What a problem asks of its inputs."""

    @property
    def mean(self) -> float:
        """Of an entry; nan where it does not exist, or is not known."""
        ...

    @property
    def variance(self) -> float:
        """Of an entry; infinite where it does not exist, nan where it is not known."""
        ...

    def fill(self, draw: np.random.Generator, out: np.ndarray) -> None:
        """Write a sample into ``out`` ``[N, m, n]``, float32 or float64."""
        ...


def checked_law(law: Any) -> None:
    """Raise ``ValueError`` unless it is a law."""
    if isinstance(law, type) or not all(hasattr(law, part) for part in ("fill", "mean", "variance")):
        raise ValueError(
            f"{law!r} is no law of inputs; give an object of problem.laws, such as Gaussian, Rademacher or "
            "Uniform; or one with fill, mean and variance of your own"
        )


def parts(out: np.ndarray) -> Iterator[np.ndarray]:
    """The samples, a few at a time: what is drawn in float64 should not take the memory of all of them."""
    few = max(1, 2**16 // max(1, out[:1].size))
    return (out[k : k + few] for k in range(0, len(out), few))


def finite(law: Any, *names: str) -> None:
    """Raise ``ValueError`` unless the fields of these names are finite."""
    for name in names:
        if not math.isfinite(getattr(law, name)):
            raise ValueError(f"{type(law).__name__}({name}=...) must be finite, got {getattr(law, name)}")


def positive(law: Any, *names: str) -> None:
    """Raise ``ValueError`` unless the fields of these names are positive and finite."""
    for name in names:
        value = getattr(law, name)
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{type(law).__name__}({name}=...) must be positive and finite, got {value}")
