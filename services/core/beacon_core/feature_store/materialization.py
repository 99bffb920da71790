"""Materialization: brings online the rows that arrived in the offline file since the last run, however late.

Feast's own increment selects by event time alone. It misses rows that arrive late, and all rows after a run whose end
lay in the future. It also holds all rows and their messages in memory; here only keys and times are, and of the rows
themselves some million values at a time. They are written in the order of their keys: SQLite's trees then grow at
their ends, where any other order rewrites most of their pages with every batch.
"""

import contextlib
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView
from numpy.typing import NDArray

from beacon_core.domain.times import EARLIEST, MOST_AHEAD
from beacon_core.feature_store.columns import TIME, aligned
from beacon_core.feature_store.errors import FeatureStoreError, NoDataYetError
from beacon_core.feature_store.offline import file_of, read_rows
from beacon_core.feature_store.online import BATCH_ROWS, key_order, write_online
from beacon_core.feature_store.point_in_time import Ints, join, key_codes, times_of
from beacon_core.feature_store.shared_registry import again_if_changed
from beacon_core.feature_store.stored_view import StoredView, stored_view
from beacon_core.platform import clock
from beacon_core.platform.shared_files import SharedFile, Write, to_bytes

MOST_VALUES = 4_000_000
"""So many values are held at once; the file is read once for each time."""


class MaterializationResult(msgspec.Struct, frozen=True):
    """What one materialization did: rows of [start, end] brought online; `newest` is their last event time."""

    view: str
    start: datetime
    end: datetime
    rows: int
    newest: datetime | None


class MaterializationProgress(msgspec.Struct, frozen=True):
    """Progress of a view: the number of rows of its file, in order of arrival, read with event times up to `end`."""

    rows: int
    end: datetime


def materialize_new(
    store: FeatureStore, name: str, end: datetime, *, everything: bool = False
) -> MaterializationResult:
    """Bring online what has arrived in the view `name` since the last run, with event times up to `end`.

    Safe to repeat. `everything` brings all rows online again, as for a store that was emptied. A view with lags is
    always brought whole: they change with time. Raises `NoDataYetError` when there is no data yet,
    `FeatureStoreError` when its file is gone or `end` lies in the future.
    """
    now = clock.now()
    if end > now + MOST_AHEAD:
        raise FeatureStoreError(f"{name}: {end.isoformat()} lies in the future, and more rows may arrive until then")
    end = min(end, now)
    view = store.get_feature_view(name)
    stored, rows_file = stored_view(view), _rows_file(store, view)
    kept = rows_file.sibling(f"{view.name}.progress.json")
    with rows_file.reading() as file:
        times = _index(file, stored)
        before = None if everything or stored.lags else _progress(kept, view, len(times), now)
        start = _first_event(times, before, stored, end)
        _bring_online(store, view, file, times, (start, end))
        if before is None or before.end <= end:
            _keep(kept, MaterializationProgress(len(times), end))
    event = times[stored.event_time]
    rows = event.filter(pc.and_(pc.greater_equal(event, start), pc.less_equal(event, end)))
    return MaterializationResult(view=name, start=start, end=end, rows=len(rows), newest=pc.max(rows).as_py())


def materialize_between(store: FeatureStore, names: Sequence[str], start: datetime, end: datetime) -> None:
    """Bring online the newest rows with event times from `start` to `end`; leaves the progress unchanged."""
    for name in names:
        view = store.get_feature_view(name)
        with _rows_file(store, view).reading() as file:
            _bring_online(store, view, file, _index(file, stored_view(view)), (start, end))


def forget_rows(file: SharedFile, gone: NDArray[np.bool_]) -> None:
    """Count the progress of the views of `file` anew, from which some rows were removed."""

    def without(kept: Path) -> Write:
        progress = msgspec.json.decode(kept.read_bytes(), type=MaterializationProgress)
        rows = progress.rows - int(gone[: progress.rows].sum())
        return _encoded(msgspec.structs.replace(progress, rows=rows))

    for kept in file.beside("*.progress.json"):
        kept.update(without)


def lags_at(stored: StoredView, file: Path, keys: pa.Table, moment: datetime) -> dict[str, pa.ChunkedArray]:
    """The view's lags of the entities `keys` as of `moment`, computed from the offline rows."""
    if not stored.lags:
        return {}
    moments = keys.select(stored.keys).append_column(stored.event_time, pa.array([moment] * len(keys), TIME))
    return join(stored, read_rows(file, stored), moments, list(stored.lags), as_known=False)


def last_end(view: FeatureView, now: datetime) -> datetime | None:
    """When the view's last materialization ended; ends in the future are ignored."""
    ends = [end for _, end in view.materialization_intervals]
    return max((end for end in ends if end <= now + MOST_AHEAD), default=None)


def _bring_online(
    store: FeatureStore, view: FeatureView, file: Path, index: pa.Table, span: tuple[datetime, datetime]
) -> None:
    stored, (start, end) = stored_view(view), span
    places = _newest(index, stored, start, end)
    places = places[key_order(view, stored, index.take(places))]
    lags = lags_at(stored, file, index.take(places), end)
    most = max(MOST_VALUES // len(stored.schema), BATCH_ROWS)
    for first in range(0, len(places), most):
        rows = _rows_at(file, stored, places[first : first + most])
        for name, column in lags.items():
            rows = rows.append_column(name, column.slice(first, len(rows)))
        write_online(store, view, rows)

    def note() -> None:
        store.refresh_registry()  # Feast would write what it read long ago
        store.registry.apply_materialization(view, store.project, start, end)

    with contextlib.redirect_stdout(io.StringIO()):  # Feast prints
        again_if_changed(note)


def _index(file: Path, stored: StoredView) -> pa.Table:
    """Keys and times of all rows."""
    schema = pa.schema([stored.schema.field(name) for name in (*stored.keys, stored.event_time, stored.created)])
    known = pq.read_schema(file).names
    return aligned(pq.read_table(file, columns=[name for name in schema.names if name in known]), schema)


def _newest(index: pa.Table, stored: StoredView, start: datetime, end: datetime) -> Ints:
    """The places of the newest row of each entity, among those with event times from `start` to `end`; sorted."""
    event = index[stored.event_time]
    chosen = pc.and_(pc.greater_equal(event, start), pc.less_equal(event, end))
    for key in stored.keys:  # null in rows of another key
        chosen = pc.and_(chosen, pc.is_valid(index[key]))
    places = np.flatnonzero(chosen.to_numpy())
    some = index.take(places)
    codes = key_codes([some[key] for key in stored.keys])
    order = np.lexsort((times_of(some[stored.created]), times_of(some[stored.event_time]), codes))
    last = np.ones(len(order), bool)
    last[:-1] = codes[order][1:] != codes[order][:-1]
    found: Ints = np.sort(places[order[last]])
    return found


def _rows_at(file: Path, stored: StoredView, places: Ints) -> pa.Table:
    """The rows at `places`, in that order; no others are in memory for long."""
    known = pq.read_schema(file).names
    columns = [name for name in stored.schema.names if name in known]
    in_file = np.sort(places)
    parts, first = [], 0
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
            low, high = np.searchsorted(in_file, [first, first + len(batch)])
            if low < high:
                parts.append(pa.table(batch).take(in_file[low:high] - first))
            first += len(batch)
    return aligned(pa.concat_tables(parts), stored.schema).take(np.searchsorted(in_file, places))


def _first_event(times: pa.Table, before: MaterializationProgress | None, view: StoredView, end: datetime) -> datetime:
    """The event time from which on there may be rows that are not online."""
    # Rows without a time of their own do not age.
    is_aging = view.ttl is not None and not view.undated
    first: datetime = max(EARLIEST, end - (view.ttl or timedelta())) if is_aging else EARLIEST
    if before is None or before.rows > len(times):  # the file was replaced by an older one
        return first
    event, created = times[view.event_time], times[view.created]
    # By its position in the file, as a sender may backdate a row; by its `created`, as the whole file may have been
    # replaced.
    arrived = event.slice(before.rows), event.filter(pc.greater_equal(created, before.end))
    firsts: list[datetime] = [time for part in arrived if (time := pc.min(part).as_py()) is not None]
    return max(first, min([before.end, end, *firsts]))


def _rows_file(store: FeatureStore, view: FeatureView) -> SharedFile:
    """The view's offline rows; raises `NoDataYetError` when there are none yet, `FeatureStoreError` when gone."""
    file = file_of(store.config, view)
    if not file.exists():
        kind = FeatureStoreError if view.materialization_intervals else NoDataYetError
        raise kind(f"{file.address}: no data to materialize; retraining's fetch writes it")
    return file


def _progress(file: SharedFile, view: FeatureView, rows: int, now: datetime) -> MaterializationProgress | None:
    """The progress of the last run; None where it is unknown, so that all rows are brought online."""
    try:
        with file.reading() as path:
            kept = msgspec.json.decode(path.read_bytes(), type=MaterializationProgress)
    except (FileNotFoundError, msgspec.DecodeError):
        known = last_end(view, now)
        return None if known is None else MaterializationProgress(rows, known)
    # Only progress of this registry and this clock counts: another one may have filled another online store.
    of_this = any(end == kept.end for _, end in view.materialization_intervals)
    return kept if of_this and kept.end <= now + MOST_AHEAD else None


def _keep(file: SharedFile, progress: MaterializationProgress) -> None:
    # Not durable: without it, more rows than necessary are brought online.
    file.update(lambda _: _encoded(progress), durable=False)


def _encoded(progress: MaterializationProgress) -> Write:
    return to_bytes(msgspec.json.encode(progress))
