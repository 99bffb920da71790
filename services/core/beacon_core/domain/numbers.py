"""Numbers as text: which texts are numbers in a file or a request, and their exact value.

`float` reads the nearest double, but also accepts `1_000`, `nan` and digits of other scripts. pandas' parsers accept
less, and lose the last digits of long decimals.
"""

import math
import re
from collections.abc import Sequence

NUMBER_RULE = "a finite number such as 5, -0.25 or 1e3"
WHOLE_RULE = "a whole number such as 5, -17.0 or 1e3"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_CHARACTERS = "+-.0123456789Ee"


class NumberError(ValueError):
    """The text is not a number."""


class NotFiniteError(NumberError):
    """The text is infinite, NaN, or beyond the largest double."""


def is_finite(value: float) -> bool:
    """Whether a number is neither NaN nor infinite as a double; False for an int that no double can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def read_number(text: str) -> float:
    """The double nearest to the decimal number in `text`, spaces around it ignored; raises `NumberError`."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        raise (NotFiniteError if _NOT_FINITE.fullmatch(text) else NumberError)(text)
    value = float(text)
    if math.isinf(value):
        raise NotFiniteError(text)
    return value


def read_numbers(texts: Sequence[str]) -> list[float] | None:
    """`read_number` of all texts, several times as fast; None where one of them has to be read on its own."""
    if "".join(texts).strip(_CHARACTERS):
        return None
    try:
        values = list(map(float, texts))
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
