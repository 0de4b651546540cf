"""Importing this registers every indicator of the package."""

from robnet_zoo.search.indicators import bounds, counts, graph, losses, training

__all__ = ["bounds", "counts", "graph", "losses", "training"]
