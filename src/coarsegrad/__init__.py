"""Training quantized neural networks with straight-through estimators, and knowing whether they work."""
