"""Inference's connection to the store: predictions in, predictions and actuals out."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from beacon_core.data import actuals, predictions
from beacon_core.data.actuals import Actual, Outcome
from beacon_core.data.database import (
    Connection,
    DatabaseUnavailableError,
    Engine,
    mapped_errors,
    migrate,
    open_store,
)
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.platform import clock
from beacon_inference.prediction_log.record import Record, record_of, table_rows

# A statement of many rows costs less for each, but the event loop may have to wait until it is through.
ROWS_PER_STATEMENT = 50


class Database:
    """The store, opened when first needed, so that a database that is down never keeps inference from starting.

    Each method raises DatabaseUnavailableError.
    """

    def __init__(self, url: str, names: tuple[str, ...]) -> None:
        self._url = url
        self.names = names
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def warm(self) -> None:
        """Open it now, so that the first prediction's log does not wait for migrations; one that is down stays down."""
        with contextlib.suppress(DatabaseUnavailableError):
            self._open()

    def insert(self, records: Sequence[Record], rest: Callable[[], None] = lambda: None) -> None:
        """Commit the records, in small steps with a `rest` before each; what is there already stays as it is."""
        if not records:
            return
        rows = chain.from_iterable(table_rows(record, self.names) for record in records)
        with self._begin() as connection:
            while some := list(islice(rows, ROWS_PER_STATEMENT)):
                rest()
                predictions.insert(connection, some)

    def find(self, ids: Sequence[str]) -> dict[str, Record]:
        """Find those of the predictions that are there, each as a record of its own."""
        with self._begin() as connection:
            return {row.id: record_of(row, self.names) for row in predictions.find(connection, ids)}

    def find_actual(self, record: Record) -> dict[str, Any] | None:
        """Find the newest actual that belongs to the prediction (a record of one row)."""
        entity = None if record.entities is None else str(record.entities[0])
        with self._begin() as connection:
            found = actuals.actual_of(connection, record.ids[0], entity, datetime.fromtimestamp(record.time, UTC))
            return None if found is None else dict(found)

    def add_actuals(self, items: Sequence[Actual]) -> list[Outcome]:
        """Keep actuals, all or none; what became of each."""
        received = clock.now()
        with self._begin() as connection:
            return [actuals.add(connection, item, received) for item in items]

    def close(self) -> None:
        """Close what was opened."""
        if self._engine is not None:
            self._engine.dispose()

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Connection]:
        with mapped_errors(), self._open().begin() as connection:
            yield connection

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                try:
                    with mapped_errors():
                        engine = open_store(self._url)
                        if engine.dialect.name == "sqlite":
                            migrate(engine)  # a laptop has no migration job
                except ConfigurationError as error:
                    raise DatabaseUnavailableError(message_of(error)) from error
                self._engine = engine
            return self._engine
