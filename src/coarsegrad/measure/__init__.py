"""Numbers about tensors: alignment, flips, moments, fits and intervals. No models, no loops, no files."""

from .alignment import angle, cosine, sign_agreement
from .fits import LogisticThreshold, PowerLaw, logistic_threshold, power_law
from .flips import Oscillation, flip_ratio, oscillation_start, oscillation_step
from .intervals import (
    Interval,
    PairedDifference,
    holm,
    mean_interval,
    paired_difference,
    paired_power,
    proportion_interval,
    student_t_quantile,
    student_t_tail,
)
from .moments import Ends, Histogram, Moments, dead_fraction, end_fractions, histogram, moments
from .ranks import rank_correlation

__all__ = [
    "Ends",
    "Histogram",
    "Interval",
    "LogisticThreshold",
    "Moments",
    "Oscillation",
    "PairedDifference",
    "PowerLaw",
    "angle",
    "cosine",
    "dead_fraction",
    "end_fractions",
    "flip_ratio",
    "histogram",
    "holm",
    "logistic_threshold",
    "mean_interval",
    "moments",
    "oscillation_start",
    "oscillation_step",
    "paired_difference",
    "paired_power",
    "power_law",
    "proportion_interval",
    "rank_correlation",
    "sign_agreement",
    "student_t_quantile",
    "student_t_tail",
]
