"""`python -m robnet_zoo.eval`: the branch `eval` of the command line."""

import sys
from functools import partial

from robnet_zoo.cli.main import main as command_line

main = partial(command_line, at="eval")

if __name__ == "__main__":
    sys.exit(main())
