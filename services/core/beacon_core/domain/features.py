"""How the features of a request and those of the feature store become one row: the request's value wins.

Inference merges them once, before imputation. The prediction log keeps the merged row and its source mask, which names
the features that came from the feature store. A missing value is absent, None or NaN.
"""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

ValueT = TypeVar("ValueT")
CellT = TypeVar("CellT", bound=tuple[int, int])


def merge(request: Any, store: Any | None) -> tuple[Any, Any | None]:
    """Merge two matrices (rows, features); return the merged one, and the mask of the values from the store.

    `store` and the mask are None where the feature store was not asked. NaN is a missing value. Neither matrix is
    changed. The types are Any so that the domain does not import numpy.
    """
    if store is None:
        return request, None
    from_store = (request != request) & (store == store)  # noqa: PLR0124 - NaN is what differs from itself
    merged = request.copy()
    merged[from_store] = store[from_store]
    return merged, from_store


def merge_texts(request: Mapping[CellT, str], store: Mapping[CellT, str], from_store: Any) -> Mapping[CellT, str]:
    """Merge the texts beside two matrices, by row and column; `from_store` is the mask of `merge`."""
    return {**request, **{cell: text for cell, text in store.items() if from_store[cell]}} if store else request


def request_features(features: Mapping[str, ValueT], from_store: Collection[str] | None) -> dict[str, ValueT]:
    """Select the merged features that came from the request."""
    return {name: value for name, value in features.items() if not from_store or name not in from_store}


def store_features(features: Mapping[str, ValueT], from_store: Collection[str] | None) -> dict[str, ValueT]:
    """Select the merged features that came from the feature store."""
    return {name: features[name] for name in from_store or ()}
