"""`python -m robnet_zoo.search`: the branch `search` of the command line."""

import sys
from functools import partial

from robnet_zoo.cli.main import main as command_line

main = partial(command_line, at="search")

if __name__ == "__main__":
    sys.exit(main())
