"""Materialization: brings online the rows that arrived in the offline file since the last run, however late.

Feast's own increment selects by event time alone. It misses rows that arrive late, and all rows after a run whose end
lay in the future.
"""

import contextlib
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView

from beacon_core.domain.times import EARLIEST, MOST_AHEAD
from beacon_core.feature_store.errors import FeatureStoreError, NoDataYetError
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_core.feature_store.offline import file_of, locked
from beacon_core.platform import clock
from beacon_core.platform.files import write_atomically


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

    Safe to repeat. `everything` brings all rows online again, as for a store that was emptied. Raises
    `NoDataYetError` when there is no data yet, `FeatureStoreError` when its file is gone or `end` lies in the future.
    """
    now = clock.now()
    if end > now + MOST_AHEAD:
        raise FeatureStoreError(f"{name}: {end.isoformat()} lies in the future, and more rows may arrive until then")
    end = min(end, now)
    view = store.get_feature_view(name)
    file = _rows_file(store, view)
    with locked(file, shared=True):
        times = pq.read_table(file, columns=[EVENT_TIME, CREATED_TIME])
        before = None if everything else _progress(file, view, len(times), now)
        start = _first_event(times, before, view, end)
        with contextlib.redirect_stdout(io.StringIO()):  # Feast prints
            store.materialize(start, end, [name])
        if before is None or before.end <= end:
            _keep(file, view, MaterializationProgress(len(times), end))
    event = times[EVENT_TIME]
    rows = event.filter(pc.and_(pc.greater_equal(event, start), pc.less_equal(event, end)))
    return MaterializationResult(view=name, start=start, end=end, rows=len(rows), newest=pc.max(rows).as_py())


def materialize_between(store: FeatureStore, names: Sequence[str], start: datetime, end: datetime) -> None:
    """Bring online the newest rows with event times from `start` to `end`; leaves the progress unchanged."""
    for name in names:
        file = _rows_file(store, store.get_feature_view(name))
        with locked(file, shared=True), contextlib.redirect_stdout(io.StringIO()):
            store.materialize(start, end, [name])


def last_end(view: FeatureView, now: datetime) -> datetime | None:
    """When the view's last materialization ended; ends in the future are ignored."""
    ends = [end for _, end in view.materialization_intervals]
    return max((end for end in ends if end <= now + MOST_AHEAD), default=None)


def _first_event(times: pa.Table, before: MaterializationProgress | None, view: FeatureView, end: datetime) -> datetime:
    """The event time from which on there may be rows that are not online."""
    first: datetime = max(EARLIEST, end - view.ttl) if view.ttl else EARLIEST
    if before is None or before.rows > len(times):  # the file was replaced by an older one
        return first
    event, created = times[EVENT_TIME], times[CREATED_TIME]
    # By its position in the file, as a sender may backdate a row; by its `created`, as the whole file may have been
    # replaced.
    arrived = event.slice(before.rows), event.filter(pc.greater_equal(created, before.end))
    firsts: list[datetime] = [time for part in arrived if (time := pc.min(part).as_py()) is not None]
    return max(first, min([before.end, end, *firsts]))


def _rows_file(store: FeatureStore, view: FeatureView) -> Path:
    """The view's offline rows; raises `NoDataYetError` when there are none yet, `FeatureStoreError` when gone."""
    file = file_of(store.config, view)
    if not file.is_file():
        kind = FeatureStoreError if view.materialization_intervals else NoDataYetError
        raise kind(f"{file}: no data to materialize; retraining's fetch writes it")
    return file


def _progress(file: Path, view: FeatureView, rows: int, now: datetime) -> MaterializationProgress | None:
    """The progress of the last run; None where it is unknown, so that all rows are brought online."""
    try:
        kept = msgspec.json.decode(_progress_file(file, view).read_bytes(), type=MaterializationProgress)
    except (FileNotFoundError, msgspec.DecodeError):
        known = last_end(view, now)
        return None if known is None else MaterializationProgress(rows, known)
    # Only progress of this registry and this clock counts: another one may have filled another online store.
    of_this = any(end == kept.end for _, end in view.materialization_intervals)
    return kept if of_this and kept.end <= now + MOST_AHEAD else None


def _keep(file: Path, view: FeatureView, progress: MaterializationProgress) -> None:
    kept = _progress_file(file, view)
    with locked(kept):  # two processes may materialize at once
        # Not durable: without it, more rows than necessary are brought online.
        write_atomically(kept, msgspec.json.encode(progress), durable=False)


def _progress_file(file: Path, view: FeatureView) -> Path:
    return file.with_name(f"{view.name}.progress.json")
