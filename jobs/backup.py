"""Back up all that Beacon keeps, to a folder or to S3. Exit 0 done, 1 refused, 75 try again or at work already."""

import sys

from beacon_retraining.commands.backup import run

if __name__ == "__main__":
    sys.exit(run())
