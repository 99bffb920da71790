"""The database client of a service: opens the store when first needed, and raises one error for every failure."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from beacon_core.data.database import (
    REQUEST_SECONDS,
    Connection,
    DatabaseUnavailableError,
    Engine,
    mapped_errors,
    migrate,
    open_store,
)
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of

log = logging.getLogger(__name__)

NO_OPTIONS: Mapping[str, object] = {}


class DatabaseClient:
    """Beacon's tables; a database that is down never keeps a service from starting.

    Without `logs_failures` the caller logs the failure: the error has the reason. Connections carry the `options`.
    """

    def __init__(self, url: str, *, logs_failures: bool = True, options: Mapping[str, object] = NO_OPTIONS) -> None:
        self._url = url
        self._options = dict(options)
        self._logs_failures = logs_failures
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def open(self) -> None:
        """Open it now, so that the first request does not wait for migrations; raises `DatabaseUnavailableError`."""
        with self._mapped_errors():
            self._open()

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
            with mapped_errors():
                yield
        except (DatabaseUnavailableError, ConfigurationError) as error:
            reason = message_of(error)
            if self._logs_failures:
                log.warning("the database does not answer: %s", reason)
            if isinstance(error, DatabaseUnavailableError):
                raise
            raise DatabaseUnavailableError(reason) from error

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                engine = open_store(self._url, REQUEST_SECONDS)
                if engine.dialect.name == "sqlite":
                    migrate(engine)  # a laptop has no migration job
                if self._options:
                    engine.update_execution_options(**self._options)
                self._engine = engine
            return self._engine
