"""The segments of the product spec: which rows belong to each of them."""

from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import Any

from beacon_core.domain.product import Product, Segment

MISSING = "missing"


def segment_masks(product: Product, features: Any, prediction: Any) -> dict[str, Any]:
    """The masks (rows,) of each segment, by `NAME=VALUE`, from `features` (rows, features) and `prediction` (rows,).

    Rows whose value is missing are a segment of their own, which may be empty.
    """
    masks: dict[str, Any] = {}
    for name, segment in product.segments.items():
        by_prediction = segment.of == "prediction"
        values = prediction if by_prediction else features[:, product.feature_names.index(segment.of)]
        masks |= {f"{name}={label}": mask for label, mask in _slices(values, segment)}
    return masks


def _slices(values: Any, segment: Segment) -> Iterator[tuple[str, Any]]:
    """Bands between the bounds, else every value that occurs."""
    missing = values != values  # noqa: PLR0124 - NaN is what differs from itself
    yield MISSING, missing
    if segment.bounds:
        for low, high in pairwise((-inf, *segment.bounds, inf)):
            yield f"{low:g}..{high:g}", (values >= low) & (values < high)
    else:
        for value in sorted(set(values[~missing].tolist())):
            yield f"{value:g}", values == value
