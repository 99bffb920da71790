"""The rules of product.yaml for the values of one feature, and how a value becomes a number of the matrix.

Every door uses these functions: files, requests of all protocols, pushes, the prediction log. Feast's registry stores
the rules with the feature view.

| type | value | number |
| --- | --- | --- |
| float, int | a number | itself |
| bool | true or false | 1 or 0 |
| category of numbers | one of the levels | itself |
| category of text | one of the levels | its position in the list, from 0 |
| category of many levels | any text | a hash, `text_code`; the model's package lists the levels |
| date | ISO 8601 | days since 1970 |
| timestamp | ISO 8601 with a zone | seconds since 1970, UTC |

A missing value is None, and NaN in the matrix. An unseen level of a category with `unseen: other` has the number
after those of the levels. The text of such a value, and of a category of many levels, is kept beside the matrix.
"""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec

from beacon_core.domain.integers import KINDS
from beacon_core.domain.numbers import WHOLE_RULE, is_finite
from beacon_core.domain.text import close_match, normal_text, text_code
from beacon_core.domain.times import read_date, read_time

FeatureType = Literal["float", "int", "bool", "category", "date", "timestamp"]
Level = str | int | float
Value = float | int | bool | str
"""A value as files, clients and pages have it; dates and timestamps are text."""
Bound = float | str | None
MANY: Literal["many"] = "many"
MOST_CHARACTERS = 256
"""The longest text of a category."""
MOST_LISTED = 20
"""So many levels an error lists; of more, the nearest."""
EPOCH = date(1970, 1, 1)


class Problem(NamedTuple):
    """The rule that a value breaks, as text, and its error code."""

    code: str
    rule: str


class ValueRuleError(ValueError):
    """A value breaks a rule of its feature."""

    def __init__(self, code: str, rule: str) -> None:
        super().__init__(rule)
        self.problem = Problem(code, rule)


class ValueRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """The rules of one feature: its type, its range `valid` or its `levels`, and whether it may be missing.

    A null end of `valid` is open. `levels` are those of a category, or `many` where the training data list them.
    `unseen` says what another level gets: an error (refuse), or a level of its own (other).
    """

    type: FeatureType = "float"
    """float, int, bool, category, date or timestamp."""
    valid: tuple[Bound, Bound] | None = None
    """Range of valid values, both ends inclusive; null is an open end."""
    levels: tuple[Level, ...] | Literal["many"] | None = None
    """Of a category: the list, or many: the training data list them."""
    unseen: Literal["refuse", "other"] = "refuse"
    """What another level gets: an error (refuse) or a level of its own (other)."""
    nullable: bool = True
    """Whether a value may be missing."""

    @property
    def is_whole(self) -> bool:
        """Whether its values must be whole numbers."""
        return self.type == "int"

    @property
    def is_text(self) -> bool:
        """Whether clients send its values as text."""
        return self.is_time or (self.type == "category" and not self.has_number_levels)

    @property
    def is_number(self) -> bool:
        """Whether the matrix has its values as clients send them, as numbers."""
        return self.type in {"float", "int"} or self.has_number_levels

    @property
    def is_measured(self) -> bool:
        """Whether its values are measurements, which have an order and distances: no category, no flag, no time."""
        return self.type in {"float", "int"}

    @property
    def is_time(self) -> bool:
        """Whether its values are dates or timestamps."""
        return self.type in {"date", "timestamp"}

    @property
    def is_category(self) -> bool:
        """Whether its values are a category's levels, or true and false."""
        return self.type in {"category", "bool"}

    @property
    def has_number_levels(self) -> bool:
        """Whether it is a category of numbers."""
        return isinstance(self.levels, tuple) and not isinstance(self.levels[0], str)

    @property
    def has_many_levels(self) -> bool:
        """Whether the model's package lists the levels, not product.yaml."""
        return self.levels == MANY

    @property
    def known_levels(self) -> tuple[Level, ...]:
        """The levels that product.yaml lists; empty where it lists none."""
        return self.levels if isinstance(self.levels, tuple) else ()

    @cached_property
    def codes(self) -> dict[Level, float]:
        """The codes of a text category's levels: their positions in the list."""
        return {level: float(position) for position, level in enumerate(self.known_levels)}

    @property
    def other(self) -> float | None:
        """The code of an unseen level; None where it is refused, or has a code of its own."""
        if self.type != "category" or self.unseen != "other" or self.has_many_levels:
            return None
        return other_code(self.known_levels)

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The lowest and highest valid number of the matrix, both inclusive, infinite where the range is open."""
        low, high = self.valid or (None, None)
        return (
            -math.inf if low is None else self.to_number(low),
            math.inf if high is None else self.to_number(high),
        )

    def to_number(self, value: object) -> float:
        """The number of a value; NaN for None; ranges are not checked.

        Raises `ValueRuleError` for another type or level.
        """
        if value is None:
            return math.nan
        if self.type == "category":
            return self._encode_level(value)
        if self.type == "bool":
            if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
                return float(value)
            raise ValueRuleError("invalid_type", self._must_be("true or false"))
        if self.is_time:
            return self._encode_time(value)
        return self._encode_number(value)

    def to_value(self, number: float, text: str | None = None) -> Value | None:
        """The value of a number of the matrix; None for NaN. `text` is what is kept beside the matrix, if it is."""
        if number != number:  # noqa: PLR0124 - NaN
            return None
        if text is not None:
            return text
        if self.type == "category" and not self.has_number_levels:
            position = int(number)
            return self.known_levels[position] if position < len(self.known_levels) else None
        if self.type == "bool":
            return bool(number)
        if self.type == "date":
            return (EPOCH + timedelta(days=number)).isoformat()
        if self.type == "timestamp":
            return datetime.fromtimestamp(number, UTC).isoformat().replace("+00:00", "Z")
        return number

    def keeps_text(self, number: float) -> bool:
        """Whether a value's text must be kept beside the matrix, since its number does not tell it."""
        return self.has_many_levels or (number == self.other)

    def problem(self, value: object) -> Problem | None:
        """The first rule that `value` breaks, or None; a missing value is None, never NaN."""
        if value is None:
            return None if self.nullable else Problem("invalid_type", "must not be null")
        try:
            return self.problem_of_number(self.to_number(value))
        except ValueRuleError as error:
            return error.problem

    def problem_of_number(self, number: float) -> Problem | None:
        """The rule that a number of the matrix breaks: it is infinite, a fraction, not a level, out of range."""
        if number != number:  # noqa: PLR0124 - NaN
            return None
        if math.isinf(number):
            return Problem("not_finite", "must be finite")
        if self.has_number_levels and number not in self.known_levels and number != self.other:
            return self._unknown(f"{number:g}")
        if self.type == "bool" and number not in (0, 1):
            return Problem("invalid_type", self._must_be("true or false"))
        if self.is_whole and number != math.floor(number):
            return Problem("invalid_type", f"must be {WHOLE_RULE}, is {number!r}")
        low, high = self.bounds
        if low <= number <= high:
            return None
        return Problem("out_of_valid_range", f"must be {self.valid_text()}, is {self._shown(number)}")

    def valid_text(self) -> str:
        """The valid range as text, such as `between 0 and 9`, or `at least 0` where it is open."""
        low, high = self.valid or (None, None)
        if low is None:
            return "any" if high is None else f"at most {_bound_text(high)}"
        return f"at least {_bound_text(low)}" if high is None else f"between {_bound_text(low)} and {_bound_text(high)}"

    def _shown(self, number: float) -> str:
        return f"{number:.15g}" if self.is_number else str(self.to_value(number))

    def _must_be(self, what: str) -> str:
        return f"must be {what}" + (" or null" if self.nullable else "")

    def _encode_number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            found = KINDS.get(type(value))
            raise ValueRuleError("invalid_type", self._must_be("a number") + (f", not {found}" if found else ""))
        if not is_finite(value):
            raise ValueRuleError("not_finite", "must be finite")
        return float(value)

    def _encode_level(self, value: object) -> float:
        if self.has_number_levels:
            number = self._encode_number(value)
            if number in self.known_levels:
                return number
            return self._other(f"{number:g}")
        if not isinstance(value, str):
            raise ValueRuleError("invalid_type", self._must_be("text") + f", not {_kind(value)}")
        text = normal_text(value)
        if len(text) > MOST_CHARACTERS:
            raise ValueRuleError("invalid_type", f"must be at most {MOST_CHARACTERS} characters")
        if self.has_many_levels:
            return text_code(text)
        code = self.codes.get(text)
        return self._other(repr(text)) if code is None else code

    def _other(self, shown: str) -> float:
        other = self.other
        if other is None:
            raise ValueRuleError(*self._unknown(shown))
        return other

    def _unknown(self, shown: str) -> Problem:
        levels = [str(level) for level in self.known_levels]
        if len(levels) <= MOST_LISTED:
            return Problem("unknown_category", f"must be one of {', '.join(levels)}, is {shown}")
        near = close_match(shown.strip("'"), levels)
        hint = f"; did you mean {near}?" if near else ""
        return Problem("unknown_category", f"must be one of {len(levels)} known levels, is {shown}{hint}")

    def _encode_time(self, value: object) -> float:
        example = "2026-01-31" if self.type == "date" else "2026-01-31T12:00:00Z"
        wrong = ValueRuleError("invalid_type", self._must_be(f"a {self.type} such as {example}"))
        if not isinstance(value, str):
            raise wrong
        if self.type == "timestamp":
            try:
                return read_time(value).timestamp()
            except ValueError as error:
                raise ValueRuleError("invalid_type", str(error)) from None
        try:
            return float((read_date(value) - EPOCH).days)
        except ValueError:
            raise wrong from None


def other_code(levels: Sequence[Level]) -> float:
    """The code of a level that is not in the list: one above all of theirs."""
    numbers = [float(level) for level in levels if not isinstance(level, str)]
    return math.floor(max(numbers)) + 1.0 if numbers else float(len(levels))


def _kind(value: object) -> str:
    return KINDS.get(type(value), "a number")


def _bound_text(bound: float | str) -> str:
    return bound if isinstance(bound, str) else f"{bound:.15g}"
