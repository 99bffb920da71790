"""What the pages read from a URL: windows, ids, choices, times, numbers; and the 404 for what does not exist."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from flask import request

from beacon_core.data.drift_results import window_name
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time

PLUS_AS_BLANK = re.compile(r"(:\d\d(?:[.,]\d+)?) (\d\d:?\d\d)$", re.ASCII)
"""The zone of a time whose + was not written %2B in the address."""


def windows_of(product: Product) -> tuple[str, ...]:
    """Name the drift windows as the store does."""
    return tuple(window_name(days) for days in product.policy.drift.windows_days)


def main_window(product: Product) -> str:
    """The drift window that pages show first: the middle one, which is 7 days where the policy names none."""
    windows = windows_of(product)
    return windows[len(windows) // 2]


def found_or_404(found: Any, sentence: str, code: str = "not_found") -> Any:
    """Return what was found; BeaconError 404 when it is None."""
    if found is None:
        raise BeaconError(code, sentence)
    return found


def query_choice(name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return a query parameter that must be one of a few; BeaconError 422 for anything else."""
    value = request.args.get(name, default)
    if value not in allowed:
        choices = " or ".join(each or "empty" for each in allowed)
        raise BeaconError("invalid_type", f"{name} must be {choices}.", name)
    return value


def query_text(name: str, longest: int) -> str | None:
    """A text, None for an empty one; BeaconError 422 for one that is too long or that no line of print can hold."""
    text = request.args.get(name, "").strip()
    if len(text) > longest or not text.isprintable():
        raise BeaconError("invalid_type", f"{name} must be at most {longest} printable characters.", name)
    return text or None


def query_time(name: str) -> datetime | None:
    """A time, UTC where it has no zone; None for an empty text, BeaconError 422 for no time."""
    text = request.args.get(name, "").strip()
    if not text:
        return None
    try:
        return read_time(PLUS_AS_BLANK.sub(r"\1+\2", text), UTC)
    except ValueError as error:
        raise BeaconError("invalid_type", f"{name} {error}.", name) from error


def query_amount(name: str) -> float | None:
    """A number of at least 0; None for an empty text, BeaconError 422 for anything else."""
    text = request.args.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise BeaconError("invalid_type", f"{name} must be a number of at least 0.", name)
    return number
