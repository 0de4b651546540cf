"""A table of the papers, measured with the weights that exist."""
