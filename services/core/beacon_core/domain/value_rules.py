"""The rules of product.yaml for the values of a feature; Feast's registry stores them with the feature view."""

import math
from typing import Literal, NamedTuple

import msgspec

from beacon_core.domain.numbers import is_finite


class Problem(NamedTuple):
    """The rule that a value breaks, as text, and its error code."""

    code: str
    rule: str


class ValueRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rules of one feature: whole numbers where `type` is int, within `valid` or one of `categories`."""

    type: Literal["float", "int"] = "float"
    valid: tuple[float, float] | None = None
    categories: tuple[int, ...] | None = None
    nullable: bool = True

    def problem(self, value: object) -> Problem | None:
        """The first rule that `value` breaks, or None; a missing value is None, never NaN."""
        if value is None:
            return None if self.nullable else Problem("invalid_type", "must not be null")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return Problem("invalid_type", "must be a number" + (" or null" if self.nullable else ""))
        if not is_finite(value):
            return Problem("not_finite", "must be finite")
        if self.categories is not None and value not in self.categories:
            return Problem("unknown_category", f"must be one of {', '.join(map(str, self.categories))}, is {value:g}")
        if self.valid is not None and not self.valid[0] <= value <= self.valid[1]:
            low, high = self.valid
            return Problem("out_of_valid_range", f"must be between {low:g} and {high:g}, is {value:g}")
        if self.type == "int" and value != math.floor(value):
            return Problem("invalid_type", f"must be a whole number, is {value!r}")
        return None
