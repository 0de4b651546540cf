"""`python -m robnet_zoo.search`."""

import sys

from robnet_zoo.cli.search import main

sys.exit(main())
