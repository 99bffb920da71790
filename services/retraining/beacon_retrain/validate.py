"""Validate: a raw CSV becomes typed rows, or is refused by naming the column and the rule.

First the file's form (encoding, delimiter, header, whole rows), then its values by a pandera schema built from
product.yaml, then the table as a whole (repeated rows, leaks of the target, distance from the last accepted data).
The order of columns is free; excluded columns may be there and are dropped.
"""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from beacon_core.product import Feature, Product
from beacon_retrain.errors import BAD_DATA, RetrainError

SHOWN = 3
QUICK_ROWS = 1000
RULES = {"not_nullable": "must not be missing"}  # pandera's own words, said in ours
OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "a zip archive", b"\x1f\x8b": "gzip"}


class DataError(RetrainError):
    """The data breaks a rule; the message is `FILE: COLUMN: RULE`."""

    status = BAD_DATA

    def __init__(self, file: str, column: str, rule: str) -> None:
        super().__init__(f"{file}: {column}: {rule}")
        self.file = file
        self.column = column
        self.rule = rule


def validate(file: Path, product: Product, *, quick: bool = False) -> pd.DataFrame:
    """The rows of `file`: the entity key (row number from 1), the features as float64 with NaN, and the target.

    `quick` looks at the form of the whole file, and at the values of its first rows only. Raises `DataError`.
    """
    header, rows = _parse(file)
    _check_header(file.name, header, product)
    _check_rows(file.name, header, rows, product)
    rows = rows[:QUICK_ROWS] if quick else rows
    text = pd.DataFrame(rows, columns=header)[[*product.feature_names, product.target.name]]
    frame = pd.DataFrame({name: _numbers(file.name, text[name], product) for name in text})
    _check_values(file.name, frame, product)
    if not quick:
        _check_repeats(file.name, frame, product)
        _check_leaks(file.name, frame, product)
    frame.insert(0, product.entity.key, np.arange(1, len(frame) + 1, dtype=np.int64))
    return frame


def check_shift(file: str, rows: pd.DataFrame, last: pd.DataFrame, product: Product) -> None:
    """Refuse rows of which a column has moved too far from the last accepted ones; raises `DataError`."""
    from scipy.stats import ks_2samp  # noqa: PLC0415 - takes a second, and only fetch needs it

    limit = product.source.limits.shift
    for name in (*product.feature_names, product.target.name):
        distance = float(ks_2samp(rows[name].dropna(), last[name].dropna()).statistic)
        if distance > limit:
            rule = f"is distributed unlike the last accepted data (distance {distance:.2f}, at most {limit:g})"
            raise DataError(file, name, f"{rule}: other units? Where it is true, retrain with --accept-shift")


def sound(rows: pd.DataFrame, product: Product) -> pd.Series:
    """Which rows keep each value within the product's rules; a missing feature is fine, a missing target is not."""
    low, high = product.target.valid
    good = rows[product.target.name].between(low, high)
    for feature in product.features:
        values = rows[feature.name]
        if feature.categories is not None:
            good &= values.isin(feature.categories) | values.isna()
        if feature.valid is not None:
            good &= values.between(*feature.valid) | values.isna()
    return good


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
    return pa.Check.in_range(low, high, error=f"must be between {low:g} and {high:g}")


def _parse(file: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text."""
    content = file.read_bytes()
    for mark, encoding in OTHER_ENCODINGS.items():
        if content.startswith(mark):
            raise DataError(file.name, "(file)", f"is {encoding}, must be CSV text in UTF-8")
    if b"\0" in content:
        raise DataError(file.name, "(file)", "holds zero bytes, must be CSV text in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            file.name, "(file)", f"must be CSV text in UTF-8: {error.reason} at byte {error.start}"
        ) from error
    if text.lstrip()[:1] == "<":
        raise DataError(file.name, "(file)", "is HTML or XML, must be CSV")
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise DataError(file.name, "(file)", f"is not CSV: {error}") from error
    if not lines:
        raise DataError(file.name, "(file)", "is empty")
    return [name.strip() for name in lines[0]], lines[1:]


def _check_header(file: str, header: list[str], product: Product) -> None:
    if len(header) == 1:
        raise DataError(file, "(header)", f"has one column, {header[0][:80]!r}: the delimiter must be a comma")
    wanted = {*product.feature_names, product.target.name}
    found = set(header)
    duplicates = sorted({name for name in header if header.count(name) > 1})
    missing = sorted(wanted - found)
    extra = sorted(found - wanted - set(product.excluded))
    if duplicates:
        raise DataError(file, duplicates[0], "is in the header twice")
    if missing and extra:
        raise DataError(file, missing[0], f"is missing, and {extra[0]!r} is unknown: renamed?")
    if missing:
        raise DataError(file, missing[0], "is missing")
    if extra:
        raise DataError(file, extra[0], "is not a column of this product")


def _check_rows(file: str, header: list[str], rows: list[list[str]], product: Product) -> None:
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            cut = ", cut off at the end" if number == len(rows) else ""
            raise DataError(file, f"(row {number})", f"has {len(row)} fields, the header has {len(header)}{cut}")
    limits = product.source.rows
    if len(rows) < limits.min:
        raise DataError(file, "(rows)", f"has {len(rows)} rows, must have at least {limits.min}: truncated?")
    if len(rows) > limits.max:
        raise DataError(file, "(rows)", f"has {len(rows)} rows, must have at most {limits.max}")


def _numbers(file: str, column: pd.Series, product: Product) -> pd.Series:
    """The column as float64: marks of a missing value become NaN, any other text that is no number is refused."""
    text = column.str.strip()
    missing = text.isin(product.source.missing)
    numbers = pd.to_numeric(text.where(~missing), errors="coerce").astype("float64")
    wrong = ~missing & ~np.isfinite(numbers)
    if wrong.any():
        marks = " or ".join(product.source.missing)
        raise DataError(file, str(column.name), f"must be a number or {marks}, has {_examples(text, wrong)}")
    return numbers


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
    """A feature that ranks the rows as the target does was made from the target."""
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
    """The first few offending values with their rows, counted from 1."""
    shown = ", ".join(f"{value!r} in row {index + 1}" for index, value in values[chosen].head(SHOWN).items())
    more = int(chosen.sum()) - SHOWN
    return shown + (f" and {more} more" if more > 0 else "")
