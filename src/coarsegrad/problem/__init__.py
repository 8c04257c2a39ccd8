"""What ``theory`` predicts and ``sim`` samples: the teacher-student problem, and a descent's record."""

from .descent import Descent, Window
from .online import Even, Online
from .teacher import Problem, stream

__all__ = ["Descent", "Even", "Online", "Problem", "Window", "stream"]
