"""Profile the prediction log, compare with training, judge. Exit 0 done, 1 refused, 75 try again or at work already."""

import sys

from beacon_drift_profiling.commands.drift import run

if __name__ == "__main__":
    sys.exit(run())
