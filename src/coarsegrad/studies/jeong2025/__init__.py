"""Jeong, Xin & Yin 2025, arXiv:2505.18113: the straight-through estimator on finitely many samples.

Binary weights, a threshold activation, N samples. How many it takes (``complexity``); how the teacher is left
and visited again where labels are noisy, or it is not binary (``recurrence``); and on inputs of which law,
normalized how (``normalization``).
"""
