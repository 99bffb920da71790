"""Copy what is new in the offline store into the online store. Exit 0 done, 1 refused, 75 try again later."""

import sys

from beacon_feature_serving.commands.materialize import run

if __name__ == "__main__":
    sys.exit(run())
