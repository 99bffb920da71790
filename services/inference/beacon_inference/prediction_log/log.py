"""The prediction log's one face: append a record, find predictions, add actuals.

A full or broken spool never fails a prediction: lost records are counted in beacon_prediction_log_dropped_total, which
has an alert. A log's process that is away fails none either: what is appended waits for it.
"""

import logging
import time
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry

from beacon_core.domain.log_share import is_logged
from beacon_core.observability import metrics
from beacon_core.spool.record import Record, encode_record
from beacon_core.spool.segments import SpoolWriter
from beacon_inference.prediction_log.client import LogClient
from beacon_inference.prediction_log.group_sync import GroupSync

log = logging.getLogger(__name__)

Logged = Literal["true", "false", "sampled"]
"""Whether a prediction is in the log; sampled: `logging.share` leaves it out, or some rows of a batch."""

# Every drop is counted, but logged only this often.
DROPS_LOG_SECONDS = 60


class PredictionLog(LogClient):
    """Every acknowledged prediction: in the spool, and from there in the database, by the log's process."""

    def __init__(self, folder: Path, max_bytes: int, registry: CollectorRegistry, *, is_synced: bool = False) -> None:
        super().__init__(folder)
        self._spool = SpoolWriter(folder, max_bytes, is_synced=is_synced)
        self._group = GroupSync(self._spool) if is_synced else None
        self._drops_silent_until = 0.0
        self._dropped = metrics.counter(metrics.LOG_DROPPED, registry)
        self._left_out = metrics.counter(metrics.LOG_LEFT_OUT, registry)

    async def append(self, record: Record, share: float = 1.0) -> Logged:
        """Keep the record, or those of its rows that are in the share; what is dropped, or left out, is counted.

        Where the spool is synced, it is on the disk when this returns.
        """
        kept = record
        if share < 1:
            entities = record.entities or [None] * len(record)
            rows = [row for row, name in enumerate(record.ids) if is_logged(share, name, entities[row])]
            self._left_out.inc(len(record) - len(rows))
            if not rows:
                return "sampled"
            kept = record if len(rows) == len(record) else record.take(rows)
        is_kept = self._spool.append(encode_record(kept) + b"\n") is not None
        if is_kept and self._group is not None:
            is_kept = await self._group.synced()
        if not is_kept:
            self._drop(len(kept))
            return "false"
        return "true" if kept is record else "sampled"

    def close(self) -> None:
        """Append nothing more."""
        if self._group is not None:
            self._group.close()
        self._spool.close()

    def _drop(self, count: int) -> None:
        self._dropped.inc(count)
        if time.monotonic() >= self._drops_silent_until:
            self._drops_silent_until = time.monotonic() + DROPS_LOG_SECONDS
            log.error("predictions are not logged: the spool is full or cannot be written", extra={"dropped": count})
