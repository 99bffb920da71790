"""Bring a finished model. Exit 0 done, 1 refused, 65 bad data, 75 try again later."""

import sys

from beacon_retraining.commands.register import run

if __name__ == "__main__":
    sys.exit(run())
