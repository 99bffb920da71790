"""`python -m beacon_prediction_log`: ship the prediction log until SIGTERM."""

import contextlib
import os
import sys

NICENESS = 10
"""Predictions come first."""


def main() -> int:
    """Run; the priority falls before the imports, which take a second at the start of both processes."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    from beacon_prediction_log.program import run  # noqa: PLC0415 - see above

    return run()


if __name__ == "__main__":
    sys.exit(main())
