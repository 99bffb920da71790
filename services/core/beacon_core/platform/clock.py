"""The clock of every service and job: the machine's, plus a simulation's shift (docs/tutorials/drift-to-promotion.md).

The shift is a number of seconds in `BEACON_HOME`/clock. Times that are recorded, or compared with records, come from
here; durations, timeouts and the times of log lines are the machine's.
"""

import math
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from beacon_core.platform import locations
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import PREFIX, Settings

POLL_SECONDS = 1.0
"""How often the file is checked: a prediction must not wait for it."""


class _Shift:
    """The current shift, read again when the file has changed."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._polled_at = -math.inf
        self._seen: tuple[str, int] | None = None

    def read(self) -> float:
        moment = time.monotonic()
        if moment - self._polled_at >= POLL_SECONDS:
            self._polled_at = moment
            self._poll()
        return self.seconds

    def expire(self) -> None:
        self._polled_at = -math.inf

    def _poll(self) -> None:
        given = os.environ.get(f"{PREFIX}HOME")
        file = (locations.absolute(given) if given else Settings().home) / "clock"
        try:
            seen = str(file), file.stat().st_mtime_ns
        except OSError:
            self._seen, self.seconds = None, 0.0
            return
        if seen != self._seen:
            self._seen, self.seconds = seen, _seconds_in(file)


_shift = _Shift()


def now() -> datetime:
    """The time, with the zone UTC."""
    return datetime.now(UTC) + timedelta(seconds=_shift.read())


def timestamp() -> float:
    """The time, in seconds since 1970."""
    return time.time() + _shift.read()


def shift() -> timedelta:
    """How far the time is ahead of the machine's."""
    return timedelta(seconds=_shift.read())


def set_shift(home: Path, ahead: timedelta) -> None:
    """Shift the time of everything that has `home` as its BEACON_HOME; the others see it within `POLL_SECONDS`."""
    # Not durable: after a power failure a simulation starts again.
    write_atomically(home / "clock", str(ahead.total_seconds()).encode(), durable=False)
    _shift.expire()


def _seconds_in(file: Path) -> float:
    # A damaged file must not fail a prediction: the machine's time is used instead.
    try:
        seconds = float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0.0
    return seconds if math.isfinite(seconds) and abs(seconds) < timedelta(days=3650).total_seconds() else 0.0
