"""Jeong, Xin & Yin 2025, arXiv:2505.18113: the straight-through estimator on finitely many samples.

Binary weights, a threshold activation, N samples. How many it takes (``complexity``); on
inputs of which law, and normalized how (``normalization``).
"""
