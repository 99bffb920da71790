"""Times as people and programs write them: one parser for all of Beacon.

It accepts RFC 3339 and the rest of ISO 8601 that Python reads, and returns UTC.
"""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo

EXAMPLE = "2026-01-31T12:00:00Z"
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Feast's value for "never". pandas cannot represent times before 1677: one in a table breaks every later reader."""
MOST_AHEAD = timedelta(minutes=5)
"""A client's clock may run a little ahead of ours; what lies further ahead is a mistake."""
HOUR_24 = re.compile(r"(.{7,10}[T ])24(?=(?::?00(?::?00(?:[.,]0+)?)?)?(?:[-+ Z]|$))", re.ASCII)
LEAP_SECOND = re.compile(r"(.{7,10}[T ]\d\d:?\d\d:?)60", re.ASCII)


class TimeRangeError(ValueError):
    """A time that is too early or too late to be stored."""


def read_time(text: object, zone: tzinfo | None = None) -> datetime:
    """Read a time as UTC; a text without a zone is in `zone`. Raises ValueError with the rule.

    Digits after the microsecond are dropped. 24:00 is 0:00 of the next day. A leap second is the second that follows
    it, as in POSIX and PostgreSQL: no clock here has a 61st second.
    """
    if not isinstance(text, str):
        raise ValueError(f"must be a time such as {EXAMPLE}")
    plain = text.upper()  # RFC 3339 allows t and z
    whole_day, leap_second = HOUR_24.match(plain), LEAP_SECOND.match(plain)
    if whole_day:
        plain = f"{whole_day[1]}00{plain[whole_day.end() :]}"
    if leap_second:
        plain = f"{leap_second[1]}59{plain[leap_second.end() :]}"
    try:
        moment = datetime.fromisoformat(plain)
    except ValueError:
        raise ValueError(f"must be a time such as {EXAMPLE}") from None
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("needs a time zone, such as a trailing Z")
        moment = moment.replace(tzinfo=zone)
    try:
        moment = moment.astimezone(UTC) + timedelta(days=1 if whole_day else 0, seconds=1 if leap_second else 0)
    except OverflowError:
        raise TimeRangeError("is out of range: the year must be 1 to 9999 in UTC") from None
    if leap_second and (moment.day, moment.hour, moment.minute, moment.second) != (1, 0, 0, 0):
        raise ValueError("has a leap second (:60) that does not end a month in UTC")
    return moment


def read_date(text: str) -> date:
    """Read a date such as 2026-01-31, blanks around it ignored; raises ValueError."""
    return date.fromisoformat(text.strip())


def read_past_time(text: object, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Read the time of something that has happened: of 1970 or later, and at most `MOST_AHEAD` of `now`."""
    moment = read_time(text, zone)
    if moment < EARLIEST:
        raise TimeRangeError("lies before 1970")
    if moment > now + MOST_AHEAD:
        raise TimeRangeError("lies in the future")
    return moment


def error_code(error: ValueError) -> str:
    """The code of an error (beacon_core/domain/errors.py) about a time that cannot be read."""
    return "out_of_valid_range" if isinstance(error, TimeRangeError) else "invalid_type"
