"""Validate: a raw CSV becomes typed rows, or is rejected with the column and the rule.

First the file's form and its cells (`beacon_core.platform.data_file`), then its values by a pandera schema built from
product.yaml, then the table as a whole (repeated rows, leaks of the target, distance from the last accepted data).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from beacon_core.domain.product import Feature, Product
from beacon_core.platform.data_file import DataError, examples, read_columns

QUICK_ROWS = 1000
RULES = {"not_nullable": "must not be missing"}  # pandera's message, in plain words


def validate(file: Path, product: Product, *, quick: bool = False) -> pd.DataFrame:
    """The rows of `file`: the entity key (row number from 1), the features as float64 with NaN, and the target.

    `quick` checks the form of the whole file, and the values of its first rows only. Raises `DataError`.
    """
    columns = read_columns(file, product, rows=QUICK_ROWS if quick else None)
    frame = pd.DataFrame({name: np.frombuffer(values) for name, values in columns.items()})
    _check_values(file.name, frame, product)
    if not quick:
        _check_repeats(file.name, frame, product)
        _check_leaks(file.name, frame, product)
    frame.insert(0, product.entity.key, np.arange(1, len(frame) + 1, dtype=np.int64))
    return frame


def check_shift(file: str, rows: pd.DataFrame, last: pd.DataFrame, product: Product) -> None:
    """Reject rows with a column too far from the last accepted rows; raises `DataError`."""
    from scipy.stats import ks_2samp  # noqa: PLC0415 - takes a second, and only fetch needs it

    limit = product.source.limits.shift
    for name in (*product.feature_names, product.target.name):
        distance = float(ks_2samp(rows[name].dropna(), last[name].dropna()).statistic)
        if distance > limit:
            rule = f"is distributed unlike the last accepted data (distance {distance:.2f}, at most {limit:g})"
            raise DataError(file, name, f"{rule}: other units? Where it is true, retrain with --accept-shift")


def valid_rows(rows: pd.DataFrame, product: Product) -> pd.Series:
    """Which rows break no rule of the product; a missing feature is allowed, a missing target is not."""
    return ~invalid_values(rows, product).any(axis=1)


def invalid_values(rows: pd.DataFrame, product: Product) -> pd.DataFrame:
    """Which values break a rule of the product, by feature and for the target."""
    columns = {feature.name: _is_invalid(rows[feature.name], feature) for feature in product.features}
    columns[product.target.name] = ~rows[product.target.name].between(*product.target.valid)
    return pd.DataFrame(columns)


def _is_invalid(values: pd.Series, feature: Feature) -> pd.Series:
    valid = values.isna()
    if feature.categories is not None:
        valid |= values.isin(feature.categories)
    if feature.valid is not None:
        valid |= values.between(*feature.valid)
    if feature.is_whole:
        valid &= (values % 1 == 0) | values.isna()
    return ~valid


def schema(product: Product) -> pa.DataFrameSchema:
    """The pandera schema of the features and the target."""
    columns = {feature.name: _column(feature, product) for feature in product.features}
    columns[product.target.name] = pa.Column(float, _between(product.target.valid), nullable=False)
    return pa.DataFrameSchema(columns, strict=True)


def _column(feature: Feature, product: Product) -> pa.Column:
    most = product.source.limits.null_share
    checks = [
        pa.Check(lambda values: bool(values.notna().any()), error="holds no value at all", ignore_na=False),
        pa.Check(
            lambda values: bool(values.isna().mean() <= most),
            error=f"must have a value in at least {1 - most:.0%} of the rows",
            ignore_na=False,
        ),
    ]
    if feature.categories is not None:
        known = ", ".join(map(str, feature.categories))
        checks.append(pa.Check.isin(feature.categories, error=f"must be one of {known}"))
    if feature.valid is not None:
        checks.append(_between(feature.valid))
    return pa.Column(float, checks, nullable=feature.nullable)


def _between(valid: tuple[float, float]) -> pa.Check:
    low, high = valid
    return pa.Check.in_range(low, high, error=f"must be between {low:.15g} and {high:.15g}")


def _check_values(file: str, frame: pd.DataFrame, product: Product) -> None:
    try:
        schema(product).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        column = str(cases["column"].iloc[0])
        of_column = cases[cases["column"] == column]
        rule = str(of_column["check"].iloc[0])
        wrong = frame.index.isin(of_column.loc[of_column["check"] == rule, "index"].dropna())
        examples = f", has {_examples(frame[column], wrong)}" if wrong.any() else ""
        raise DataError(file, column, RULES.get(rule, rule) + examples) from error


def _check_repeats(file: str, frame: pd.DataFrame, product: Product) -> None:
    repeats = frame.duplicated()
    limit = product.source.limits.duplicate_share
    if repeats.mean() > limit:
        raise DataError(
            file,
            "(rows)",
            f"{int(repeats.sum())} of {len(frame)} rows repeat an earlier one (first: row {repeats.idxmax() + 1}), "
            f"at most {limit:.0%} may",
        )


def _check_leaks(file: str, frame: pd.DataFrame, product: Product) -> None:
    """A feature that ranks the rows as the target does is derived from the target."""
    limit = product.source.limits.target_correlation
    ranks = frame.corr(method="spearman")[product.target.name].abs()
    for name in product.feature_names:
        if ranks[name] > limit:
            raise DataError(
                file,
                name,
                f"leaks the target: its rank correlation with {product.target.name} is {ranks[name]:.2f}, "
                f"at most {limit:g} may be",
            )


def _examples(values: pd.Series, chosen: pd.Series) -> str:
    """The first few invalid values with their rows, counted from 1."""
    found = values[chosen]
    return examples(((index + 1, value) for index, value in found.items()), len(found))
