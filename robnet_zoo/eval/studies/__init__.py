"""Evaluations of many settings or models: sweeps, transfer, protocols and certificates."""
