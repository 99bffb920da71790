"""The ledger of promotions: what served when, and why it changed. Rows are only ever appended.

A run of the promotion is a row a step. Who changes what may answer says so before and after: a row's `serving` holds
from its moment on, until the next row's. A row that cannot be written while the store is down is kept and shipped later
with its own moment; its key makes sure that it comes once.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import Connection, Row, Select, func, insert, select
from sqlalchemy.exc import IntegrityError

from beacon_core.masking import mask
from beacon_core.release import Pin
from beacon_core.store import promotions

Action = Literal["promote", "roll_back", "recover", "watch", "adopt"]
"""`adopt`: what serves was put there by somebody else, and the ledger takes note."""
Step = Literal["adopt", "begin", "check", "dark", "shadow", "canary", "release", "verify", "watch", "end"]
Outcome = Literal["begun", "pass", "fail", "inconclusive", "promoted", "rolled_back", "kept", "refused"]
"""Of a row. A run's last row has the step `end` and says `promoted`, `rolled_back` (users had seen the model),
`refused` (something spoke against it before they did) or `kept` (the old one serves on, nothing was proven)."""
Reason = Literal[
    "package_missing",
    "digest_mismatch",
    "schema_mismatch",
    "crash_at_load",
    "golden_mismatch",
    "error_rate",
    "not_finite",
    "latency",
    "output_collapse",
    "output_shift",
    "output_disagreement",
    "out_of_range",
    "memory",
    "realised_error",
    "too_few_samples",
    "version_skew",
    "not_ready",
    "no_way_back",
    "other_changes",
    "stale_verdict",
    "interrupted",
    "by_hand",
    "target_down",
]
"""Why a model was kept out or taken back; the closed set that the page and the tests go by."""
REASONS: tuple[str, ...] = get_args(Reason)
ENDS: tuple[str, ...] = ("promoted", "rolled_back", "kept", "refused")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One row: who or what (`actor`) did which step, with which outcome and evidence, and what may answer since.

    The run is about `before` and `after`: the candidate, or what a rollback goes back to.
    """

    key: str
    run: str
    moment: datetime
    product: str
    target: str
    actor: str
    action: Action
    step: Step
    outcome: Outcome
    reason: Reason | None = None
    message: str = ""
    before: Pin | None = None
    after: Pin | None = None
    serving: tuple[Pin, ...] = ()
    evidence: dict[str, Any] | None = None


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
    """The row that was in force at `moment`: its `serving` may have answered then. None before the first one."""
    query = _of(product).where(promotions.c.moment <= moment)
    found = _entries(connection, query.order_by(promotions.c.moment.desc(), promotions.c.id.desc()).limit(1))
    return found[0] if found else None


def change_of(connection: Connection, entry: Entry) -> Entry:
    """The row that brought about what `entry` says is serving: the first one in a row of equal ones."""
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
