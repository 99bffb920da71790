"""Ranges and units of a column: with a margin, in round numbers; a unit only where the name tells it."""

import math
import re

from beacon_retraining.proposal.table_column import TableColumn

Range = tuple[float | None, float | None]
SHARE_NAME = re.compile(r"(?:^|[\W_])(?:pct|percent|percentage)(?:$|[\W_])|%", re.IGNORECASE)
UNITS = {
    "usd": "USD", "eur": "EUR", "gbp": "GBP", "cad": "CAD", "chf": "CHF", "jpy": "JPY", "dollars": "USD",
    "kg": "kg", "g": "g", "lb": "lb", "lbs": "lb", "oz": "oz", "t": "t",
    "km": "km", "m": "m", "cm": "cm", "mm": "mm", "ft": "ft", "miles": "miles", "mi": "miles", "inches": "in",
    "sqft": "sq ft", "sqm": "m²", "m2": "m²", "ha": "ha",
    "s": "s", "sec": "s", "secs": "s", "seconds": "s", "ms": "ms", "min": "min", "mins": "min", "minutes": "min",
    "hours": "h", "hrs": "h", "days": "days", "months": "months", "years": "years",
    "kmh": "km/h", "mph": "mph", "kw": "kW", "kwh": "kWh", "mwh": "MWh", "mw": "MW", "w": "W", "wh": "Wh", "v": "V",
    "hpa": "hPa", "bar": "bar", "psi": "psi", "degc": "°C", "celsius": "°C", "degf": "°F", "fahrenheit": "°F",
    "pct": "%", "percent": "%", "percentage": "%", "mb": "MB", "gb": "GB", "hz": "Hz", "mm2": "mm²",
}  # fmt: skip
"""What the last word of a name says; `price_min` and `temp_min` are why `min` needs more than a look."""
DOUBTFUL = frozenset({"min", "m", "t", "g", "s", "w", "v", "mi"})
"""Words that are a unit in brackets alone."""
LARGEST = 1e15
"""A larger number has more digits than product.yaml may have."""
IN_BRACKETS = re.compile(r"[(\[]([^()\[\]]{1,16})[)\]]\s*$")


def unit_of(column: TableColumn) -> str:
    """The unit that a column's name tells, or the sign of its numbers, or nothing."""
    return _named_unit(column.name) or UNITS.get(column.sign.lower(), column.sign)


def _named_unit(name: str) -> str:
    if match := IN_BRACKETS.search(name):
        word = match[1].strip()
        return UNITS.get(word.lower(), word)
    if name.rstrip().endswith("%"):
        return "%"
    last = re.split(r"[\W_]+", name)[-1].lower()
    return "" if last in DOUBTFUL or last == name.lower() else UNITS.get(last, "")


def range_of(column: TableColumn) -> Range:
    """The valid range of a number: what was seen, with a margin as wide as itself, in round numbers.

    It never crosses zero where no value does. Percentages end at 100.
    """
    low, high = column.low, column.high
    if (column.sign == "%" or SHARE_NAME.search(column.name)) and low >= 0 and high <= 100:
        return 0.0, 100.0
    spread = (high - low) or abs(high) or 1.0
    if abs(low) + abs(high) + spread > LARGEST:
        return None, None
    bottom, top = round_down(low - spread), round_up(high + spread)
    if low >= 0:
        bottom = max(bottom, 0.0)
    if high <= 0:
        top = min(top, 0.0)
    if column.kind == "int":
        bottom, top = math.floor(bottom), math.ceil(top)
    return bottom, top


def round_up(value: float, digits: int = 2) -> float:
    """The next number of so many digits that is not below `value`."""
    if value == 0 or not math.isfinite(value):
        return value
    exponent = math.floor(math.log10(abs(value))) - digits + 1
    if exponent >= 0:
        return float(math.ceil(value / 10.0**exponent) * 10.0**exponent)
    scale = 10.0**-exponent
    return float(round(math.ceil(round(value * scale, 9)) / scale, -exponent))


def round_down(value: float, digits: int = 2) -> float:
    """The next number of so many digits that is not above `value`."""
    return -round_up(-value, digits) if value else 0.0
