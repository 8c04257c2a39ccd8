"""The teacher-student problem by sampling. Knows no formula: what it says can be held against ``theory``."""

from .descend import descend

__all__ = ["descend"]
