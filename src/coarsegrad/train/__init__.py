"""Training: data sets, float models to start from, and a loop that yields a row per epoch."""
