"""The words of `beacon` that are jobs/promote.py with some arguments."""

import sys

from beacon_promotion.commands.promote import run


def promote() -> int:
    """Promote what may go into service, after another run's end."""
    return _run("run", "--wait", "180")


def rollback() -> int:
    """Roll back to the last good model."""
    return _run("rollback")


def served() -> int:
    """Print which model served at a time."""
    return _run("served")


def history() -> int:
    """Print the newest entries of the ledger."""
    return _run("history")


def values() -> int:
    """Write the model that passed the gate into a values file for git."""
    return _run("values")


def _run(*arguments: str) -> int:
    sys.argv[1:1] = arguments
    return run()
