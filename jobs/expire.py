"""Delete what is older than policy.yaml keeps it. Exit 0 done, 1 refused, 75 try again or at work already."""

import sys

from beacon_core.commands.expire import run

if __name__ == "__main__":
    sys.exit(run())
