"""The segments of the product spec: which rows belong to each of them."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import inf, isnan
from typing import Any

from beacon_core.domain.product import Feature, Product, Segment
from beacon_core.domain.product_rules import PREDICTION
from beacon_core.domain.value_rules import Value, ValueRuleError

MISSING, OTHER = "missing", "other"


def segment_masks(product: Product, features: Any, prediction: Any) -> dict[str, Any]:
    """The masks (rows,) of each segment, by `NAME=VALUE`, from `features` (rows, features) and `prediction` (rows,).

    The values are bands of a measurement and of the prediction, a category's levels, true and false. Rows whose value
    is missing are a segment of their own, which may be empty.
    """
    masks: dict[str, Any] = {}
    for name, segment in product.segments.items():
        if segment.of == PREDICTION:
            values, parts = prediction, _bands(prediction, segment)
        else:
            at = product.feature_names.index(segment.of)
            feature, values = product.features[at], features[:, at]
            parts = _bands(values, segment) if segment.bounds else _levels(values, feature)
        masks[f"{name}={MISSING}"] = values != values  # noqa: PLR0124 - NaN is what differs from itself
        masks |= {f"{name}={label}": mask for label, mask in parts}
    return masks


def segments_of(product: Product, values: Mapping[str, Value | None], prediction: float) -> list[str]:
    """The segments of one row, `NAME=VALUE` each, as `segment_masks` has them; without a value that is none."""
    found = []
    for name, segment in product.segments.items():
        if segment.of == PREDICTION:
            number, label = prediction, ""
        else:
            feature = product.features[product.feature_names.index(segment.of)]
            try:
                number = feature.to_number(values.get(segment.of))
            except ValueRuleError:  # of an older product
                continue
            label = "" if segment.bounds or isnan(number) else _label(number, feature)
        if isnan(number):
            label = MISSING
        elif segment.bounds:
            label = next(label for label, holds in _bands(number, segment) if holds)
        found.append(f"{name}={label}")
    return found


def _bands(values: Any, segment: Segment) -> Iterator[tuple[str, Any]]:
    for low, high in pairwise((-inf, *segment.bounds, inf)):
        yield f"{low:g}..{high:g}", (values >= low) & (values < high)


def _levels(values: Any, feature: Feature) -> Iterator[tuple[str, Any]]:
    """Every level that occurs, in the order of their numbers."""
    for number in sorted(set(values[values == values].tolist())):  # noqa: PLR0124 - NaN is what differs from itself
        yield _label(number, feature), values == number


def _label(number: float, feature: Feature) -> str:
    if feature.type == "bool":
        return "true" if number else "false"
    value = feature.to_value(number)
    if value is None:
        return OTHER
    # A level may be called like what Beacon calls a segment.
    return repr(value) if value in {MISSING, OTHER} else f"{value:g}" if isinstance(value, float | int) else value
