"""Point-in-time joins: what was known of an entity at a moment, and figures of its own past before it.

One function for all of training, materialization and the replay of predictions, so they give the same numbers. Keys
stay whole numbers and texts; no table is multiplied with another, so that long histories join in linear memory.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from beacon_core.domain.derived import Lag
from beacon_core.feature_store.names import BASE_END, BASE_EVENT_TIME
from beacon_core.feature_store.stored_view import StoredView

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max
MOST_PAIRS = 2_000_000
"""So many pairs of a moment and a row of its past are held at once."""
MICROSECONDS_PER_DAY = 86_400_000_000


def join(
    view: StoredView, rows: pa.Table, moments: pa.Table, names: list[str], *, as_known: bool
) -> dict[str, pa.ChunkedArray]:
    """The features `names` at each moment (its keys and event time), null where nothing was known.

    `rows` are those of the view's file. Each moment gets the newest row by event time, and among equal times the one
    that arrived last. With `as_known`, rows that arrived after the moment do not count. A row older than the view's
    TTL is withheld.
    """
    history = History(view, rows, moments)
    found = history.newest(as_known=as_known)
    indices = pa.array(found, mask=found < 0)
    columns: dict[str, pa.ChunkedArray] = {}
    for name in names:
        if name in view.lags:
            columns[name] = pa.chunked_array([history.lag(view.lags[name], as_known=as_known or view.has_arrivals)])
        else:
            columns[name] = rows[name].take(indices)
    return columns


class History:
    """The rows of a file and the moments that are asked about, with their keys as one number each."""

    def __init__(self, view: StoredView, rows: pa.Table, moments: pa.Table) -> None:
        codes = key_codes([pa.concat_tables([rows.select(view.keys), moments.select(view.keys)])[k] for k in view.keys])
        self._view = view
        self._rows = rows
        self._row_codes, self._moment_codes = codes[: len(rows)], codes[len(rows) :]
        self._event = times_of(rows[view.event_time])
        self._created = times_of(rows[view.created]) if view.created else np.zeros(len(rows), np.int64)
        self._times = times_of(moments[view.event_time])

    def newest(self, *, as_known: bool) -> Ints:
        """The position of the newest row of each moment, -1 where there is none."""
        rank = np.empty(len(self._event), np.int64)
        rank[np.lexsort((self._created, self._event))] = np.arange(len(rank))
        known = np.maximum(self._event, self._created) if as_known else self._event
        order = np.lexsort((rank, known, self._row_codes))
        # The best row so far of each entity, in the order in which its rows became known.
        best = np.maximum.accumulate(self._row_codes[order] * len(rank) + rank[order]) % max(len(rank), 1)
        place = last_places(self._row_codes[order], known[order], self._moment_codes, self._times)
        by_rank = np.empty(len(rank), np.int64)
        by_rank[rank] = np.arange(len(rank))
        found = np.where(place < 0, -1, by_rank[best[place]] if len(rank) else -1)
        return np.where(self._is_too_old(found), -1, found)

    def lag(self, lag: Lag, *, as_known: bool) -> pa.Array:
        """The figure of `lag` at each moment: over its entity's rows of the `days` before, without the moment's own."""
        values = self._rows[lag.lag].to_numpy()
        order = np.lexsort((self._created, self._event, self._row_codes))
        values = values[order]
        codes, event, created = self._row_codes[order], self._event[order], self._created[order]
        ends = last_places(codes, event, self._moment_codes, self._times - 1) + 1
        since = self._times - lag.days * MICROSECONDS_PER_DAY - 1
        first: Ints = np.searchsorted(codes, self._moment_codes)
        begins = np.maximum(last_places(codes, event, self._moment_codes, since) + 1, first)
        counts = np.maximum(ends - begins, 0)
        figures = np.full(len(self._times), np.nan)
        for some in _chunks(counts):
            moment = np.repeat(some, counts[some])
            offsets = np.arange(len(moment)) - np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
            row = begins[moment] + offsets
            if as_known:
                arrived = created[row] <= self._times[moment]
                moment, row = moment[arrived], row[arrived]
            # Of several versions of a row the last one counts; they follow each other.
            last = np.ones(len(row), bool)
            last[:-1] = (moment[1:] != moment[:-1]) | (event[row[1:]] != event[row[:-1]])
            last &= ~np.isnan(values[row])
            asked, first = np.unique(moment[last], return_index=True)
            figures[asked] = _figures(values[row[last]], first, lag.of)
        if lag.of == "count":
            figures[np.isnan(figures)] = 0.0
        return pa.array(figures, from_pandas=True)

    def _is_too_old(self, found: Ints) -> NDArray[np.bool_]:
        if self._view.ttl is None or not len(self._event):
            return np.zeros(len(found), bool)
        event = self._event[found]
        old = self._times - event > self._view.ttl // timedelta(microseconds=1)
        return old & ~is_undated(event) if self._view.undated else old


def is_undated(event: Ints) -> NDArray[np.bool_]:
    """Whether rows with these times (microseconds) are of a table without times: they do not age."""
    first, end = (int(time.timestamp()) * 1_000_000 for time in (BASE_EVENT_TIME, BASE_END))
    return (event >= first) & (event < end)


def times_of(column: pa.ChunkedArray) -> Ints:
    """Times as microseconds since 1970."""
    times: Ints = column.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64()).to_numpy()
    return times


def key_codes(columns: list[pa.ChunkedArray]) -> Ints:
    """One number per row, equal where all key columns are."""
    codes: Ints | None = None
    for column in columns:
        encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
        own = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        if codes is None:
            codes = own
        else:
            _, codes = np.unique(codes * len(encoded.dictionary) + own, return_inverse=True)
    return np.zeros(0, np.int64) if codes is None else codes.astype(np.int64)


def last_places(codes: Ints, times: Ints, asked_codes: Ints, asked_times: Ints) -> Ints:
    """The last place of each asked code with a time up to the asked one, -1 without; sorted by code, then time."""
    if not len(codes):
        return np.full(len(asked_codes), -1)
    all_codes, all_times = np.concatenate([codes, asked_codes]), np.concatenate([times, asked_times])
    is_asked = np.repeat([False, True], [len(codes), len(asked_codes)])
    order = np.lexsort((is_asked, all_times, all_codes))
    before = np.cumsum(~is_asked[order]) - 1
    places = np.empty(len(asked_codes), np.int64)
    places[order[is_asked[order]] - len(codes)] = before[is_asked[order]]
    known = (places >= 0) & (codes[places] == asked_codes)
    return np.where(known, places, -1)


def _chunks(counts: Ints) -> Iterator[Ints]:
    """The moments that have a past, some at a time."""
    some = np.flatnonzero(counts)
    if len(some):
        yield from np.split(some, np.flatnonzero(np.diff(np.cumsum(counts[some]) // MOST_PAIRS)) + 1)


def _figures(values: NDArray[Any], first: Ints, of: str) -> NDArray[np.float64]:
    """The figure of each run of values; the runs begin at `first`."""
    lengths = np.diff(first, append=len(values))
    if of == "count":
        return lengths.astype(np.float64)
    if of == "last":
        last: NDArray[np.float64] = values[first + lengths - 1]
        return last
    function = {"mean": np.add, "sum": np.add, "min": np.minimum, "max": np.maximum}[of]
    figures: NDArray[np.float64] = function.reduceat(values, first) if len(first) else values
    return figures / lengths if of == "mean" else figures
