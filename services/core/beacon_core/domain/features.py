"""How the features of a request and those of the feature store become one row: the request's value wins.

The same rule for each form that a row has: an object by name, values in the model's order, a matrix of many rows.
What is missing is not there, None or NaN. A store that was not asked is None.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

ValueT = TypeVar("ValueT")


def merge_named(given: Mapping[str, ValueT], stored: Mapping[str, ValueT] | None) -> dict[str, ValueT]:
    """Merge objects."""
    if stored is None:
        return dict(given)
    return {**stored, **{name: value for name, value in given.items() if value is not None}}


def merge_values(given: Sequence[ValueT | None], stored: Sequence[ValueT | None] | None) -> Sequence[ValueT | None]:
    """Merge values in the model's order."""
    if stored is None:
        return given
    return [other if own is None else own for own, other in zip(given, stored, strict=True)]


def merge_matrix(given: Any, stored: Any | None) -> Any:
    """Merge numpy's matrices of the same shape; neither is changed, and the domain loads no numpy for it."""
    if stored is None:
        return given
    missing = given != given  # noqa: PLR0124 - NaN is what differs from itself
    merged = given.copy()
    merged[missing] = stored[missing]
    return merged
