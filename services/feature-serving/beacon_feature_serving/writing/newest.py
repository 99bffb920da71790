"""Keeps late rows out of the online store: what is served is always the newest by event time, as training joins it.

The stores compare times too (`beacon_core.feature_store.online`), but not all that Feast knows do.
"""

from collections.abc import Sequence

import pyarrow as pa

from beacon_core.feature_store.point_in_time import times_of
from beacon_core.feature_store.stored_view import StoredView
from beacon_feature_serving.rows import FeatureRow

NANOSECONDS_PER_MICROSECOND = 1000


def newest_each(view: StoredView, table: pa.Table) -> pa.Table:
    """The newest row of each entity in `table`; of equally new ones the last."""
    keys = list(zip(*(table[key].to_pylist() for key in view.keys), strict=True))
    times = times_of(table[view.event_time]).tolist()
    newest: dict[tuple[object, ...], int] = {}
    for place, (key, time) in enumerate(zip(keys, times, strict=True)):
        if key not in newest or time >= times[newest[key]]:
            newest[key] = place
    return table.take(list(newest.values()))


def newer_than(view: StoredView, table: pa.Table, stored: Sequence[FeatureRow | None]) -> pa.Table:
    """The rows of `table` that are as new as what is `stored` of their entities, or newer."""
    times = (times_of(table[view.event_time]) * NANOSECONDS_PER_MICROSECOND).tolist()
    return table.filter([row is None or time >= row.event_time for time, row in zip(times, stored, strict=True)])
