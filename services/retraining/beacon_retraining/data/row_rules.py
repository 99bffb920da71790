"""The rules of a table's keys, times and missing targets, which no schema of single values can state.

A time is of the past: a row from the future would be served as fresh for ever, and hide later ones. Feast's value for
"never" is 1970, so no row is older.

A row without a target is unlabelled: the feature store has it, and nothing is trained on it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import pandas as pd

from beacon_core.domain.data_errors import ROWS, SHOWN, DataError, examples
from beacon_core.domain.product import Product
from beacon_core.domain.product_entry import NOW
from beacon_core.domain.source import DataRules, RowLimits
from beacon_core.domain.times import EARLIEST, MOST_AHEAD
from beacon_core.feature_store.names import BASE_EVENT_TIME, CREATED_TIME, EVENT_TIME

TIME = "datetime64[us, UTC]"


def row_times(product: Product, rows: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The event time and the time of arrival of each row, UTC; raises `DataError` for one that cannot be."""
    event, created = product.time.event, product.time.created
    times = {
        EVENT_TIME: pd.Series(BASE_EVENT_TIME, index=rows.index) if event is None else _past(product, rows, event, now),
        CREATED_TIME: pd.Series(now, index=rows.index) if created == NOW else _past(product, rows, created, now),
    }
    return pd.DataFrame(times).astype(TIME).reset_index(drop=True)


def check_keys(product: Product, rows: pd.DataFrame, times: pd.DataFrame) -> None:
    """Raise `DataError` where an entity has two rows of one time."""
    keys = rows[list(product.keys)].reset_index(drop=True)
    column = ", ".join(product.keys)
    missing = keys.isna().any(axis=1)
    if missing.any():
        raise DataError(_name(product), column, f"must not be missing, is in {_rows(missing[missing].index)}")
    is_dated = product.time.event is not None
    whole = keys.assign(**{EVENT_TIME: times[EVENT_TIME]}) if is_dated else keys
    repeats = whole.duplicated(keep=False)
    if not repeats.any():
        return
    first = int(repeats.idxmax())
    same = whole.index[(whole == whole.loc[first]).all(axis=1)]
    key = ", ".join(str(value) for value in keys.loc[first])
    if is_dated:
        time = times[EVENT_TIME][first].isoformat()
        rule = f"an entity has one row per {product.time.event}: {key} at {time} is in {_rows(same)}"
    else:
        rule = f"an entity has one row where product.yaml names no time.event: {key} is in {_rows(same)}"
    raise DataError(_name(product), column, f"{rule}; {int(repeats.sum())} rows repeat a key")


def check_unlabelled(file: str, target: str, rows: int, unlabelled: int, limits: DataRules) -> None:
    """Raise `DataError` where too many of the rows have no target, or too few have one."""
    most, least = limits.limits.null_share, min(limits.rows.min, RowLimits().min)
    rule = f"is the target, and has no value in {unlabelled} of {rows} rows"
    if unlabelled > most * rows:
        raise DataError(file, target, f"{rule}; at most {most:.0%} may lack it (data.limits.null_share)")
    if rows - unlabelled < least:
        raise DataError(file, target, f"{rule}; a model needs at least {least} with one")


def moved_rows(product: Product, moved: int) -> DataError:
    """The error of a file whose rows have other numbers than before."""
    return DataError(
        _name(product),
        ROWS,
        f"the key is the row number (entity.row_number), and {moved} rows have another number than before, so their "
        "entities would get the features of others: was the file sorted, or a row removed? Name a column as "
        "entity.key; where it is meant, retrain with --accept-shift",
    )


def _past(product: Product, rows: pd.DataFrame, column: str, now: datetime) -> pd.Series:
    times = rows[column]
    times = times.dt.tz_localize(UTC) if times.dt.tz is None else times.dt.tz_convert(UTC)
    latest = now + MOST_AHEAD
    faults = {
        "must not be missing": times.isna(),
        f"lies in the future (it is {now.isoformat(timespec='seconds')} now)": times > latest,
        f"lies before {EARLIEST.year}": times < EARLIEST,
    }
    for rule, wrong in faults.items():
        if wrong.any():
            places = wrong.to_numpy().nonzero()[0]
            shown = ((int(place) + 1, str(times.iloc[place])) for place in places[:SHOWN])
            raise DataError(_name(product), column, f"{rule}: {examples(shown, len(places))}")
    return times


def _rows(places: Iterable[int]) -> str:
    numbers = [str(place + 1) for place in places]
    return f"rows {', '.join(numbers[:SHOWN])}" + (f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else "")


def _name(product: Product) -> str:
    return product.sources[0].name
