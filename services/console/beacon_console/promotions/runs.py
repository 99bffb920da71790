"""The ledger as its pages show it: what served when, how each promotion ended, and why."""

from datetime import datetime
from typing import NamedTuple

from beacon_core.data import ledger
from beacon_core.data.database import Connection
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.product import Product

ROWS = 1000
"""Newest rows that the page groups into runs."""


class PromotionRun(NamedTuple):
    """One run of the promotion, its rows in the order in which they were written."""

    rows: list[Entry]

    @property
    def first(self) -> Entry:
        """The row that began it."""
        return self.rows[0]

    @property
    def last(self) -> Entry:
        """The newest row."""
        return self.rows[-1]

    @property
    def end(self) -> Entry:
        """The row that says how it ended; while it is at work, the newest one."""
        return next((row for row in reversed(self.rows) if row.step in {"end", "adopt"}), self.last)

    @property
    def state(self) -> str:
        """How it ended; `running` where the ledger does not know yet."""
        if self.end.step == "adopt":
            return "noted"
        return self.end.outcome if self.end.step == "end" else "running"


class ServedAt(NamedTuple):
    """What may have answered at a moment: the row in force then, and the row since which that served."""

    moment: datetime
    entry: Entry | None
    change: Entry | None


def group_runs(rows: list[Entry]) -> list[PromotionRun]:
    """Rows, the newest first, as runs, the one that began last first."""
    runs: dict[str, list[Entry]] = {}
    for row in reversed(rows):
        runs.setdefault(row.run, []).append(row)
    return [PromotionRun(found) for found in reversed(runs.values())]


def served_at(connection: Connection, product: Product, moment: datetime) -> ServedAt:
    """What may have answered at a moment, and why."""
    entry = ledger.served_at(connection, product.name, moment)
    return ServedAt(moment, entry, None if entry is None else ledger.change_of(connection, entry))
