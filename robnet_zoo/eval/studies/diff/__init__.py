"""Why another tool, or a script of your own, gives another number for the same weights."""
