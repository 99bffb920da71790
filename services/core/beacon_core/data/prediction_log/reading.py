"""Which store answers questions about logged predictions: the database's table, or the lake.

Readers have a connection of the database in any case, as the actuals are there, and ask the functions of this room by
it. An engine that `open_log` opened for a lake carries it in its options, so that nobody who reads has to know.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from beacon_core.data.database import JOB_SECONDS, open_store
from beacon_core.platform.engine import LOCAL, JobEngine
from beacon_core.platform.settings import Settings, SettingsError

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake import Lake, LakeHandle
    from beacon_core.data.prediction_log.port import LogStore

OPTION = "beacon_lake"
LIBRARY = "pyiceberg"
NO_LIBRARIES = (
    "in the lake, for which this program has no libraries (the extra lake of beacon-core); with "
    "BEACON_LOG_STORES=sql,lake they are in the database, too, and are read there"
)


class LakeSource:
    """A lake that is opened at the first question; threads may share it. Its libraries are imported only then.

    `jobs` runs what reads many files.
    """

    def __init__(self, files: str, catalog: str, jobs: JobEngine = LOCAL) -> None:
        self._place = (files, catalog)
        self._jobs = jobs
        self._lock = threading.Lock()
        self._lake: Lake | None = None

    def open(self) -> "Lake":
        """The lake, made where there is none; raises `LakeUnavailableError`."""
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - not every environment has its libraries

        with self._lock:
            if self._lake is None:
                self._lake = lake.open_lake(lake.LakePlace(*self._place))
            return self._lake

    @property
    def store(self) -> "LogStore[LakeHandle]":
        """The port's functions."""
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415

        return lake

    @contextmanager
    def begin(self) -> "Iterator[LakeHandle]":
        """Give a handle to read by, of the lake as it is now."""
        found = self.open()
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415

        with lake.begin(found, self._jobs) as handle:
            yield handle

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            if self._lake is not None:
                self._lake.close()
            self._lake = None

    def warm(self) -> None:
        """Open it now, so that nobody waits for its libraries later; raises `LakeUnavailableError`."""
        self.open()


def lake_source(settings: Settings, *, jobs: JobEngine = LOCAL) -> LakeSource | None:
    """The lake that readers ask, by the settings; None where they ask the database.

    Raises `SettingsError` in a program that has not got the lake's libraries.
    """
    if not settings.reads_lake:
        return None
    if find_spec(LIBRARY) is None:
        named = "BEACON_LOG_READ" if settings.log_read else "BEACON_LOG_STORES"
        raise SettingsError(f"{named}: the predictions are {NO_LIBRARIES}")
    return LakeSource(settings.lake, settings.lake_catalog, jobs)


def open_log(settings: Settings, statement_seconds: float = JOB_SECONDS, jobs: JobEngine = LOCAL) -> Engine:
    """Open the database, as `open_store`, with the log's questions going to the store that is to be read.

    Questions that read many files of a lake are run by `jobs`.
    """
    return attach(open_store(settings.database, statement_seconds), lake_source(settings, jobs=jobs))


def attach(engine: Engine, source: LakeSource | None) -> Engine:
    """Let the questions by this engine's connections go to a lake."""
    if source is not None:
        engine.update_execution_options(**options_of(source))
    return engine


def options_of(source: LakeSource | None) -> dict[str, object]:
    """What connections carry, so that questions by them go to a lake."""
    return {} if source is None else {OPTION: source}


def lake_of(connection: Connection) -> LakeSource | None:
    """The lake that questions by this connection go to; None where the database answers them."""
    found = connection.get_execution_options().get(OPTION)
    assert found is None or isinstance(found, LakeSource)  # noqa: S101 - `attach` alone sets it
    return found
