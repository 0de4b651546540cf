"""`python -m robnet_zoo.train`."""

import sys

from robnet_zoo.cli.train import main

sys.exit(main())
