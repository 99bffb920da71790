"""Sign the packages that are registered already. Exit 0 done, 1 refused, 75 try again."""

import sys

from beacon_retraining.commands.sign import run

if __name__ == "__main__":
    sys.exit(run())
