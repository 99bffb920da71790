"""The data of retraining: check a file, pull or push what DVC keeps, list what a version was trained on."""

import sys

from beacon_retraining.commands.data import run

if __name__ == "__main__":
    sys.exit(run())
