"""Cron schedules, as both Kubernetes and GitHub read them: five fields, in UTC."""

import re

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 6, WEEKDAYS),
)
"""Name, least and greatest number, and names of numbers, of each field."""
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
PART = re.compile(r"(?:\*|([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?)(?:/([0-9]+))?", re.ASCII)


def cron_problem(text: str) -> str | None:
    """What is wrong with a schedule such as `30 3 * * 1-5`; None where it is one that comes to pass."""
    fields = text.split()
    if len(fields) != len(FIELDS):
        return "must be cron's five fields: minute, hour, day of month, month, day of week"
    values = []
    for field, (name, least, most, names) in zip(fields, FIELDS, strict=True):
        found = _values(field.lower(), least, most, names)
        if found is None:
            return f"{name} must be *, or numbers {least} to {most} with - , and /, is {field!r}"
        values.append(found)
    days, months = values[2], values[3]
    if fields[4] == "*" and not any(day <= LONGEST_MONTHS[month - 1] for day in days for month in months):
        return "names a day that no month has"
    return None


def _values(field: str, least: int, most: int, names: tuple[str, ...]) -> set[int] | None:
    """The numbers that a field stands for; None where it is not well-formed."""
    found: set[int] = set()
    for part in field.split(","):
        match = PART.fullmatch(part)
        if match is None:
            return None
        first, last, step = match.groups()
        low = least if first is None else _number(first, least, names)
        if first is not None and last is None and step is None:
            high = low
        else:
            high = most if last is None else _number(last, least, names)
        if low is None or high is None or not least <= low <= high <= most or (step is not None and int(step) == 0):
            return None
        found.update(range(low, high + 1, int(step or 1)))
    return found


def _number(text: str, least: int, names: tuple[str, ...]) -> int | None:
    if text.isdigit():
        return int(text)
    return names.index(text) + least if text in names else None
