"""Approve or reject a challenger. Exit 0 decided, now or before, 1 refused, 75 try again later."""

import sys

from beacon_retraining.commands.approve import run

if __name__ == "__main__":
    sys.exit(run())
