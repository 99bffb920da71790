"""Compare what serving returned with what training would see. Exit 0 equal enough, 1 too much skew, 75 try again."""

import sys

from beacon_feature_serving.commands.skew import run

if __name__ == "__main__":
    sys.exit(run())
