"""The stores that the spool is shipped to: what they all have, the database's table, and the lake."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

from beacon_core.data.prediction_log.reading import LakeSource
from beacon_core.domain.ids import new_id
from beacon_core.domain.log_stores import StoreName
from beacon_core.observability import metrics
from beacon_core.platform.files import write_atomically
from beacon_core.spool.segments import segments
from beacon_prediction_log.database import Database
from beacon_prediction_log.tail import Chunk

# Small, as SQLite has one writer at a time; not smaller, as each commit rewrites the last page of every index.
SQL_BYTES = 128 << 10
# Each commit of the lake writes its metadata anew, so lines gather: so many bytes (20,000 single rows), or so long.
LAKE_BYTES = 16 << 20
LAKE_SECONDS = 10.0
SPOOL_ID = "spool-id"
"""The file in the spool's folder with its name in the lake."""


class LogSink(Protocol):
    """A store of the log. `insert` raises where it is not sure that the chunk is there: it is given again then."""

    name: StoreName
    chunk_bytes: int
    """A chunk has about so many bytes."""
    gather_seconds: float
    """So long lines may gather before they make a chunk that is smaller; what waits in the spool is safe."""

    def warm(self) -> None:
        """Open it now; it may be away."""

    def insert(self, folder: Path, chunk: Chunk, rest: Callable[[], None], /) -> None:
        """Commit a chunk of the spool in that folder, with a call of `rest` before each step; safe to repeat."""


class SqlStore:
    """The database's table of predictions."""

    name: StoreName = "sql"
    chunk_bytes = SQL_BYTES
    gather_seconds = 0.0

    def __init__(self, database: Database) -> None:
        self._database = database

    def warm(self) -> None:
        """Migrate what has to be."""
        self._database.warm()

    def insert(self, _folder: Path, chunk: Chunk, rest: Callable[[], None]) -> None:
        """Raises `DatabaseUnavailableError`."""
        self._database.insert(chunk.records, rest)


class LakeStore:
    """The lake. Its libraries are imported when it is warmed: they take a second and 100 MB."""

    name: StoreName = "lake"
    chunk_bytes = LAKE_BYTES
    gather_seconds = LAKE_SECONDS

    def __init__(self, source: LakeSource, database: Database, registry: CollectorRegistry) -> None:
        self._source = source
        self._database = database
        self._newest: dict[Path, int] = {}
        self._rows, self._bytes = (metrics.gauge(each, registry) for each in (metrics.LAKE_ROWS, metrics.LAKE_BYTES))

    def warm(self) -> None:
        """Import its libraries, and open it; the actuals are in the database in any case."""
        self._database.warm()
        self._source.warm()
        self._tell_size()

    def insert(self, folder: Path, chunk: Chunk, rest: Callable[[], None]) -> None:
        """Raises `LakeUnavailableError`."""
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - see the class

        rest()
        first, last = chunk.parts[0], chunk.parts[-1]
        # Who has emptied a spool begins with segment 1 again: that is another spool.
        is_anew = first.segment < self._newest.get(folder, 0)
        name = spool_id(folder, anew=is_anew)
        lake.append_records(
            self._source.open(),
            chunk.records,
            lake.SpoolBlock(name, first.segment, first.begin, last.end, last.segment),
        )
        self._newest[folder] = last.segment
        self._tell_size()

    def _tell_size(self) -> None:
        size = self._source.open().size()
        self._rows.set(size.rows)
        self._bytes.set(size.bytes)


def spool_id(folder: Path, *, anew: bool = False) -> str:
    """The spool's name in the lake, which no other spool ever has: made when first needed."""
    file = folder / SPOOL_ID
    if not anew and file.exists() and (found := file.read_text(encoding="ascii").strip()):
        return found
    name = new_id()
    write_atomically(file, name.encode())
    return name


def forget_spool_id(folder: Path) -> None:
    """End the name with the spool: where no segment is left, none of the next ones was ever shipped under it."""
    if not segments(folder):
        (folder / SPOOL_ID).unlink(missing_ok=True)
