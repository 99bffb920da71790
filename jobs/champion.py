"""Print the model in service as a release file (JSON). Exit 0 done, 3 none yet, 1 refused, 75 try again."""

import sys

from beacon_retraining.commands.champion import run

if __name__ == "__main__":
    sys.exit(run())
