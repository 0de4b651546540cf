"""The searches for robust architectures: `python -m robnet_zoo.search --help`.

A folder for each algorithm holds what is its own; `registry` names them. The rest is shared:

- `core`: spaces, the supernet that contains all of a space, its optimizers, the base of the
  differentiable searches, and the step from architecture weights to cells;
- `run`: recipes, data, the loop that can be resumed at any step, files, and commands;
- `compare`: cells trained under one recipe and attacked alike.
"""
