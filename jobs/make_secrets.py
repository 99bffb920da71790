"""Make the Secrets of an installation, where there are none. Exit 0 done, 1 refused, 75 try again."""

import sys

from beacon_core.commands.make_secrets import run

if __name__ == "__main__":
    sys.exit(run())
