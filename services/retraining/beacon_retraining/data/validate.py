"""Validate: the typed rows of a table, or a `DataError` that names the column and the rule.

`beacon_core.sources` reads the table and checks its form and its cells, `table_rules` its values and the table as a
whole. Here is the order of the checks, the distance from the last accepted data, and the rules for rows of the store.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.sources.table import as_file, load_table, table_name
from beacon_retraining.data.encoding import Matrix, encode_column
from beacon_retraining.data.frames import frame_of
from beacon_retraining.data.table_rules import (
    check_keys,
    check_leaks,
    check_repeats,
    check_target,
    check_times,
    check_values,
    is_invalid,
)

QUICK_ROWS = 1000


def validate(file: Path, product: Product, *, quick: bool = False) -> pd.DataFrame:
    """The checked rows of `file`, in the format of the product's first source; see `validate_table`.

    `quick` reads and checks the first rows only.
    """
    first, *others = product.sources
    sources = (as_file(first, file), *others)
    table = load_table(product, sources=sources, rows=QUICK_ROWS if quick else None).table
    return validate_table(table, product, file.name, quick=quick)


def validate_table(table: pyarrow.Table, product: Product, name: str = "", *, quick: bool = False) -> pd.DataFrame:
    """The checked rows of a table of `load_table`, as `frame_of` makes them: keys, times, features, target.

    `name` is what errors call the table; `quick` leaves out what a part of the rows cannot tell. Raises `DataError`.
    """
    name = name or table_name(product)
    frame = frame_of(table, product, name)
    numbers = check_values(name, frame, product)
    check_keys(name, frame, product)
    check_times(name, frame, product)
    if not quick:
        check_target(name, frame, numbers, product)
        check_repeats(name, frame, numbers, product)
        check_leaks(name, numbers, product)
    return frame


def check_shift(file: str, rows: pd.DataFrame, last: pd.DataFrame, product: Product) -> None:
    """Reject rows with a column too far from the last accepted rows; raises `DataError`.

    The distance of numbers is Kolmogorov and Smirnov's, that of categories half the sum of their levels' differences.
    """
    limit = product.data.limits.shift
    for feature in product.features:
        if feature.lag is None:
            pair = encode_column(rows[feature.name], feature), encode_column(last[feature.name], feature)
            distance = _category_distance(*pair) if feature.is_category else kolmogorov_smirnov(*pair)
            _check_distance(file, feature.name, distance, limit)
    target = product.target.name
    pair = rows[target].to_numpy(np.float64), last[target].to_numpy(np.float64)
    _check_distance(file, target, kolmogorov_smirnov(*pair), limit)


def _check_distance(file: str, name: str, distance: float, limit: float) -> None:
    if distance > limit:
        rule = f"is distributed unlike the last accepted data (distance {distance:.2f}, at most {limit:g})"
        raise DataError(file, name, f"{rule}: other units? Where it is true, retrain with --accept-shift")


def kolmogorov_smirnov(one: Matrix, other: Matrix) -> float:
    """The largest difference of the two distribution functions; 0 where one has no value."""
    # Not by SciPy's `ks_2samp`, which takes a second to load and adds the probability, which nobody asks for.
    known = [np.sort(values[~np.isnan(values)]) for values in (one, other)]
    if not all(map(len, known)):
        return 0.0
    shares = [np.searchsorted(values, np.concatenate(known), side="right") / len(values) for values in known]
    return float(np.abs(shares[0] - shares[1]).max())


def _category_distance(one: Matrix, other: Matrix) -> float:
    shares = [pd.Series(values).dropna().value_counts(normalize=True) for values in (one, other)]
    return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2) if all(map(len, shares)) else 0.0


def valid_rows(rows: pd.DataFrame, product: Product) -> pd.Series:
    """Which labelled rows break no rule of the product; a missing feature is allowed, a missing target is not."""
    return ~invalid_values(rows, product).any(axis=1)


def invalid_values(rows: pd.DataFrame, product: Product) -> pd.DataFrame:
    """Which values break a rule of the product, by feature and for the target."""
    columns = {
        feature.name: is_invalid(encode_column(rows[feature.name], feature), feature) for feature in product.features
    }
    target = rows[product.target.name].to_numpy(np.float64, na_value=np.nan)
    low, high = product.target.bounds
    columns[product.target.name] = ~((target >= low) & (target <= high) & np.isfinite(target))
    return pd.DataFrame(columns, index=rows.index)
