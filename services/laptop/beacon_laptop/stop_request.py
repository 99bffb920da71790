"""A stop that a signal asks for, as a flag.

A threading.Event would not do: its lock is taken by whoever sets it or waits for it. A signal's handler runs in the
main thread, wherever that is, so a second signal while the first one's handler sets the event waits for ever. Ctrl-C
in a terminal sends two: the terminal's own, and one of make.
"""

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Whether a stop was requested."""

    def __init__(self) -> None:
        self.is_made = False

    def make(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Request a stop; a signal's handler, which may interrupt itself."""
        self.is_made = True


def stop_on_signals() -> StopRequest:
    """The request that Ctrl-C, SIGTERM and SIGHUP to this process make from now on."""
    stop = StopRequest()
    for number in SIGNALS:
        signal.signal(number, stop.make)
    return stop
