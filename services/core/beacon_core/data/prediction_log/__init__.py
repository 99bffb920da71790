"""The prediction log: all that reads it and deletes from it. Other code of core and no service names its table.

`port.py` says what a store of the log must be able to do; `sql.py` does it on SQLite and PostgreSQL, `lake` in an
Iceberg table. Callers take the functions from here: they ask by a connection of the database, and `reading.py` knows
which store answers. What deletes is told the store. The other modules join the log with the actuals, which stay rows of
the database wherever the log is: both come into a small database of the question's own (`scratch.py`) where the log is
a lake, so that one rule joins them. tests/contract/core/test_prediction_log.py holds every store of the log to
the same answers, and test_log_readers.py every reader.

Rows come in by `beacon_core.data.predictions.insert`, and by the lake's `append_records`.
"""

from beacon_core.data.prediction_log.either import count, find, of_entity, scan
from beacon_core.data.prediction_log.port import ForgottenRow, LoggedPrediction, LogSlice, LogStore
from beacon_core.data.prediction_log.sql import expire, forget

__all__ = [
    "ForgottenRow",
    "LogSlice",
    "LogStore",
    "LoggedPrediction",
    "count",
    "expire",
    "find",
    "forget",
    "of_entity",
    "scan",
]
