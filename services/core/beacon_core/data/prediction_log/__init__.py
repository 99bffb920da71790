"""The prediction log: all that reads it and deletes from it. Other code of core and no service names its table.

`port.py` says what a store of the log must be able to do, `sql.py` does it on SQLite and PostgreSQL, and callers take
the functions from here. The other modules join the log with the actuals, which stay rows of the database wherever the
log is. tests/contract/core/test_prediction_log.py holds every store of the log to the same answers.

Rows come in by `beacon_core.data.predictions.insert`.
"""

from beacon_core.data.prediction_log.port import ForgottenRow, LoggedPrediction, LogSlice, LogStore
from beacon_core.data.prediction_log.sql import count, expire, find, forget, of_entity, scan

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
