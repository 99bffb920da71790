"""Ask a served model its own golden requests. Exit 0 every answer is right, 1 one is wrong, 75 nobody answers."""

import sys

from beacon_core.commands.golden import run

if __name__ == "__main__":
    sys.exit(run())
