"""The rules of product.yaml for a whole table: its values by a pandera schema, its keys, times, rows and leaks.

All rules are on encoded columns (`encode_column`), so that text, flags and times obey the same ones as numbers. Errors
show the values as they came.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from beacon_core.domain.data_errors import ROWS, DataError, examples
from beacon_core.domain.numbers import WHOLE_RULE
from beacon_core.domain.precision import LARGEST_FLOAT32
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.text import close_match, normal_text
from beacon_core.domain.value_rules import MOST_LISTED
from beacon_core.platform import clock
from beacon_core.sources.newest import identity
from beacon_retraining.data.encoding import WRONG, Matrix, encode_column, factorize
from beacon_retraining.data.row_rules import check_unlabelled

Numbers = Mapping[str, Matrix]
HASH_FACTOR = np.uint64(1_000_003)
LEAK_ROWS = 50_000
"""So many rows, evenly spaced, tell a leak."""
RULES = {"not_nullable": "must not be missing"}  # pandera's message, in plain words


def table_features(product: Product) -> list[Feature]:
    """The features that a table has; the others are computed from an entity's history."""
    return [feature for feature in product.features if feature.lag is None]


def schema(product: Product) -> pa.DataFrameSchema:
    """The pandera schema of the encoded features and the target."""
    columns = {feature.name: _column(feature, product) for feature in table_features(product)}
    low, high = product.target.bounds
    bounds = pa.Check.in_range(low, high, error=_range_rule(low, high))
    finite = pa.Check(np.isfinite, error="must be finite")
    columns[product.target.name] = pa.Column(float, [finite, bounds], nullable=True)
    return pa.DataFrameSchema(columns, strict=True)


def check_values(file: str, frame: pd.DataFrame, product: Product) -> Numbers:
    """The encoded features and the target, by name; raises `DataError` for the first column that breaks a rule.

    Column by column: a table of millions of rows is not copied as a whole.
    """
    numbers: dict[str, Matrix] = {}
    columns = schema(product).columns
    for feature in table_features(product):
        numbers[feature.name] = encode_column(frame[feature.name], feature)
        _check_column(file, columns[feature.name], numbers[feature.name], frame[feature.name], feature)
    name = product.target.name
    numbers[name] = frame[name].to_numpy(np.float64, na_value=np.nan)
    _check_column(file, columns[name], numbers[name], frame[name], None)
    return numbers


def is_invalid(numbers: Matrix, feature: Feature) -> NDArray[np.bool_]:
    """Which encoded values (rows,) break a rule of the feature; a missing one does not."""
    valid = np.isfinite(numbers)
    if feature.has_number_levels:
        valid &= np.isin(numbers, np.array(feature.known_levels, np.float64))
    if feature.is_whole:
        valid &= np.floor(numbers) == numbers
    low, high = feature.bounds
    valid &= (numbers >= low) & (numbers <= high)
    return ~(valid | np.isnan(numbers))


def check_keys(file: str, frame: pd.DataFrame, product: Product) -> None:
    """A key is there once, or once per event time; raises `DataError`."""
    columns = identity(product)
    if not columns:
        return
    event = product.time.event
    repeated = frame.duplicated(columns, keep=False).to_numpy()
    if not repeated.any():
        return
    first = frame.index[repeated][0]
    same = np.flatnonzero((frame[columns] == frame.loc[first, columns]).all(axis=1))
    shown = ", ".join(str(_plain(frame[name].iloc[same[0]])) for name in product.keys)
    advice = (
        "where a key may have several rows, name the column of their times as time.event"
        if event is None
        else "where later ones are corrections, make them a source of their own: between sources the newest row counts"
    )
    raise DataError(
        file,
        " and ".join(columns),
        f"must be one row per key{'' if event is None else ' and time'}, has {shown!r} in rows {same[0] + 1} and "
        f"{same[1] + 1} ({int(repeated.sum())} such rows); {advice}",
    )


def check_times(file: str, frame: pd.DataFrame, product: Product) -> None:
    """Event times are not in the future; raises `DataError`."""
    event = product.time.event
    if event is None:
        return
    values = frame[event]
    limit = pd.Timestamp(clock.now())
    plain = values if values.dt.tz is not None else values.dt.tz_localize("UTC")
    late = (plain > limit).to_numpy()
    if late.any():
        raise DataError(file, event, f"must not be in the future, has {_examples(values, late)}")


def check_target(file: str, frame: pd.DataFrame, numbers: Numbers, product: Product) -> None:
    """Enough rows have a target, it varies, weights are usable, and there are groups to hold out.

    Raises `DataError`. Weights and groups count where there is a target: the other rows are not trained on.
    """
    name = product.target.name
    labelled = ~np.isnan(numbers[name])
    check_unlabelled(file, name, len(labelled), int((~labelled).sum()), product.data)
    target = numbers[name][labelled]
    if target.min() == target.max():
        raise DataError(file, name, f"has one value only, {target[0]:g}: there is nothing to predict")
    weight, group = product.target.weight, product.time.group
    if weight is not None:
        weights = frame[weight].to_numpy(np.float64, na_value=np.nan)
        wrong = labelled & ~(np.isfinite(weights) & (weights >= 0))
        if wrong.any():
            raise DataError(file, weight, f"is a weight: must be at least 0, has {_examples(frame[weight], wrong)}")
        if not weights[labelled].any():
            raise DataError(file, weight, "is a weight: must be above 0 in some row")
    if group is not None and (count := frame.loc[labelled, group].nunique()) < 2:
        raise DataError(file, group, f"has {count} group, time.split: group needs at least 2")


def check_repeats(file: str, frame: pd.DataFrame, numbers: Numbers, product: Product) -> None:
    """Few rows repeat an earlier one; raises `DataError`."""
    columns = dict(numbers)
    for feature in table_features(product):
        if feature.other is not None:  # all unseen levels have one number
            columns[feature.name] = factorize(frame[feature.name])[0].astype(np.float64)
    keys = () if product.entity is None or product.entity.row_number else product.keys
    beside = [name for name in (*keys, product.time.event) if name is not None and name not in columns]
    hashes = np.zeros(len(frame), np.uint64)
    for values in (*columns.values(), *(frame[name] for name in beside)):  # never all of them as one more frame
        hashes = hashes * HASH_FACTOR ^ pd.util.hash_pandas_object(pd.Series(values), index=False).to_numpy()
    repeats = pd.Series(hashes).duplicated()
    limit = product.data.limits.duplicate_share
    if repeats.mean() > limit:
        raise DataError(
            file,
            ROWS,
            f"{int(repeats.sum())} of {len(frame)} rows repeat an earlier one (first: row {repeats.idxmax() + 1}), "
            f"at most {limit:.0%} may",
        )


def check_leaks(file: str, numbers: Numbers, product: Product) -> None:
    """A feature that ranks the rows as the target does is derived from the target; raises `DataError`."""
    limit, target = product.data.limits.target_correlation, numbers[product.target.name]
    rows = np.unique(np.linspace(0, len(target) - 1, LEAK_ROWS).astype(int)) if len(target) > LEAK_ROWS else slice(None)
    for feature in table_features(product):
        correlation = _rank_correlation(numbers[feature.name][rows], target[rows], feature)
        if correlation > limit:
            raise DataError(
                file,
                feature.name,
                f"leaks the target: its rank correlation with {product.target.name} is {correlation:.2f}, "
                f"at most {limit:g} may be",
            )


def _rank_correlation(numbers: Matrix, target: Matrix, feature: Feature) -> float:
    """Spearman's, without its sign; of levels without an order, that of their mean targets in the other half."""
    known = ~(np.isnan(numbers) | np.isnan(target))
    numbers, target = numbers[known], target[known]
    if feature.type == "category" and not feature.ordered:
        _, level = np.unique(numbers, return_inverse=True)
        half = np.random.default_rng(0).random(len(level)) < 0.5
        counts = np.bincount(level[half], minlength=level.max(initial=0) + 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.bincount(level[half], target[half], minlength=len(counts)) / counts
        numbers, target = means[level[~half]], target[~half]
        numbers, target = numbers[~np.isnan(numbers)], target[~np.isnan(numbers)]
    if len(target) < 3 or numbers.min() == numbers.max() or target.min() == target.max():
        return 0.0
    ranks = [pd.Series(values).rank().to_numpy() for values in (numbers, target)]
    return abs(float(np.corrcoef(ranks)[0, 1]))


def _column(feature: Feature, product: Product) -> pa.Column:
    most = product.data.limits.null_share
    low, high = feature.bounds
    checks = [
        pa.Check(lambda values: bool(values.notna().any()), error="holds no value at all", ignore_na=False),
        pa.Check(
            lambda values: bool(values.isna().mean() <= most),
            error=f"must have a value in at least {1 - most:.0%} of the rows",
            ignore_na=False,
        ),
        pa.Check(lambda values: values != WRONG, error=_type_rule(feature)),
        pa.Check(
            lambda values: values.abs() <= LARGEST_FLOAT32,
            error=f"must be finite, and within {LARGEST_FLOAT32:g}: a model computes with no larger number",
        ),
    ]
    if feature.has_number_levels:
        checks.append(pa.Check.isin(feature.known_levels, error=_type_rule(feature)))
    if feature.is_whole:
        checks.append(pa.Check(lambda values: values % 1 == 0, error=f"must be {WHOLE_RULE}"))
    if feature.valid is not None:
        checks.append(pa.Check.in_range(low, high, error=f"must be {feature.valid_text()}"))
    return pa.Column(float, checks, nullable=feature.nullable)


def _type_rule(feature: Feature) -> str:
    """What a value of another type, or an unknown level, breaks."""
    if feature.type == "category" and feature.known_levels:
        levels = [str(level) for level in feature.known_levels]
        return (
            f"must be one of {', '.join(levels)}"
            if len(levels) <= MOST_LISTED
            else (f"must be one of {len(levels)} known levels")
        )
    kinds = {"bool": "true or false", "category": "text of at most 256 characters"}
    return f"must be {kinds.get(feature.type, f'a {feature.type}')}"


def _range_rule(low: float, high: float) -> str:
    if np.isinf(low) or np.isinf(high):
        return (
            "must be any"
            if np.isinf(low) and np.isinf(high)
            else (f"must be at most {high:.15g}" if np.isinf(low) else f"must be at least {low:.15g}")
        )
    return f"must be between {low:.15g} and {high:.15g}"


def _check_column(file: str, column: pa.Column, numbers: Matrix, values: pd.Series, feature: Feature | None) -> None:
    try:
        pa.DataFrameSchema({"value": column}).validate(pd.DataFrame({"value": numbers}), lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        rule = str(cases["check"].iloc[0])
        wrong = np.zeros(len(numbers), bool)
        wrong[cases.loc[cases["check"] == rule, "index"].dropna().astype(int)] = True
        shown = f", has {_examples(values, wrong)}" if wrong.any() else ""
        hint = _case_hint(values[wrong], feature) if feature is not None and wrong.any() else ""
        raise DataError(file, str(values.name), RULES.get(rule, rule) + shown + hint) from error


def _case_hint(wrong: pd.Series, feature: Feature) -> str:
    """Levels that differ from known ones in case or by a letter."""
    known = [level for level in feature.known_levels if isinstance(level, str)]
    distinct = [normal_text(value) for value in pd.unique(wrong.dropna())[:MOST_LISTED] if isinstance(value, str)]
    pairs = [(text, close_match(text, known)) for text in distinct]
    near = [f"{text!r} is near {level!r}" for text, level in pairs if level is not None and level != text]
    return f"; {', '.join(near[:3])}: one spelling in the data, or `unseen: other`" if near else ""


def _examples(values: pd.Series, chosen: NDArray[np.bool_]) -> str:
    """The first few invalid values with their rows, counted from 1."""
    rows = np.flatnonzero(chosen)
    return examples(_numbered(values, rows), len(rows))


def _numbered(values: pd.Series, rows: Iterable[int]) -> Iterator[tuple[int, Any]]:
    for row in rows:
        yield int(row) + 1, _plain(values.iloc[row])


def _plain(value: Any) -> Any:
    """A value as people write it."""
    if value is None or value is pd.NA or value is pd.NaT:
        return float("nan")
    if isinstance(value, np.generic):
        return value.item()
    return value.isoformat() if isinstance(value, datetime) else value
