"""Send a served model its golden requests. Exit 0 every answer is right, 1 one is wrong, 75 nothing answers."""

import sys

from beacon_core.commands.golden import run

if __name__ == "__main__":
    sys.exit(run())
