"""Check a product before anything trains. Exit 0 good, 1 a rule of product.yaml, 65 of the data, 75 retry."""

import sys

from beacon_retraining.commands.check import run

if __name__ == "__main__":
    sys.exit(run())
