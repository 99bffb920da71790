"""Score a table by the model in service. Exit 0 scored, 1 refused, 65 bad data, 75 try again later."""

import sys

from beacon_inference.commands.score import run

if __name__ == "__main__":
    sys.exit(run())
