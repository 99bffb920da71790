"""Offline: the validated rows as Feast's offline Parquet, and the targets beside them.

Where product.yaml names a column of event times, each row is of its time, and rows of one entity are its history. A
corrected row has the same time and arrives later.

Without one, all rows are dated before all of production, and a corrected row one second after the row that it
replaces. So every store serves the newest one, and a prediction still joins what was known when it was made. Such rows
have no time of their own, and do not age.
"""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.columns import KEY_TYPES, TIME, aligned, arrow_type, to_table
from beacon_core.feature_store.definitions import view_features
from beacon_core.feature_store.names import BASE_END, BASE_EVENT_TIME, CREATED_TIME, EVENT_TIME
from beacon_core.feature_store.offline import read_all, to_parquet
from beacon_core.feature_store.point_in_time import Ints, key_codes, times_of
from beacon_core.platform.settings import Settings
from beacon_core.platform.shared_files import SharedFile, Write, to_bytes
from beacon_retraining.data.row_counts import FileChanges
from beacon_retraining.data.row_rules import check_keys, moved_rows, row_times

SECOND = 1_000_000
FORMER = "features.former-key.parquet"


def targets_file(settings: Settings) -> SharedFile:
    """The file of the targets: the key, the event time (UTC) of its features, the target (or null), weight and group.

    Without an entity there is no feature store, and this file has the features, too.
    """
    return repo.data_file(settings).sibling("targets.parquet")


def target_columns(product: Product) -> list[str]:
    """The columns of a row beside its key, time and features: the target, and what training weighs and groups by."""
    others = (product.target.name, product.target.weight, product.time.group)
    taken = {*product.keys, *product.feature_names}
    return list(dict.fromkeys(name for name in others if name is not None and name not in taken))


def write_offline(
    settings: Settings, product: Product, rows: pd.DataFrame, now: datetime, *, accept_moved: bool = False
) -> FileChanges:
    """Add what is new in `rows` to the offline features, as known from `now` on, and write the targets.

    Nothing is removed: an unchanged row keeps its dates, the old version of a changed or removed row stays, and so do
    rows that were pushed to feature serving. Raises `DataError` for times that cannot be, for keys that repeat, and,
    unless `accept_moved`, for a file without a key of its own whose rows have moved.
    """
    times = row_times(product, rows, now)
    names = dict.fromkeys([*target_columns(product), *(product.feature_names if product.entity is None else ())])
    others = rows[[name for name in names if name in rows]].reset_index(drop=True)
    if product.entity is None:
        _replace(_with_times(others, times[EVENT_TIME]), targets_file(settings))
        return FileChanges()
    check_keys(product, rows, times)
    schema = _schema(product)
    values = rows.reset_index(drop=True).drop(columns=[EVENT_TIME, CREATED_TIME], errors="ignore")
    new = to_table(values.join(times), schema)
    file, row_number = repo.data_file(settings), product.entity.row_number
    compared: list[_Comparison] = []

    def add(path: Path) -> Write | None:
        is_former = _is_of_another_key(path, product)
        before = schema.empty_table() if is_former else read_all(path, schema)
        compared.append(found := _compare(product, before, new))
        if row_number and found.moved and not accept_moved:
            raise moved_rows(product, found.moved)
        if is_former:  # its rows are put aside
            file.sibling(FORMER).update(lambda _: to_bytes(path.read_bytes()))
        if not (len(found.added) or is_former):
            return None
        return to_parquet(pa.concat_tables([before, aligned(found.added, before.schema)]))

    file.update(add, durable=False)
    found = compared[-1]
    removed = _removed(settings, product, new)
    keys = rows[list(product.keys)].reset_index(drop=True)
    _replace(_with_times(keys.join(others), found.times), targets_file(settings))
    return FileChanges(found.new, found.changed, removed, found.moved)


class _Comparison(NamedTuple):
    """The rows to add, the event times of all rows, and how many are new, changed and moved."""

    added: pa.Table
    times: pd.Series
    new: int
    changed: int
    moved: int


def _schema(product: Product) -> pa.Schema:
    """The columns of the offline file: key, times, the features that are not computed, and what lags are of."""
    columns: dict[str, pa.DataType] = {}
    if product.entity is not None:
        columns |= {name: KEY_TYPES[kind] for name, kind in product.entity.columns}
    columns |= {EVENT_TIME: TIME, CREATED_TIME: TIME}
    columns |= {feature.name: arrow_type(feature) for feature in view_features(product) if feature.lag is None}
    columns |= {feature.lag.lag: pa.float64() for feature in product.features if feature.lag is not None}
    return pa.schema(list(columns.items()))


def _compare(product: Product, before: pa.Table, new: pa.Table) -> _Comparison:
    """Match each row of the file with the last version of it that is stored."""
    keys, is_dated = list(product.keys), product.time.event is not None
    names = [name for name in _schema(product).names if name not in {*keys, EVENT_TIME, CREATED_TIME}]
    known_schema = new.schema
    both = pa.concat_tables([aligned(before, known_schema), new])
    old = len(before)
    event, created = times_of(both[EVENT_TIME]), times_of(both[CREATED_TIME])
    by_key = key_codes([both[key] for key in keys])
    content = key_codes([both[name] for name in names])
    if is_dated:
        base = np.ones(old, bool)
        matched = latest(key_codes([both[name] for name in (*keys, EVENT_TIME)]), (event, created), base)
    else:
        base = (event[:old] >= _microseconds(BASE_EVENT_TIME)) & (event[:old] < _microseconds(BASE_END))
        matched = latest(by_key, (event, created), base)
    is_known = matched >= 0
    is_same = is_known & (content[matched] == content[old:])
    is_changed = is_known & ~is_same
    times, arrived = event[old:].copy(), created[old:].copy()
    if is_dated:
        arrived[is_known] = np.maximum(arrived, created[matched])[is_known]
    else:
        times[is_known] = np.where(is_same, event[matched], event[matched] + SECOND)[is_known]
    moved = _moved(latest(by_key, (created, event), base), _newest(by_key, (created, event), base), by_key, content)
    dated = new.set_column(new.schema.get_field_index(EVENT_TIME), EVENT_TIME, _times(times))
    dated = dated.set_column(new.schema.get_field_index(CREATED_TIME), CREATED_TIME, _times(arrived))
    return _Comparison(
        added=dated.filter(pa.array(~is_same)),
        times=_times(times).to_pandas(),
        new=int((~is_known).sum()) if base.any() else 0,
        changed=int(is_changed.sum()),
        moved=moved,
    )


def latest(codes: Ints, times: tuple[Ints, ...], chosen: NDArray[np.bool_]) -> Ints:
    """For each code after the stored rows, the place of the last `chosen` one of them by `times`, else -1."""
    places = np.flatnonzero(chosen)
    order = places[np.lexsort((places, *(time[places] for time in reversed(times)), codes[places]))]
    last = np.full(int(codes.max(initial=-1)) + 1, -1)
    last[codes[order]] = order  # of equal codes numpy keeps the last
    found: Ints = last[codes[len(chosen) :]]
    return found


def _newest(codes: Ints, times: tuple[Ints, ...], chosen: NDArray[np.bool_]) -> Ints:
    """The places of the last `chosen` stored row of each code."""
    stored = codes[: len(chosen)]
    places = latest(np.concatenate([stored, stored]), tuple(time[: len(chosen)] for time in times), chosen)
    return np.unique(places[places >= 0])


def _moved(matched: Ints, newest: Ints, by_key: Ints, content: Ints) -> int:
    """How many rows have the features that another entity had last, and no longer has."""
    old = len(by_key) - len(matched)
    is_known = matched >= 0
    is_changed = is_known & (content[matched] != content[old:])
    kept = by_key[old:][is_known & ~is_changed]
    left = newest[~np.isin(by_key[newest], kept)]
    return int(np.isin(content[old:][is_changed], content[left]).sum())


def _is_of_another_key(path: Path, product: Product) -> bool:
    """Whether the file's rows are of another key."""
    if not path.is_file() or product.entity is None:
        return False
    stored = pq.read_schema(path)
    kinds = {name: KEY_TYPES[kind] for name, kind in product.entity.columns}
    return any(name not in stored.names or stored.field(name).type != kind for name, kind in kinds.items())


def _removed(settings: Settings, product: Product, new: pa.Table) -> int:
    """How many rows of the last file are gone; 0 where it had another key."""
    names = [*product.keys, *([EVENT_TIME] if product.time.event is not None else ())]
    with targets_file(settings).reading() as file:
        if not file.is_file() or not set(names) <= set(pq.read_schema(file).names):
            return 0
        before = pq.read_table(file, columns=names)
    new = new.select(names)
    both = pa.concat_tables([aligned(before, new.schema), new])
    codes = key_codes([both[name] for name in names])
    return int((~np.isin(codes[: -len(new) or None], codes[len(both) - len(new) :])).sum())


def _with_times(frame: pd.DataFrame, times: pd.Series) -> pd.DataFrame:
    return frame.assign(**{EVENT_TIME: times.to_numpy()}).astype({EVENT_TIME: "datetime64[us, UTC]"})


def _times(microseconds: Ints) -> pa.Array:
    return pa.array(microseconds).cast(TIME)


def _microseconds(time: datetime) -> int:
    return int(time.timestamp()) * SECOND


def _replace(frame: pd.DataFrame, file: SharedFile) -> None:
    file.update(lambda _: to_parquet(pa.Table.from_pandas(frame, preserve_index=False)), durable=False)
