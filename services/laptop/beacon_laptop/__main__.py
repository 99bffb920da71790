"""`python -m beacon_laptop`: everything on this machine, until Ctrl-C."""

import sys

from beacon_laptop.run import main

sys.exit(main())
