"""How far a job has read what comes into the store: its watermark, kept from one run to the next."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from beacon_core.data.database import upsert
from beacon_core.data.tables import watermarks
from beacon_core.platform import clock


class Watermark(msgspec.Struct, frozen=True):
    """Arrival of the newest row and the newest actual that were read, never ahead of our own clock."""

    logged_at: datetime | None = None
    received_at: datetime | None = None


def read(connection: Connection, job: str) -> Watermark:
    """Return a job's watermark; an empty one before its first run."""
    position = connection.execute(select(watermarks.c.position).where(watermarks.c.job == job)).scalar()
    return Watermark() if position is None else msgspec.convert(position, Watermark)


def write(connection: Connection, job: str, watermark: Watermark) -> None:
    """Replace a job's watermark."""
    row = {"job": job, "position": msgspec.to_builtins(watermark), "updated_at": clock.now()}
    upsert(connection, watermarks, ("job",), row)
