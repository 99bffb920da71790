"""The progress of what takes long, as log lines for whoever draws it: `beacon` and `make run` set BEACON_PROGRESS."""

import logging
import time

log = logging.getLogger("beacon.progress")
EVERY_SECONDS = 0.2


class Progress:
    """The progress of one thing, whose `total` is 0 where nobody knows it."""

    def __init__(self, what: str, total: int = 0, unit: str = "", done: int = 0) -> None:
        self.what, self.total, self.unit = what, total, unit
        self._next = 0.0
        self.show(done)

    def show(self, done: int) -> None:
        """Log how far it is; not more often than is looked at, but for the end."""
        if log.disabled or (time.monotonic() < self._next and done != self.total):
            return
        self._next = time.monotonic() + EVERY_SECONDS
        log.info("%s", self.what, extra={"done": done, "total": self.total, "unit": self.unit})


def enable(*, wanted: bool) -> None:
    """Log progress from now on, or no longer."""
    log.disabled = not wanted


enable(wanted=False)
