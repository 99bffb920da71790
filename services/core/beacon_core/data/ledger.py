"""The ledger of promotions: what served when, and why it changed. Rows are only ever appended.

A run of the promotion has one row per step. A row is written before and after each change of the models that may
answer: `serving` is valid from its moment until the next row's. A row that cannot be written while the store is down is
kept and written later with its own moment; its key keeps it from being written twice.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, insert, select
from sqlalchemy.exc import IntegrityError

from beacon_core.data.database import Connection, Engine, mapped_errors
from beacon_core.data.tables import promotions
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.masking import mask

COLUMNS = tuple(promotions.c[name] for name in Entry.__struct_fields__)


def append(connection: Connection, entry: Entry) -> bool:
    """Write a row; False when it is there already."""
    row = msgspec.to_builtins(entry, builtin_types=(datetime,))
    row["message"] = mask(entry.message)
    try:
        with connection.begin_nested():
            connection.execute(insert(promotions).values(row))
    except IntegrityError:
        return False
    return True


def append_all(engine: Engine, entries: Sequence[Entry]) -> None:
    """Write rows in one transaction, but for those that are there already; raises `DatabaseUnavailableError`."""
    with mapped_errors(), engine.begin() as connection:
        for entry in entries:
            append(connection, entry)


def history(connection: Connection, product: str, most: int = 50, run: str | None = None) -> list[Entry]:
    """The newest rows, the newest first; all of them, or of one run."""
    query = _of(product)
    if run is not None:
        query = query.where(promotions.c.run == run)
    return _entries(connection, query.order_by(promotions.c.moment.desc(), promotions.c.id.desc()).limit(most))


def ends(connection: Connection, product: str, most: int = 50) -> list[Entry]:
    """How the newest runs ended, the newest first."""
    query = _of(product).where(promotions.c.step == "end")
    return _entries(connection, query.order_by(promotions.c.moment.desc(), promotions.c.id.desc()).limit(most))


def served_at(connection: Connection, product: str, moment: datetime) -> Entry | None:
    """The row that was valid at `moment`: the models in `serving` may have answered then. None before the first one."""
    query = _of(product).where(promotions.c.moment <= moment)
    found = _entries(connection, query.order_by(promotions.c.moment.desc(), promotions.c.id.desc()).limit(1))
    return found[0] if found else None


def change_of(connection: Connection, entry: Entry) -> Entry:
    """The first row of the sequence of rows with the same `serving` as `entry`, up to it."""
    earlier = _of(entry.product).where(promotions.c.moment <= entry.moment)
    first = entry
    for row in connection.execute(earlier.order_by(promotions.c.moment.desc(), promotions.c.id.desc())):
        found = _entry(row)
        if found.serving != entry.serving:
            break
        first = found
    return first


def counts(connection: Connection, product: str) -> list[tuple[str, int, datetime]]:
    """Of each outcome that a run had: how many, and when the newest one ended."""
    table = promotions.c
    query = select(table.outcome, func.count(), func.max(table.moment))
    rows = connection.execute(
        query.where(table.product == product, table.step == "end").group_by(table.outcome).order_by(table.outcome)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _of(product: str) -> Select[Any]:
    return select(*COLUMNS).where(promotions.c.product == product)


def _entries(connection: Connection, query: Select[Any]) -> list[Entry]:
    return [_entry(row) for row in connection.execute(query)]


def _entry(row: "Row[Any] | Sequence[Any]") -> Entry:
    return msgspec.convert(dict(zip(Entry.__struct_fields__, row, strict=True)), Entry)
