"""The ledger's pages: what served when, how each promotion went, and every figure that decided it."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Flask, render_template, request
from sqlalchemy import Connection

from beacon_console.reading import Store
from beacon_core import clock, ledger
from beacon_core.domain.times import read_time
from beacon_core.errors import BeaconError
from beacon_core.ledger import Entry
from beacon_core.product import Product

ROWS = 1000
"""Newest rows that the page groups into runs."""
PLUS_AS_BLANK = re.compile(r"(:\d\d(?:[.,]\d+)?) (\d\d:?\d\d)$", re.ASCII)
"""The zone of a time whose + was not written %2B in the address."""


class Run(NamedTuple):
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


class Served(NamedTuple):
    """What may have answered at a moment, the row in force then, and the row that had brought it about."""

    moment: datetime
    entry: Entry | None
    change: Entry | None


def add_promotions(app: Flask, product: Product, store: Store) -> None:
    """Add the pages of the ledger."""

    @app.get("/promotions")
    def promotions() -> str:
        now = clock.now()
        moment = moment_of(request.args.get("at", "").strip())
        with store.reading() as connection:
            runs = grouped(ledger.history(connection, product.name, ROWS))
            current = _served(connection, product, now)
            then = None if moment is None else _served(connection, product, moment)
        return render_template("promotions.html", runs=runs, current=current, then=then, now=now)

    @app.get("/promotions/<name>")
    def promotion(name: str) -> str:
        with store.reading() as connection:
            rows = ledger.history(connection, product.name, ROWS, run=name)
        if not rows:
            raise BeaconError("not_found", f"There is no promotion {name[:64]} in the ledger.")
        return render_template("promotion.html", run=Run(rows[::-1]), now=clock.now())


def grouped(rows: list[Entry]) -> list[Run]:
    """Rows, the newest first, as runs, the one that began last first."""
    runs: dict[str, list[Entry]] = {}
    for row in reversed(rows):
        runs.setdefault(row.run, []).append(row)
    return [Run(found) for found in reversed(runs.values())]


def moment_of(text: str) -> datetime | None:
    """The time that somebody asked about, UTC where it has no zone; BeaconError 422 for what is no time."""
    if not text:
        return None
    try:
        return read_time(PLUS_AS_BLANK.sub(r"\1+\2", text), UTC)
    except ValueError as error:
        raise BeaconError("invalid_type", f"at {error}.", "at") from error


def _served(connection: Connection, product: Product, moment: datetime) -> Served:
    entry = ledger.served_at(connection, product.name, moment)
    return Served(moment, entry, None if entry is None else ledger.change_of(connection, entry))
