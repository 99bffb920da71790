"""Bring a backup back into an empty Beacon. Exit 0 done, 1 refused, 75 try again."""

import sys

from beacon_retraining.commands.restore import run

if __name__ == "__main__":
    sys.exit(run())
