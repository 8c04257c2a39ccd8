"""The teacher-student problem by sampling. Knows no formula: what it says can be held against ``theory``."""

from .classify import Classified, classify
from .descend import descend
from .online import online
from .outcome import Recovery
from .plan import Plan, plan
from .recover import recover

__all__ = ["descend", "recover", "Recovery", "plan", "Plan", "classify", "Classified", "online"]
