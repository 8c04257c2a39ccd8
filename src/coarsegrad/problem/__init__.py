"""What ``theory`` predicts and ``sim`` samples: the teacher-student problem, and a descent's record."""

from .descent import Descent, Window
from .teacher import Problem, stream

__all__ = ["Descent", "Problem", "Window", "stream"]
