"""Promote what passed the gate, roll back what fails, and show what served when."""

import sys

from beacon_promotion.commands.promote import run

if __name__ == "__main__":
    sys.exit(run())
