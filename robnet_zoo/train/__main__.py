"""`python -m robnet_zoo.train`: the branch `train` of the command line."""

import sys
from functools import partial

from robnet_zoo.cli.main import main as command_line

main = partial(command_line, at="train")

if __name__ == "__main__":
    sys.exit(main())
