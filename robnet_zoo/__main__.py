"""`python -m robnet_zoo` is the console command `robnet-zoo`."""

import sys

from robnet_zoo.cli.main import main

sys.exit(main())
