"""Measurements of speed, each side by side with the plain way: python -m benchmarks.NAME."""
