"""Faster forms of the networks that compute the same function."""
