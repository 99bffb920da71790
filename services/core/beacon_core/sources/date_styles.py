"""Dates and times as tables have them: each column in one style, which its cells tell."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from typing import NamedTuple

from beacon_core.domain.source import UNIX
from beacon_core.domain.times import read_time

NAMES = "january february march april may june july august september october november december"
MONTHS = {name: number for number, name in enumerate(NAMES.split(), 1)}
MONTHS |= {name[:3]: number for name, number in MONTHS.items()} | {"sept": 9}
TIME = (
    r"(?:[T ,]+(?P<h>\d{1,2}):(?P<mi>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?)?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?P<zone> ?(?:[Zz]|UTC|[+-]\d\d:?\d\d))?)?"
)
COMPACT = TIME.replace(r"(?P<h>\d{1,2}):(?P<mi>\d\d)(?::", r"(?P<h>\d\d|\d(?=:)):?(?P<mi>\d\d)(?::?")
"""A time of day whose colons may be left out, as ISO 8601 allows behind a date without dashes."""
DAY, MONTH, YEAR, WORD = r"(?P<d>\d{1,2})", r"(?P<m>\d{1,2})", r"(?P<y>\d{4})", r"(?P<w>[A-Za-z]{3,9})\.?"
ISO, DIGITS = "2026-01-31", "20260131"
STYLES = {
    style: re.compile(pattern + (COMPACT if style == DIGITS else TIME), re.ASCII)
    for style, pattern in {
        ISO: r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)",
        "2026/01/31": rf"{YEAR}/{MONTH}/{DAY}",
        "2026.01.31": rf"{YEAR}\.{MONTH}\.{DAY}",
        DIGITS: r"(?P<y>(?:1[5-9]|2[01])\d\d)(?P<m>\d\d)(?P<d>\d\d)",
        "31/01/2026": rf"{DAY}/{MONTH}/{YEAR}",
        "01/31/2026": rf"{MONTH}/{DAY}/{YEAR}",
        "31.01.2026": rf"{DAY}\.{MONTH}\.{YEAR}",
        "31-01-2026": rf"{DAY}-{MONTH}-{YEAR}",
        "01-31-2026": rf"{MONTH}-{DAY}-{YEAR}",
        "31 Jan 2026": rf"{DAY}[ -]{WORD}[ -](?P<y>\d{{4}}|\d\d)",
        "2026-01": r"(?P<y>\d{4})-(?P<m>\d\d)",
        "Jan 2026": rf"{WORD}[ -]{YEAR}",
        "Jan 31, 2026": rf"{WORD} {DAY},? {YEAR}",
    }.items()
}
"""Each style by an example. Two of them fit the same texts where a day is at most 12."""


class Moment(NamedTuple):
    """A moment in UTC; `day` is the date that the text itself has. `has_time` unless the time is midnight or none."""

    time: datetime
    day: date
    has_time: bool


class Style(NamedTuple):
    """How a text is written, and whether it has a zone (None: it has no time, and so needs none)."""

    form: str
    has_zone: bool | None


Reader = Callable[[str], Moment]


def styles_of(text: str, zone: tzinfo) -> dict[Style, Moment]:
    """All styles that a text may be written in, each with what it means then."""
    found: dict[Style, Moment] = {}
    for form, pattern in STYLES.items():
        if match := pattern.fullmatch(text):
            try:
                moment = _iso(text, match, zone) if form == ISO else _moment(match, zone)
            except (ValueError, OverflowError):
                continue
            found[Style(form, None if match["h"] is None else match["zone"] is not None)] = moment
    return found


def reader_of(pattern: str, zone: tzinfo) -> Reader:
    """What reads the pattern that product.yaml gives."""
    if pattern in UNIX:
        return lambda text: _of_number(float(text) / UNIX[pattern])

    def read(text: str) -> Moment:
        found = datetime.strptime(text, pattern)
        return _in_utc(found, found.tzinfo or zone)

    return read


def _of_number(seconds: float) -> Moment:
    moment = datetime.fromtimestamp(seconds, UTC)
    return _in_utc(moment, UTC)


def _in_utc(found: datetime, zone: tzinfo) -> Moment:
    is_midnight = (found.hour, found.minute, found.second, found.microsecond) == (0, 0, 0, 0)
    return Moment(found.replace(tzinfo=zone).astimezone(UTC), found.date(), not is_midnight)


def _iso(text: str, match: "re.Match[str]", zone: tzinfo) -> Moment:
    day = date(int(match["y"]), int(match["m"]), int(match["d"]))
    if match["h"] is None:
        return _in_utc(datetime(day.year, day.month, day.day), zone)
    own = match["zone"]
    plain = text if own is None else f"{text[: match.start('zone')]}{own.strip().upper().replace('UTC', 'Z')}"
    clock = (match["h"], match["mi"], match["s"] or "0", match["f"] or "0")
    return Moment(read_time(plain, zone), day, any(map(int, clock)))


def _moment(match: "re.Match[str]", zone: tzinfo) -> Moment:
    parts = match.groupdict()
    month = MONTHS[word.lower()] if (word := parts.get("w")) and word.lower() in MONTHS else int(parts.get("m") or 0)
    hour = int(parts["h"] or 0)
    if half := parts["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("an hour of a half day is 1 to 12")
        hour = hour % 12 + 12 * (half.lower() == "p")
    micro = int((parts["f"] or "0")[:6].ljust(6, "0"))
    year = int(parts["y"])
    if len(parts["y"]) == 2:  # as strptime does
        year += 2000 if year < 69 else 1900
    found = datetime(year, month, int(parts.get("d") or 1), hour, int(parts["mi"] or 0), int(parts["s"] or 0), micro)
    own = parts["zone"]
    return _in_utc(found, _zone(own.strip()) if own else zone)


def _zone(text: str) -> tzinfo:
    if text.upper() in {"Z", "UTC"}:
        return UTC
    found = datetime.strptime(text, "%z").tzinfo
    assert found is not None  # noqa: S101 - %z gives one
    return found
