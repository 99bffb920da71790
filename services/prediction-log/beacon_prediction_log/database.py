"""Reads and writes of the log: predictions into the database's table, predictions and actuals out.

The predictions that are read may be those of a lake; the actuals are in the database in any case.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from beacon_core.data import actuals, prediction_log, predictions
from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import Connection, DatabaseUnavailableError
from beacon_core.data.prediction_log import which_actual
from beacon_core.data.prediction_log.reading import LakeSource, options_of
from beacon_core.domain.actuals import Actual, LoggedActual, Outcome
from beacon_core.platform import clock
from beacon_core.spool.record import Record, made_at
from beacon_prediction_log.rows import record_of, table_columns, table_rows

# Larger statements cost less per row, but the shipper rests between statements alone.
ROWS_PER_STATEMENT = 50
LARGE_RECORD_ROWS = 10
"""From so many rows on, a record has statements of its own: what its rows share is bound once."""


class Database:
    """Records of the log; those that are read have their features in `order`, as far as it has them.

    Every method but `warm` and `close` raises DatabaseUnavailableError.
    """

    def __init__(self, url: str, order: tuple[str, ...], lake: LakeSource | None = None) -> None:
        self._order = order
        self._client = DatabaseClient(url, logs_failures=False, options=options_of(lake))

    def warm(self) -> None:
        """Open the database now, so that the first record does not wait for migrations; it may be down."""
        with contextlib.suppress(DatabaseUnavailableError):
            self._client.open()

    def insert(self, records: Sequence[Record], rest: Callable[[], None] = lambda: None) -> None:
        """Commit the records in small steps, with a call of `rest` before each; rows that exist stay as they are."""
        if not records:
            return
        with self._client.begin() as connection:
            small = chain.from_iterable(table_rows(record) for record in records if len(record) < LARGE_RECORD_ROWS)
            _insert(connection, small, (), rest)
            for record in records:
                if len(record) >= LARGE_RECORD_ROWS:
                    shared, rows = table_columns(record)
                    _insert(connection, rows, shared, rest)

    def find(self, ids: Sequence[str]) -> dict[str, Record]:
        """Find the predictions that are in the store that is read, each as a record of its own."""
        with self._client.connect() as connection:
            return {row.id: record_of(row, self._order) for row in prediction_log.find(connection, ids)}

    def find_actual(self, record: Record) -> LoggedActual | None:
        """Find the newest actual that belongs to the prediction (a record of one row)."""
        entity = None if record.entities is None else record.entities[0]
        with self._client.connect() as connection:
            return which_actual.find(connection, record.ids[0], entity, made_at(record))

    def add_actuals(self, items: Sequence[Actual]) -> list[Outcome]:
        """Store actuals, all or none; return the outcome of each."""
        received = clock.now()
        with self._client.begin() as connection:
            return [actuals.add(connection, item, received) for item in items]

    def close(self) -> None:
        """Close the database."""
        self._client.close()


def _insert(
    connection: Connection, rows: Iterator[tuple[Any, ...]], shared: tuple[Any, ...], rest: Callable[[], None]
) -> None:
    while some := list(islice(rows, ROWS_PER_STATEMENT)):
        rest()
        predictions.insert(connection, some, shared)
