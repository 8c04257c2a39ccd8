"""Closed forms, every function naming its paper. Knows no sampling: ``sim`` observes what this predicts."""

from .descend import descend

__all__ = ["descend"]
