"""Closed forms, every function naming its paper. Knows no sampling: ``sim`` observes what this predicts."""

from .descend import descend
from .disguise import disguise

__all__ = ["descend", "disguise"]
