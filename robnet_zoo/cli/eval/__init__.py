"""Evaluations: one model, several, and what is shown of records."""
