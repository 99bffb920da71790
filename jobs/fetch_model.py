"""Download the packages that the release file pins to BEACON_HOME/models. Exit 0 done, 1 refused, 75 try again."""

import sys

from beacon_core.commands.fetch_model import run

if __name__ == "__main__":
    sys.exit(run())
