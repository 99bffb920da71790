"""Bring the store's tables to the newest schema; safe to repeat. Exit 0 done, 1 refused, 75 try again later."""

import sys

from beacon_core.commands.migrate import run

if __name__ == "__main__":
    sys.exit(run())
