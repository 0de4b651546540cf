"""Indicators on trial: what tells a robust architecture, on cells that no search chose.

An indicator is a number that one can compute of an architecture without training it to the end.
`registry` holds them by name, `counts`, `graph` and the files beside them define them, `benchmark`
reads the cells whose robust accuracy is known, and `statistics` holds the two against each other.
"""
