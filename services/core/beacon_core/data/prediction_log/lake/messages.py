"""Messages of the log's topic (`beacon_core.domain.log_message`) as Arrow tables of the lake."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from beacon_core.data.prediction_log.lake.blocks import OWN, SHARED, array_of
from beacon_core.data.prediction_log.lake.columns import TIME, Kind, column_of
from beacon_core.domain.log_message import LogMessage

BY_KIND: dict[Kind, str] = {"number": "numbers", "text": "texts", "flag": "flags"}
"""The field of a message with the features of a kind."""


def table_of_messages(messages: Sequence[LogMessage], logged_at: datetime) -> pa.Table:
    """Make the table of some messages, with a column for each feature that any of them has."""
    columns = {name: [getattr(message, name) for message in messages] for name in (*OWN, *SHARED)}
    arrays = {name: pa.array(columns[name], kind) for name, kind in (OWN | SHARED).items() if name != "time"}
    arrays["time"] = pa.array(columns["time"], pa.int64()).cast(TIME)
    for kind, field in BY_KIND.items():
        given: list[dict[str, Any]] = [getattr(message, field) for message in messages]
        for name in dict.fromkeys(name for features in given for name in features):
            arrays[column_of(kind, name)] = array_of([features.get(name) for features in given], kind)
    arrays["logged_at"] = pa.repeat(pa.scalar(logged_at, TIME), len(messages))
    return pa.table(arrays)
