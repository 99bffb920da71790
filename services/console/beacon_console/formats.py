"""Formats of figures and times: the templates' filters."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from markupsafe import Markup

from beacon_core.domain.masking import mask
from beacon_core.domain.precision import significant
from beacon_core.domain.times import read_time
from beacon_core.domain.value_rules import Value

NOTHING = "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"
UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def number(value: Any, digits: int = 3) -> str:
    """Write a figure with at least `digits` significant digits, thousands apart: 0.0123, 4.57, 12 345."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return NOTHING if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}".replace(",", THIN)
    return significant(value, digits)


def signed(value: float, digits: int = 3) -> str:
    """Write a figure as `number` does, with its sign."""
    sign = "+" if value > 0 else "\N{MINUS SIGN}" if value < 0 else ""
    return sign + number(abs(value), digits)


def plain(value: Value | None) -> str:
    """Write a feature's value as it was given: a number without a tail of zeros, true or false, text."""
    if value is None or isinstance(value, str):
        return NOTHING if value is None else value
    return str(value).lower() if isinstance(value, bool) else f"{value:.15g}"


def in_unit(text: str, unit: str) -> str:
    """A sentence's end with the target's unit, if it has one: `text, unit`."""
    return ", ".join(filter(None, (text, unit)))


def share(value: float | None, digits: int = 1) -> str:
    """Write a share as a percentage."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value * 100:.{digits}f}{THIN}%"


def duration(seconds: float | None) -> str:
    """Write a time span in its largest fitting unit: 12 ms, 4.2 s, 3 h."""
    if seconds is None:
        return NOTHING
    if abs(seconds) < 1:
        return f"{number(seconds * 1000, 2)}{THIN}ms"
    for size, unit in UNITS:
        if abs(seconds) >= size * (1 if unit == "s" else 1.5):
            value = seconds / size
            return f"{value:.0f}{THIN}{unit}" if value >= 10 or unit != "s" else f"{value:.1f}{THIN}{unit}"
    return f"{seconds:.1f}{THIN}s"


def moment(value: datetime | None, now: datetime | None = None) -> Markup | str:
    """Write a time in UTC to the minute, machine-readable; how long ago it is when `now` is given."""
    if value is None:
        return NOTHING
    text = f"{value:%Y-%m-%d %H:%M}"
    shown = text if now is None else ago(value, now)
    title = f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(value.isoformat(timespec="seconds"), title, shown)


def ago(value: datetime, now: datetime) -> str:
    """Say how long ago a time is."""
    seconds = (now - value).total_seconds()
    if seconds < -60:
        return f"in {duration(-seconds)}"
    return "just now" if seconds < 60 else f"{duration(seconds)} ago"


def short(text: str, length: int = 12) -> Markup | str:
    """Shorten a digest or an id; hovering shows it whole."""
    if len(text) <= length:
        return text
    return Markup('<abbr title="{}">{}</abbr>').format(text, text[:length])


def join_words(items: Sequence[str]) -> str:
    """Join with commas and an `and`."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)


def days(lengths: Sequence[int]) -> str:
    """Write lengths in days: `1, 7 and 30 days`."""
    return f"{join_words([str(length) for length in lengths])} {'day' if lengths[-1] == 1 else 'days'}"


def period_time(period: str) -> str:
    """Write a drift run's period, an ISO 8601 time, to the minute."""
    try:
        return f"{read_time(period, UTC):%Y-%m-%d %H:%M}"
    except ValueError:
        return period


def pretty_json(value: Any) -> str:
    """Write JSON with line breaks."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "signed": signed,
    "plain": plain,
    "in_unit": in_unit,
    "share": share,
    "duration": duration,
    "moment": moment,
    "short": short,
    "words": join_words,
    "days": days,
    "clock": period_time,
    "pretty": pretty_json,
    "masked": mask,
}
