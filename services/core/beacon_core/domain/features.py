"""How the features of a request and those of the feature store become one row: the request's value wins.

Inference merges them once, before imputation. The prediction log keeps the merged row and its source mask, which names
the features that came from the feature store. What is missing is not there, None or NaN.
"""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

ValueT = TypeVar("ValueT")


def merge(request: Any, store: Any | None) -> tuple[Any, Any | None]:
    """Merge numpy's matrices of the same shape, and mask what came from the store; None where it was not asked.

    Neither matrix is changed, and the domain loads no numpy for it.
    """
    if store is None:
        return request, None
    from_store = (request != request) & (store == store)  # noqa: PLR0124 - NaN is what differs from itself
    merged = request.copy()
    merged[from_store] = store[from_store]
    return merged, from_store


def request_features(features: Mapping[str, ValueT], from_store: Collection[str] | None) -> dict[str, ValueT]:
    """Select the merged features that came from the request."""
    return {name: value for name, value in features.items() if not from_store or name not in from_store}


def store_features(features: Mapping[str, ValueT], from_store: Collection[str] | None) -> dict[str, ValueT]:
    """Select the merged features that came from the feature store."""
    return {name: features[name] for name in from_store or ()}
