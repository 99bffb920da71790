"""Retention: deletes what is older than policy.yaml keeps it, in small transactions.

Each holds SQLite's one writer for some tens of milliseconds, and leaves it to the prediction log in between. On
PostgreSQL small ones keep locks and the write-ahead log short. Partitions by time would be dropped at once, but a
partitioned table cannot hold the rule that an id is logged once: its unique indexes must have the time in them.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Engine, Table, delete, func, select

from beacon_core.data.prediction_log import LogSlice, sql
from beacon_core.data.tables import actuals, drift_results, drift_runs, model_error, profiles
from beacon_core.domain.retention import Retention

STEP_ROWS = 1000
REST_SECONDS = 0.05
"""The rest after each step: who waits for SQLite's writer asks again after some milliseconds."""


class Kind(NamedTuple):
    """One kind of data: how many rows of it are older than a moment, and how to delete the oldest of them."""

    name: str
    count_older: Callable[[Connection, datetime], int]
    delete_older: Callable[[Connection, datetime, int], int]


def due(retention: Retention, now: datetime) -> list[tuple[Kind, datetime]]:
    """The kinds that are not kept for ever, each with the moment before which its rows go."""
    days = {
        PREDICTIONS: retention.predictions_days,
        ACTUALS: retention.actuals_days,
        **dict.fromkeys(DRIFT, retention.drift_days),
    }
    return [(kind, now - timedelta(days=kept)) for kind, kept in days.items() if kept is not None]


def count(engine: Engine, retention: Retention, now: datetime) -> dict[str, int]:
    """Count by kind what `expire` would delete."""
    with engine.connect() as connection:
        return {kind.name: kind.count_older(connection, before) for kind, before in due(retention, now)}


def expire(engine: Engine, retention: Retention, now: datetime, rest: float = REST_SECONDS) -> dict[str, int]:
    """Delete what is too old, and count it by kind. Safe to repeat and to kill: the next run goes on."""
    deleted: dict[str, int] = {}
    for kind, before in due(retention, now):
        deleted[kind.name] = 0
        while True:
            with engine.begin() as connection:
                gone = kind.delete_older(connection, before, STEP_ROWS)
            if not gone:
                break
            deleted[kind.name] += gone
            time.sleep(rest)
    return deleted


def _of_table(table: Table, key: Column[Any], moment: Column[datetime]) -> Kind:
    def count_older(connection: Connection, before: datetime) -> int:
        return int(connection.execute(select(func.count()).select_from(table).where(moment < before)).scalar_one())

    def delete_older(connection: Connection, before: datetime, most: int) -> int:
        oldest = select(key).where(moment < before).order_by(moment).limit(most)
        return connection.execute(delete(table).where(key.in_(oldest))).rowcount

    return Kind(table.name, count_older, delete_older)


PREDICTIONS = Kind(
    "predictions",
    lambda connection, before: sql.count(connection, LogSlice(until=before)),
    sql.expire,
)
ACTUALS = _of_table(actuals, actuals.c.id, actuals.c.received_at)
DRIFT = (
    _of_table(profiles, profiles.c.id, profiles.c.hour),
    _of_table(drift_results, drift_results.c.id, drift_results.c.created_at),
    _of_table(model_error, model_error.c.id, model_error.c.created_at),
    _of_table(drift_runs, drift_runs.c.period, drift_runs.c.created_at),
)
