"""`python -m robnet_zoo.eval`."""

import sys

from robnet_zoo.cli.eval import main

sys.exit(main())
