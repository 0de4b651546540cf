"""Variants of a search with seeds of their own, whose cells are trained and attacked alike."""
