"""The database as a service reads it: opened when first needed, and every failure raised as one error."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data.database import Connection, DatabaseUnavailableError, Engine, migrate, open_store
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of

log = logging.getLogger(__name__)


class DatabaseClient:
    """Beacon's tables; a database that is down never keeps a service from starting."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Give a connection to read with, in one transaction; raises `DatabaseUnavailableError`."""
        with self._mapped_errors(), self._open().connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a connection whose writes are committed at the end of the block; raises `DatabaseUnavailableError`."""
        with self._mapped_errors(), self._open().begin() as connection:
            yield connection

    def close(self) -> None:
        """Close what was opened."""
        if self._engine is not None:
            self._engine.dispose()

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, CommandError, ConfigurationError, OSError) as error:
            log.warning("the database does not answer: %s", message_of(error))
            raise DatabaseUnavailableError(type(error).__name__) from error

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                engine = open_store(self._url)
                if engine.dialect.name == "sqlite":
                    migrate(engine)  # a laptop has no migration job
                self._engine = engine
            return self._engine
