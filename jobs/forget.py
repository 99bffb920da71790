"""Erase an entity, or predictions, from all that Beacon keeps. Exit 0 erased, 1 refused or not found, 75 try again."""

import sys

from beacon_core.commands.forget import run

if __name__ == "__main__":
    sys.exit(run())
