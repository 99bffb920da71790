"""How often to retrain: replay the labelled history. Exit 0 done, 65 too short a history, 75 retry."""

import sys

from beacon_retraining.commands.cadence import run

if __name__ == "__main__":
    sys.exit(run())
