"""Retention, upkeep and erasure of the log's lake, where `BEACON_LAKE` names one: nothing else is done elsewhere.

The lake's libraries are imported only then, as not every environment has them (the extra `lake`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from beacon_core.data.erasure import ErasedPlace, Subject, erase_traces, erasures, late_ids, read_again
from beacon_core.data.prediction_log import LogSlice
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake import Lake

log = logging.getLogger(__name__)

STEP_ROWS = 1_000_000
"""Rows of one commit: each writes the files anew that they are in."""
EVERY_ROW = 1 << 62
PLACE = "lake"
KIND = "lake predictions"


@contextmanager
def open_lake(settings: Settings, product: Product) -> "Iterator[Lake]":
    """Open the lake of the settings; they must name one."""
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - see above

    found = lake.open_lake(lake.LakePlace(settings.lake, settings.lake_catalog), product.features)
    try:
        yield found
    finally:
        found.close()


def count(settings: Settings, product: Product, now: datetime) -> dict[str, int]:
    """Count what `expire` would delete."""
    days = product.policy.retention.predictions_days
    if not settings.lake or days is None:
        return {}
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    with open_lake(settings, product) as found, lake.begin(found) as handle:
        return {KIND: lake.count(handle, LogSlice(until=now - timedelta(days=days)))}


def expire(settings: Settings, product: Product, now: datetime) -> dict[str, int]:
    """Delete what policy.yaml keeps no longer, join small files and end old snapshots; the rows that went."""
    if not settings.lake:
        return {}
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    days = product.policy.retention.predictions_days
    deleted = 0
    with open_lake(settings, product) as found:
        if days is not None:
            with lake.begin(found) as handle:
                deleted = lake.expire(handle, now - timedelta(days=days), EVERY_ROW)
        # Files and snapshots have the machine's time, whatever a simulation's clock says.
        done = lake.keep_up(found, datetime.now(UTC))
    counts = (done.joined, done.made, done.snapshots, done.deleted)
    log.info("lake: joined %d files to %d, ended %d snapshots, deleted %d files", *counts)
    return {KIND: deleted}


def erase(settings: Settings, product: Product, engine: Engine, subject: Subject, *, dry_run: bool) -> ErasedPlace:
    """Erase a subject from the lake, with every snapshot that has it. Safe to repeat and to kill."""
    if not settings.lake:
        return ErasedPlace()
    try:
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415
    except ModuleNotFoundError:
        return ErasedPlace(remains={PLACE: ["cannot be reached from this environment"]})
    with open_lake(settings, product) as found:
        if dry_run:
            with lake.begin(found) as handle:
                rows = len(lake.forget(handle, entity=subject.entity, ids=subject.ids, most=STEP_ROWS))
                handle.give_up()
            return ErasedPlace({PLACE: rows})
        rows, told = _erase_rows(found, engine, subject)
        lake.end_snapshots(found, datetime.now(UTC), timedelta(0))
    return ErasedPlace({PLACE: rows} | ({f"{PLACE} actuals": told} if told else {}))


def erase_late_rows(settings: Settings, product: Product, engine: Engine, now: datetime) -> int:
    """Delete the predictions of erased subjects that came into the lake after the erasure, out of a spool."""
    if not settings.lake:
        return 0
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    deleted = 0
    with open_lake(settings, product) as found:
        for removal in erasures(engine, product.name, now):
            with lake.begin(found) as handle:
                late = late_ids(lake, handle, removal)
            deleted += _erase_rows(found, engine, Subject(ids=tuple(late)))[0] if late else 0
        if deleted:
            lake.end_snapshots(found, datetime.now(UTC), timedelta(0))
    return deleted


def _erase_rows(found: "Lake", engine: Engine, subject: Subject) -> tuple[int, int]:
    """Delete the rows, their actuals and their profiles; how many rows and actuals.

    What follows from a row goes before the row does: who is killed in between finds it again.
    """
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    rows = told = 0
    while True:
        with lake.begin(found) as handle:
            gone = lake.forget(handle, entity=subject.entity, ids=subject.ids, most=STEP_ROWS)
            with engine.begin() as connection:
                told += erase_traces(connection, gone)[0]
        with engine.begin() as connection:
            read_again(connection, gone)
        rows += len(gone)
        if len(gone) < STEP_ROWS:
            return rows, told
