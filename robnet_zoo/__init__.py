"""Robust architectures found by neural architecture search, their weights and their evaluation."""

__version__ = "0.1.0"
