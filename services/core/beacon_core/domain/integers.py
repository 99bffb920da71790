"""Exact whole numbers: an entity's key has 64 bits, and a float is exact only below 2**53."""

from decimal import Decimal
from typing import Any

INT64 = range(-(2**63), 2**63)
EXACT_BELOW = 2**53
KINDS = {bool: "a boolean", str: "a string", list: "a list", dict: "an object", type(None): "null"}
"""Types of JSON values that are not numbers, as error messages name them."""


def whole_or_float(text: str) -> int | float:
    """Read a number with a fraction or an exponent, as JSON has it: an int where it is whole, and below 2**53.

    JSON decoders call it for each decimal (`float_hook`, `parse_float`). So 17.0 and 1e3 are whole numbers, and
    4503599627370497.5, which is whole only as a float, is not. Larger ones stay floats, which are never keys: the
    client may have rounded them.
    """
    value = float(text)
    whole: int | float = whole_or_same(value)
    try:
        return whole if whole is value or Decimal(text) == whole else value
    except ArithmeticError:  # an exponent beyond all bounds
        return value


def whole_or_same(value: Any) -> Any:
    """Convert a whole float below 2**53 to an int; return any other value unchanged."""
    if isinstance(value, float) and value.is_integer() and -EXACT_BELOW < value < EXACT_BELOW:
        return int(value)
    return value


def check_integer(value: object) -> int:
    """Return `value` if it is a whole number of 64 bits; raises ValueError with the rule that it breaks."""
    if type(value) is int:
        if value in INT64:
            return value
        raise ValueError("must fit in a signed integer of 64 bits")
    if isinstance(value, float) and value.is_integer():
        raise ValueError("must be written without a fraction or exponent: decimals of 2^53 and more may be rounded")
    kind = KINDS.get(type(value))
    raise ValueError(f"must be a whole number, not {kind}" if kind else "must be a whole number")
