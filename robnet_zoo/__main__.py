"""`python -m robnet_zoo` is the console command `robnet-zoo`."""

import sys

from robnet_zoo.cli import main

sys.exit(main())
