r"""A linear student of a linear teacher, one fresh sample a step, weights and inputs on a few levels.

A sample is x with d standard normal entries and the label \(y = x^T w^*/\sqrt d\) plus noise. The student
says \(\phi(x)^T Q(w)/\sqrt d\), with quantizers \(\phi\) of the inputs and Q of the weights, or without
them. A step moves the latents by \(-\frac{\eta}{\sqrt d}\, g(w_j)\, \phi(x_j)\, r\), r what the student says
less the label, g the slope that stands in for that of Q. Time is \(\tau\) = steps / d.
Ichikawa, Kashiwamura & Sakata 2025, arXiv:2510.10693.
"""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Even:
    """Levels evenly from -reach to reach, 2^bits of them; each number goes to the nearest.

    With ``zero`` they are one fewer, so that 0 is among them.

    >>> Even(2, 3.0).levels, Even(2, 3.0).breaks, Even(2, 3.0, zero=True).levels
    ((-3.0, -1.0, 1.0, 3.0), (-2.0, 0.0, 2.0), (-3.0, 0.0, 3.0))
    """

    bits: int
    reach: float
    zero: bool = False

    def __post_init__(self):
        if type(self.bits) is not int or not 1 + self.zero <= self.bits <= 8:
            raise ValueError(
                f"Even(bits=...) must be a whole number from {1 + self.zero} to 8, got {self.bits!r}"
            )
        if not (self.reach > 0 and math.isfinite(self.reach)):
            raise ValueError(f"Even(reach=...) must be positive and finite, got {self.reach}")

    @property
    def count(self) -> int:
        """How many levels."""
        return 2**self.bits - self.zero

    @property
    def spacing(self) -> float:
        """Between two levels, and between two breaks."""
        return 2 * self.reach / (self.count - 1)

    @property
    def levels(self) -> tuple[float, ...]:
        """Ascending, symmetric about 0."""
        return tuple((k - (self.count - 1) / 2) * self.spacing for k in range(self.count))

    @property
    def breaks(self) -> tuple[float, ...]:
        """Where the level changes, ascending: half-way between levels."""
        return tuple((k - self.count / 2) * self.spacing for k in range(1, self.count))

    def __call__(self, x: Tensor) -> Tensor:
        """The level of each number; on a break, the upper one.

        >>> import torch
        >>> Even(2, 3.0)(torch.tensor([-9.0, -0.1, 0.0, 2.5]))
        tensor([-3., -1.,  1.,  3.])
        """
        middle = (self.count - 1) / 2
        step = (x / self.spacing).add_(self.count / 2).floor_().clamp_(0, self.count - 1)
        return step.sub_(middle).mul_(self.spacing)


@dataclass(frozen=True)
class Online:
    """The problem, whatever the dimension.

    Args:
        weights: the quantizer Q of the weights; None for float ones.
        inputs: the quantizer of the student's inputs; the teacher sees them as they are. None: so does the
            student.
        teacher: the values of the teacher's weights, each of an equal share of them.
        step_size: eta.
        noise: standard deviation of the Gaussian label noise.
        start: standard deviation of the latents at the start, normal with mean 0.

    Raises ``ValueError`` with the mend for anything else.

    >>> Online(Even(2, 2.0), teacher=())
    Traceback (most recent call last):
    ...
    ValueError: Online(teacher=...) needs one value or more, finite, not all 0; got ()
    """

    weights: Even | None
    inputs: Even | None = None
    teacher: tuple[float, ...] = (1.0,)
    step_size: float = 0.5
    noise: float = 0.0
    start: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "teacher", tuple(float(value) for value in self.teacher))
        if not all(map(math.isfinite, self.teacher)) or not any(self.teacher):
            raise ValueError(
                f"Online(teacher=...) needs one value or more, finite, not all 0; got {self.teacher}"
            )
        for name, least in (("step_size", "positive"), ("noise", "0 or more"), ("start", "positive")):
            value = getattr(self, name)
            if not (math.isfinite(value) and (value > 0 or (value == 0 and name == "noise"))):
                raise ValueError(f"Online({name}=...) must be {least} and finite, got {value}")

    @property
    def size(self) -> float:
        """The mean square of the teacher's weights: the error of a student that says 0."""
        return sum(value * value for value in self.teacher) / len(self.teacher)
