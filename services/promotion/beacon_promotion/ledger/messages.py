"""The ledger's rows as text, for a terminal."""

from collections.abc import Sequence
from datetime import datetime

from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin


def format_history(entries: Sequence[Entry]) -> str:
    """One line per row."""
    if not entries:
        return "the ledger is empty"
    return "\n".join(
        f"{_time(entry.moment)}  {entry.run[-8:]}  {entry.action:<9} {entry.step:<8} {entry.outcome:<12} "
        f"serves {_names(entry.serving):<12} {entry.message}{_reason(entry)}"
        for entry in entries
    )


def format_change(moment: datetime, entry: Entry, change: Entry, run: Sequence[Entry]) -> str:
    """What served at `moment`, since when, who changed it and why; `run` are the rows of that run, newest first."""
    pins = " or ".join(f"{pin.name} version {pin.version} ({pin.sha256[:12]})" for pin in entry.serving) or "nothing"
    lines = [
        f"at        {_time(moment)}",
        f"served    {pins}",
        f"since     {_time(change.moment)}",
        f"by        {change.actor} ({change.action}, run {change.run})",
        f"before    {_names((change.before,) if change.before else ())}",
        "why",
    ]
    lines += [
        f"  {_time(row.moment)}  {row.step:<8} {row.outcome:<12} {row.message}{_reason(row)}" for row in reversed(run)
    ]
    return "\n".join(lines)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _names(pins: Sequence[Pin]) -> str:
    return " or ".join(pin.version for pin in pins) or "nothing"


def _reason(entry: Entry) -> str:
    return f" [{entry.reason}]" if entry.reason else ""
