"""The prediction log as a lake: an Apache Iceberg table of typed columns, by day, in a folder or in S3.

This room is the one place of core that needs PyIceberg and PyArrow (the extra `lake`); nothing that answers requests
imports it. It has the functions of the port, whose handle `begin` gives, and what brings rows in and keeps it up.
"""

from beacon_core.data.prediction_log.lake.append import Appended, SpoolBlock, append_records, append_rows
from beacon_core.data.prediction_log.lake.candidates import candidates, has_row_of, joined, moments
from beacon_core.data.prediction_log.lake.handle import LakeHandle, begin
from beacon_core.data.prediction_log.lake.lake import (
    TRIES,
    CommitConflict,
    Lake,
    LakeDamagedError,
    LakePlace,
    LakeUnavailableError,
    open_lake,
    wait,
)
from beacon_core.data.prediction_log.lake.maintenance import Upkeep, end_snapshots, keep_up
from beacon_core.data.prediction_log.lake.messages import table_of_messages
from beacon_core.data.prediction_log.lake.parts import PreparedPart, commit_parts, prepare, snapshot_of
from beacon_core.data.prediction_log.lake.read import count, find, of_entity, scan, scan_tables
from beacon_core.data.prediction_log.lake.remove import expire, forget
from beacon_core.data.prediction_log.lake.rows import tuples
from beacon_core.data.prediction_log.lake.totals import Total, totals

__all__ = [
    "TRIES",
    "Appended",
    "CommitConflict",
    "Lake",
    "LakeDamagedError",
    "LakeHandle",
    "LakePlace",
    "LakeUnavailableError",
    "PreparedPart",
    "SpoolBlock",
    "Total",
    "Upkeep",
    "append_records",
    "append_rows",
    "begin",
    "candidates",
    "commit_parts",
    "count",
    "end_snapshots",
    "expire",
    "find",
    "forget",
    "has_row_of",
    "joined",
    "keep_up",
    "moments",
    "of_entity",
    "open_lake",
    "prepare",
    "scan",
    "scan_tables",
    "snapshot_of",
    "table_of_messages",
    "totals",
    "tuples",
    "wait",
]
