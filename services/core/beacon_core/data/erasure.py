"""Erasure: deletes the rows of one entity, or of some predictions, from the store's tables.

Profiles of drift keep values of their rows (the extremes, a sample of the quantiles). So those of the hours in question
go, too, and the watermark of drift goes back, so that its next run makes them anew from the rows that are left.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select

from beacon_core.data import prediction_log, removals, watermarks
from beacon_core.data.prediction_log import ForgottenRow, LogSlice, sql
from beacon_core.data.prediction_log.partitions import Partition, last_logged
from beacon_core.data.prediction_log.port import Readable
from beacon_core.data.profiles import DAY_ROLL
from beacon_core.data.tables import actuals, profiles
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings

HandleT = TypeVar("HandleT")
STEP_ROWS = 500
PROFILE_JOB = "profile"
CHECKPOINTS = 20
CHECKPOINT_SECONDS = 0.5
LATE = timedelta(days=90)
"""So long after an erasure its rows may still come out of a spool, and are deleted when they do."""
COMMIT = timedelta(minutes=15)
"""Clocks differ by less, and commits take less."""


class Subject(msgspec.Struct, frozen=True):
    """What is to be erased: an entity by its key as text, or predictions by their ids; never both."""

    entity: str | None = None
    ids: tuple[str, ...] = ()


class ErasedPlace(msgspec.Struct, frozen=True):
    """What went from a place, or would go: how many rows by what held them, and by place what cannot be removed."""

    removed: dict[str, int] = {}
    remains: dict[str, list[str]] = {}


class Eraser(Protocol):
    """Erases a subject from one place; a package adds one by an entry point of the group `beacon.erasers`.

    Safe to repeat and to kill. With `dry_run` it only counts.
    """

    def __call__(
        self, settings: Settings, product: Product, engine: Engine, subject: Subject, *, dry_run: bool
    ) -> ErasedPlace:
        """Erase it, or raise an error of its own; `status_of` says whether a repeat may help."""


class ErasedRows(msgspec.Struct, frozen=True):
    """What went from the tables, or would go."""

    predictions: int = 0
    actuals: int = 0
    profiles: int = 0


def count(engine: Engine, subject: Subject) -> ErasedRows:
    """Count what `erase` would delete; profiles are not counted."""
    rows = told = 0
    with engine.connect() as connection:
        for batch in _batches(sql, connection, subject):
            rows += len(batch)
            told += 0 if subject.ids else _count_actuals(connection, Subject(ids=tuple(batch)))
        told += _count_actuals(connection, subject)
    return ErasedRows(rows, told)


def versions_of(connection: Connection, subject: Subject) -> list[str]:
    """The model versions that answered the rows to be erased."""
    return sorted({version for batch in _batches(prediction_log, connection, subject) for version in batch.values()})


def erase(engine: Engine, subject: Subject) -> ErasedRows:
    """Delete the rows in small transactions. Safe to repeat and to kill: a repeat deletes what is left."""
    total = ErasedRows()
    while True:
        with engine.begin() as connection:
            gone = sql.forget(connection, entity=subject.entity, ids=subject.ids, most=STEP_ROWS)
            told, profiled = erase_traces(connection, gone)
        total = ErasedRows(total.predictions + len(gone), total.actuals + told, total.profiles + profiled)
        if not gone:
            break
    with engine.begin() as connection:
        told = _erase_actuals(connection, subject)
    return msgspec.structs.replace(total, actuals=total.actuals + told)


def erase_traces(connection: Connection, gone: Sequence[ForgottenRow]) -> tuple[int, int]:
    """Delete the actuals of predictions that go, and the profiles of their hours; how many of each."""
    told = 0
    for begin in range(0, len(gone), STEP_ROWS):
        told += _erase_actuals(connection, Subject(ids=tuple(row.id for row in gone[begin : begin + STEP_ROWS])))
    return told, _erase_profiles(connection, gone)


def read_again(connection: Connection, gone: Sequence[ForgottenRow]) -> None:
    """Let drift make the profiles of these hours anew, from the rows that are left."""
    for version, hour in sorted({(row.model_version, _hour(row.time)) for row in gone}):
        _read_again(connection, Partition(hour, version))


def erase_late_rows(engine: Engine, product: str, now: datetime) -> int:
    """Delete the predictions of erased subjects that came into the log after the erasure, out of a spool.

    Predictions that were made after an erasure stay: who comes back is a client again.
    """
    deleted = 0
    for removal in erasures(engine, product, now):
        with engine.connect() as connection:
            late = late_ids(sql, connection, removal)
        deleted += erase(engine, Subject(ids=tuple(late))).predictions if late else 0
    return deleted


def erasures(engine: Engine, product: str, now: datetime) -> list[removals.Removal]:
    """The erasures whose rows may still come out of a spool."""
    with engine.connect() as connection:
        return list(removals.erasures_since(connection, product, now - LATE))


def compact(engine: Engine) -> None:
    """Leave no byte of what was deleted in SQLite's files; PostgreSQL's own vacuum gives the room to other rows.

    Raises `OSError` while a reader holds the write-ahead log; a repeat goes on.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM")
        for _ in range(CHECKPOINTS):
            busy, *_rest = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            if not busy:
                return
            time.sleep(CHECKPOINT_SECONDS)
    raise OSError("a reader holds SQLite's write-ahead log, which still has deleted rows")


def _batches(log: Readable[Connection], connection: Connection, subject: Subject) -> list[dict[str, str]]:
    """The ids of the rows, and the versions that answered."""
    if subject.entity is not None:
        found = log.of_entity(connection, subject.entity)
        return [{row.id: row.model_version for row in batch} for batch in found]
    return [{row.id: row.model_version for row in log.find(connection, subject.ids)}]


def _told(subject: Subject) -> ColumnElement[bool]:
    """The actuals of the subject itself: of its entity, or of its predictions."""
    return actuals.c.prediction_id.in_(subject.ids) if subject.entity is None else actuals.c.entity == subject.entity


def _count_actuals(connection: Connection, subject: Subject) -> int:
    return int(connection.execute(select(func.count()).select_from(actuals).where(_told(subject))).scalar_one())


def _erase_actuals(connection: Connection, subject: Subject) -> int:
    return connection.execute(delete(actuals).where(_told(subject))).rowcount


def _erase_profiles(connection: Connection, gone: Sequence[ForgottenRow]) -> int:
    """Delete the profiles of the rows' hours and days, and let drift read from the first of these hours on."""
    deleted = 0
    for version, hour in sorted({(row.model_version, _hour(row.time)) for row in gone}):
        of_day = (profiles.c.hour == hour.replace(hour=0)) & (profiles.c.segment == DAY_ROLL)
        rows = delete(profiles).where(profiles.c.model_version == version, (profiles.c.hour == hour) | of_day)
        deleted += connection.execute(rows).rowcount
        _read_again(connection, Partition(hour, version))
    return deleted


def _read_again(connection: Connection, partition: Partition) -> None:
    """Put the watermark back to the last row that is left: its arrival makes the partition a changed one."""
    arrived = last_logged(connection, partition)
    mark = watermarks.read(connection, PROFILE_JOB)
    if arrived is not None and mark.logged_at is not None and arrived < mark.logged_at:
        watermarks.write(connection, PROFILE_JOB, msgspec.structs.replace(mark, logged_at=arrived))


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def late_ids(log: Readable[HandleT], handle: HandleT, removal: removals.Removal) -> list[str]:
    """The predictions of an erased subject, made before the erasure, that came into a store after it."""
    known = {name: set(removal.subject.get(name, ())) for name in ("entity", "ids")}
    rows = LogSlice(logged_since=removal.moment - COMMIT, until=removal.moment)
    found = []
    for batch in log.scan(handle, rows, ["id", "entity"]):
        for name, entity in batch:
            if _is_known(known["ids"], name, removal.run) or _is_known(known["entity"], entity, removal.run):
                found.append(name)
    return found


def _is_known(digests: set[str], name: str | None, salt: str) -> bool:
    return bool(digests) and name is not None and removals.digests_of([name], salt)[0] in digests
