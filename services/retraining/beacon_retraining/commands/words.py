"""The words of `beacon` that are another program with some arguments."""

import sys

from beacon_retraining.commands.approve import run as decide


def approve() -> int:
    """Approve a challenger that passed the gate."""
    sys.argv.insert(1, "approve")
    return decide()


def reject() -> int:
    """Reject a challenger."""
    sys.argv.insert(1, "reject")
    return decide()


def dvc() -> int:
    """Run DVC in the workspace of the last retraining."""
    from beacon_retraining.pipeline.dvc_program import run  # noqa: PLC0415 - DVC takes a second

    return run(sys.argv[1:])
