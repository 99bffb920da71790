"""All that is wrong with a product's table, and what is odd about it, before anything trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from beacon_core.domain.data_errors import DataError, listed, shown_value
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.product_entry import NOW, Times
from beacon_core.platform import clock
from beacon_core.sources.table import column_types, load_table, table_name
from beacon_retraining.data.encoding import Matrix
from beacon_retraining.data.frames import frame_of
from beacon_retraining.data.table_rules import (
    check_keys,
    check_leaks,
    check_repeats,
    check_target,
    check_times,
    check_values,
    table_features,
)

MOST_READINGS = 30
"""Columns that may break a rule of reading before the rest is left unread: each is found by a reading of its own."""
NEAR = 0.8
"""A share above so much of its limit is worth a word."""


class Findings(NamedTuple):
    """Errors, warnings as (column, text), one line per file, the numbers of rows and of those without a target.

    `rows` is None where none can be read.
    """

    errors: list[DataError]
    warnings: list[tuple[str, str]]
    descriptions: tuple[str, ...]
    rows: int | None
    unlabelled: int = 0


def find_all(product: Product) -> Findings:
    """Read and check the table of the product's sources; raises only what is not the data's fault (`FetchError`)."""
    errors: list[DataError] = []
    descriptions, table = _read(product, errors)
    if table is None:
        return Findings(errors, [], (), None)
    _check(table, product, errors)
    target = product.target.name
    unlabelled = table[target].null_count if target in table.column_names else 0
    return Findings(errors, _warnings(table, product), descriptions, len(table), unlabelled)


def _read(product: Product, errors: list[DataError]) -> tuple[tuple[str, ...], pa.Table | None]:
    """The table without the columns that cannot be read, whose errors are kept; None where none can."""
    wanted = list(column_types(product))
    for _ in range(MOST_READINGS):
        try:
            loaded = load_table(product, columns=wanted)
        except DataError as error:
            errors.append(error)
            if error.column not in wanted:
                return (), None
            wanted.remove(error.column)
        else:
            return loaded.descriptions, loaded.table
    return (), None


def _check(table: pa.Table, product: Product, errors: list[DataError]) -> None:
    """Each rule for each column, then those of the rows as a whole, of the columns that could be read."""
    name, target = table_name(product), product.target.name
    product = _readable(product, set(table.column_names))
    beside = [each for each in table.column_names if each not in product.feature_names or each in _special(product)]
    try:
        frame = frame_of(table.select(beside), product, name)
    except DataError as error:
        errors.append(error)
        product = replace(product, entity=None, time=Times())
        frame = frame_of(table.select(beside), product, name)
    numbers: dict[str, Matrix] = {}
    for feature in table_features(product):
        with _keeping(errors):
            numbers[feature.name] = _numbers_of(table, product, feature, name)
    good = tuple(feature for feature in product.features if feature.name in numbers)
    with _keeping(errors):
        check_keys(name, frame, product)
    with _keeping(errors):
        check_times(name, frame, product)
    if target not in frame:
        return
    with _keeping(errors):
        numbers |= check_values(name, frame[[target]], replace(product, features=()))
        check_target(name, frame, numbers, product)
        with _keeping(errors):
            _check_repeats(table, frame, numbers, replace(product, features=good), name)
        for feature in good:
            with _keeping(errors):
                check_leaks(name, numbers, replace(product, features=(feature,)))


def _special(product: Product) -> set[str | None]:
    """Columns that are more than features."""
    return {*product.keys, product.time.event, product.time.created, product.time.group, product.target.weight}


def _numbers_of(table: pa.Table, product: Product, feature: Feature, name: str) -> Matrix:
    """The values of one feature, checked apart from all others: a large table is never there as a whole once more."""
    plain = replace(product, features=(feature,), entity=None, time=Times())
    anything = replace(product.target, valid=(None, None))
    frame = frame_of(table.select([feature.name]), plain, name).assign(**{product.target.name: 0.0})
    return check_values(name, frame, replace(plain, target=anything))[feature.name]


def _check_repeats(
    table: pa.Table, frame: pd.DataFrame, numbers: dict[str, Matrix], product: Product, name: str
) -> None:
    """`check_repeats`, with the texts that it needs beside the numbers."""
    texts = [feature.name for feature in product.features if feature.other is not None and feature.name not in frame]
    if texts:
        frame = frame.join(frame_of(table.select(texts), replace(product, entity=None, time=Times()), name))
    check_repeats(name, frame, numbers, product)


def _readable(product: Product, columns: set[str]) -> Product:
    """The product without what needs a column that could not be read."""
    time, weight = product.time, product.target.weight
    times = {name for name in (time.event, time.created, time.group) if name not in {None, NOW}}
    keys = set() if product.entity is None or product.entity.row_number else set(product.keys)
    has_all = times | keys <= columns
    return replace(
        product,
        features=tuple(feature for feature in product.features if feature.name in columns),
        entity=product.entity if has_all else None,
        time=time if has_all else Times(),
        target=product.target if weight in {None, *columns} else replace(product.target, weight=None),
    )


@contextmanager
def _keeping(errors: list[DataError]) -> Iterator[None]:
    """Keep the error of the block and go on behind it."""
    try:
        yield
    except DataError as error:
        errors.append(error)


def _warnings(table: pa.Table, product: Product) -> list[tuple[str, str]]:
    found = _too_old(table, product)
    limits = product.data.limits
    for name in (*product.feature_names, product.target.name):
        if name not in table.column_names:
            continue
        share = table[name].null_count / len(table) if len(table) else 0.0
        if NEAR * limits.null_share < share <= limits.null_share:
            found.append((name, f"is missing in {share:.0%} of the rows, near the limit of {limits.null_share:.0%}"))
    for feature in product.features:
        if feature.name not in table.column_names:
            continue
        column = table[feature.name]
        unseen = _unseen_levels(column, feature)
        if unseen:
            found.append((feature.name, listed(unseen, "is a level without a row", "are levels without a row")))
        if len(column) and len(pc.unique(column.drop_null())) == 1:
            found.append(
                (feature.name, f"is {shown_value(column.drop_null()[0].as_py())} in every row that has a value")
            )
    return found


def _too_old(table: pa.Table, product: Product) -> list[tuple[str, str]]:
    """Of rows that the feature store has and does not serve."""
    event = product.time.event
    if product.entity is None or event is None or event not in table.column_names:
        return []
    oldest = clock.now().replace(tzinfo=None) - timedelta(days=product.features_ttl_days)
    times = table[event].cast(pa.timestamp("us"))
    count = pc.sum(pc.less(times, pa.scalar(oldest, pa.timestamp("us")))).as_py() or 0
    rule = (
        f"is older than features_ttl_days ({product.features_ttl_days}) in {count} rows: by entity they are not served"
    )
    return [(event, rule)] if count else []


def _unseen_levels(column: pa.ChunkedArray, feature: Feature) -> list[str]:
    values = set(pc.unique(column).to_pylist()) if feature.known_levels else set()
    return [str(level) for level in feature.known_levels if level not in values]
