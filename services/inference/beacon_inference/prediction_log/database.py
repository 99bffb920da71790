"""Inference's reads and writes of the store: predictions in, predictions and actuals out."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain, islice
from typing import Any

import msgspec
from alembic.util import CommandError
from sqlalchemy import JSON, Engine, and_, select
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data.actuals import actual_of
from beacon_core.data.database import DatabaseUnavailableError, migrate, open_store
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.platform import clock
from beacon_inference.prediction_log.record import TABLE_COLUMNS, Record, TableRow, record_of, table_rows

# A statement of many rows costs less for each, but the event loop may have to wait until it is through.
ROWS_A_STATEMENT = 50

JSON_COLUMNS = [column.name for column in predictions.columns if isinstance(column.type, JSON)]
COLUMNS = ", ".join(TABLE_COLUMNS)
KEEP = "ON CONFLICT (id) DO NOTHING"
FROM_JSON = (
    f"INSERT INTO predictions ({COLUMNS}) "  # noqa: S608 - our names
    f"SELECT {COLUMNS} FROM json_populate_recordset(NULL::predictions, %s) {KEEP}"
)


class Actual(msgspec.Struct, frozen=True):
    """A true value, for one prediction or for an entity at a time. `received_at` orders corrections."""

    value: float
    observed_at: datetime
    source: str
    prediction_id: str | None = None
    entity: str | None = None


class Database:
    """The store, opened when first needed, so that a database that is down never keeps inference from starting."""

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
        engine = self._open()
        with engine.begin() as connection:
            while some := list(islice(rows, ROWS_A_STATEMENT)):
                rest()
                connection.exec_driver_sql(*_insertion(engine.dialect.name, some))

    def find(self, ids: Sequence[str]) -> dict[str, Record]:
        """Find those of the predictions that are there, each as a record of its own.

        Raises DatabaseUnavailableError.
        """
        rows = self._all(select(predictions).where(predictions.c.id.in_(ids)))
        return {row["id"]: record_of(row, self.names) for row in rows}

    def find_actual(self, record: Record) -> dict[str, Any] | None:
        """Find the newest actual that belongs to the prediction (a record of one row).

        Raises DatabaseUnavailableError.
        """
        entity = None if record.entities is None else str(record.entities[0])
        try:
            with self._open().connect() as connection:
                found = actual_of(connection, record.ids[0], entity, datetime.fromtimestamp(record.time, UTC))
        except SQLAlchemyError as error:
            raise DatabaseUnavailableError(message_of(error)) from error
        return None if found is None else dict(found)

    def add_actuals(self, items: Sequence[Actual]) -> list[str]:
        """Keep actuals; for each `accepted`, `corrected` (a later value for the same) or `duplicate` (nothing new).

        Raises DatabaseUnavailableError; then none was kept.
        """
        outcomes = []
        received = clock.now()
        try:
            with self._open().begin() as connection:
                for item in items:
                    same = (
                        actuals.c.prediction_id == item.prediction_id
                        if item.prediction_id is not None
                        else and_(actuals.c.entity == item.entity, actuals.c.observed_at == item.observed_at)
                    )
                    query = select(actuals.c.value).where(same).order_by(actuals.c.id.desc()).limit(1)
                    before = connection.execute(query).scalar()
                    if before == item.value:
                        outcomes.append("duplicate")
                        continue
                    connection.execute(actuals.insert().values(**msgspec.structs.asdict(item), received_at=received))
                    outcomes.append("accepted" if before is None else "corrected")
        except SQLAlchemyError as error:
            raise DatabaseUnavailableError(message_of(error)) from error
        return outcomes

    def close(self) -> None:
        """Close what was opened."""
        if self._engine is not None:
            self._engine.dispose()

    def _all(self, query: Any) -> list[dict[str, Any]]:
        try:
            with self._open().connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except SQLAlchemyError as error:
            raise DatabaseUnavailableError(message_of(error)) from error

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                try:
                    engine = open_store(self._url)
                    if engine.dialect.name == "sqlite":
                        migrate(engine)  # a laptop has no migration job
                except (SQLAlchemyError, CommandError, ConfigurationError, OSError) as error:
                    raise DatabaseUnavailableError(message_of(error)) from error
                self._engine = engine
            return self._engine


def _insertion(dialect: str, rows: Sequence[TableRow]) -> tuple[str, tuple[str | float | None, ...]]:
    """SQL of its own: the layers that turn Python values into columns cost three times the insert itself."""
    if dialect == "sqlite":
        return _values(len(rows)), tuple(chain.from_iterable(rows))
    # psycopg takes 38 us a row for so many parameters; one parameter of JSON takes 5.
    return FROM_JSON, (msgspec.json.encode([_as_object(row) for row in rows]).decode(),)


@cache
def _values(rows: int) -> str:
    row = f"({', '.join('?' * len(TABLE_COLUMNS))})"
    return f"INSERT INTO predictions ({COLUMNS}) VALUES {', '.join([row] * rows)} {KEEP}"  # noqa: S608 - our names


def _as_object(row: TableRow) -> dict[str, Any]:
    named: dict[str, Any] = dict(zip(TABLE_COLUMNS, row, strict=True))
    for name in JSON_COLUMNS:
        if named[name] is not None:
            named[name] = msgspec.Raw(named[name].encode())
    return named
