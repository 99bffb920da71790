"""Write a product for a table. Exit 0 written, 1 refused, 65 bad data, 75 try again later."""

import sys

from beacon_retraining.commands.new import run

if __name__ == "__main__":
    sys.exit(run())
