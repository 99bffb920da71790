"""The entry points of `beacon promote`, `rollback` and the like: jobs/promote.py with arguments."""

import sys

from beacon_promotion.commands.promote import run


def promote() -> int:
    """One pass, which waits for another run's end."""
    return _run("run", "--wait", "180")


def rollback() -> int:
    """Back to the last good model."""
    return _run("rollback")


def served() -> int:
    """Which model served at a time."""
    return _run("served")


def history() -> int:
    """The ledger's newest rows."""
    return _run("history")


def values() -> int:
    """What passed the gate, into a values file for git."""
    return _run("values")


def _run(*arguments: str) -> int:
    sys.argv[1:1] = arguments
    return run()
