"""The audit trail of what was deleted, by retention and by erasure: rows are only ever appended."""

import hashlib
import hmac
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import Connection, insert, select

from beacon_core.data.tables import data_removals

Kind = Literal["retention", "erasure"]
Outcome = Literal["begun", "done"]
MOST_ROWS = 1000


class Removal(msgspec.Struct, frozen=True):
    """A row of the trail.

    `subject` has the digests of what was to be erased. `removed` counts rows by place, `remains` says by place what
    cannot be removed.
    """

    run: str
    moment: datetime
    product: str
    kind: Kind
    outcome: Outcome
    actor: str
    reason: str
    subject: dict[str, list[str]] = {}
    removed: dict[str, int] = {}
    remains: dict[str, list[str]] = {}


def append(connection: Connection, removal: Removal) -> None:
    """Append a row."""
    values = {name: getattr(removal, name) for name in Removal.__struct_fields__}
    connection.execute(insert(data_removals).values(values))


def newest(connection: Connection, most: int = MOST_ROWS) -> list[Removal]:
    """List the newest rows, the newest first."""
    columns = [data_removals.c[name] for name in Removal.__struct_fields__]
    query = select(*columns).order_by(data_removals.c.id.desc()).limit(most)
    return [Removal(*row) for row in connection.execute(query)]


def erasures_since(connection: Connection, product: str, moment: datetime) -> Iterator[Removal]:
    """Yield the erasures that began since a moment, the oldest first."""
    columns = [data_removals.c[name] for name in Removal.__struct_fields__]
    query = select(*columns).where(data_removals.c.moment >= moment, data_removals.c.product == product)
    query = query.where(data_removals.c.kind == "erasure", data_removals.c.outcome == "begun")
    for row in connection.execute(query.order_by(data_removals.c.id)):
        yield Removal(*row)


def digests_of(names: Collection[str], salt: str) -> list[str]:
    """Digests by which the names can be recognised, but not read: `salt` makes those of two runs differ."""
    return [hmac.digest(salt.encode(), name.encode(), hashlib.sha256).hex() for name in names]
