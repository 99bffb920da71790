"""Aggregates over the rows of an hour, overall and per segment: they add up over hours, and every figure follows."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.data.profiles import Aggregates
from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks
from beacon_drift_profiling.comparison.statistics import Floats

ALL = ""
TRAFFIC = ("rows", "in_time", "key_outside", "any_outside")
# Of rows with an actual y and a residual e = y - prediction; `fourth` is the sum of e^4, and so on.
LABELLED = (
    "labelled",
    "error",
    "absolute",
    "square",
    "fourth",
    "actual",
    "actual_2",
    "actual_3",
    "actual_4",
    "square_actual",
    "square_actual_2",
    "large",
    "covered",
    "delay",
)
FIELDS = TRAFFIC + LABELLED


class LoggedRows(msgspec.Struct, frozen=True):
    """Rows of the prediction log as columns of equal length (rows,); missing values and missing actuals are NaN.

    `features` (rows, features) are those that the model was trained on. `segmented` (rows, features of the product) has
    the values of features that have segments, as product.yaml numbers them. `latency` and `delay` (from the prediction
    to its actual's arrival) are in seconds; `outside` says whether any feature lies outside its training range.
    """

    features: Floats
    segmented: Floats
    prediction: Floats
    low: Floats
    high: Floats
    latency: Floats
    outside: NDArray[np.bool_]
    actual: Floats
    delay: Floats


class NormalRange(msgspec.Struct, frozen=True):
    """The most important feature (its column) and its normal range."""

    column: int
    low: float
    high: float


def aggregates_of(
    rows: LoggedRows, product: Product, normal: NormalRange | None, large_residual: float
) -> dict[str, Aggregates]:
    """Aggregate the rows by segment (`NAME=VALUE`, or "" for all); only segments with rows.

    Residuals above `large_residual`, in units of the target, are large.
    """
    masks = {ALL: np.ones(len(rows.actual), dtype=bool)} | segment_masks(product, rows.segmented, rows.prediction)
    return aggregates_by(masks, rows, product, normal, large_residual)


def aggregates_by(
    masks: Mapping[str, NDArray[np.bool_]],
    rows: LoggedRows,
    product: Product,
    normal: NormalRange | None,
    large_residual: float,
) -> dict[str, Aggregates]:
    """Aggregate the rows of each mask (rows,) that has some, as `aggregates_of`."""
    parts = _parts(rows, product, normal, large_residual)
    matrix = np.column_stack([parts[name] for name in FIELDS])
    return {
        name: dict(zip(FIELDS, matrix[mask].sum(axis=0).tolist(), strict=True))
        for name, mask in masks.items()
        if mask.any()
    }


def add(total: dict[str, Aggregates], more: Mapping[str, Mapping[str, float]]) -> None:
    """Add the aggregates of other rows to `total`."""
    for segment, aggregates in more.items():
        own = total.setdefault(segment, dict.fromkeys(FIELDS, 0.0))
        for name in FIELDS:
            own[name] += aggregates.get(name, 0.0)


def _parts(rows: LoggedRows, product: Product, normal: NormalRange | None, large_residual: float) -> dict[str, Any]:
    labelled = ~np.isnan(rows.actual)
    actual = np.where(labelled, rows.actual, 0.0)
    error = np.where(labelled, actual - rows.prediction, 0.0)
    square = error**2
    key = np.zeros(len(actual), dtype=bool)
    if normal is not None:
        values = rows.features[:, normal.column]
        key = (values < normal.low) | (values > normal.high)
    return {
        "rows": np.ones(len(actual)),
        "in_time": rows.latency <= product.policy.serving.latency_slo_seconds,
        "key_outside": key,
        "any_outside": rows.outside,
        "labelled": labelled,
        "error": error,
        "absolute": np.abs(error),
        "square": square,
        "fourth": square**2,
        "actual": actual,
        "actual_2": actual**2,
        "actual_3": actual**3,
        "actual_4": actual**4,
        "square_actual": square * actual,
        "square_actual_2": square * actual**2,
        "large": labelled & (np.abs(error) > large_residual),
        "covered": labelled & (rows.actual >= rows.low) & (rows.actual <= rows.high),
        "delay": np.where(labelled, rows.delay, 0.0),
    }
