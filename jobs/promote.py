"""Promote what passed the gate, take back what fails, and tell what served when."""

import sys

from beacon_promotion.commands.promote import run

if __name__ == "__main__":
    sys.exit(run())
