"""The lake: an Iceberg table of predictions in a folder or in S3, with its catalog in SQLite or PostgreSQL.

`open_lake` makes what is not there yet. A handle reads one snapshot, so that all its answers belong together, and
what it removes goes when it ends.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from cachetools import LRUCache
from pyarrow.parquet import FileMetaData
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.manifest import ManifestEntry
from pyiceberg.table import Table
from sqlalchemy import Engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data.database import DatabaseUnavailableError, sqlite_pragmas
from beacon_core.data.prediction_log.lake import keys
from beacon_core.data.prediction_log.lake.columns import BY_DAY, BY_TIME, SCHEMA, column_of, kind_of, missing, type_of
from beacon_core.data.prediction_log.lake.file_io import CONNECT_SECONDS, SyncedFileIO
from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.feature import Feature
from beacon_core.domain.masking import message_of

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake.totals import Total

log = logging.getLogger(__name__)

NAMESPACE = "beacon"
NAME = f"{NAMESPACE}.predictions"
PROPERTIES = {
    # Another commit came first: `commit` looks again whether its rows are there, and only then repeats.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # What files are chosen by. No manifest holds a value of a person's.
    "write.metadata.metrics.default": "none",
    "write.metadata.metrics.column.id": "full",
    "write.metadata.metrics.column.time": "full",
}
COUNTED = 4096
"""Files whose totals are kept: some numbers for each."""
TRIES = 20
"""A commit gives way to others so often."""
FIRST_WAIT, LONGEST_WAIT = 0.02, 2.0
CACHED = 256
"""Manifests and footers of files that are kept: both never change."""


class LakeUnavailableError(DatabaseUnavailableError):
    """The catalog, or the files, do not answer now; nothing that was acknowledged is lost by it."""


class LakeDamagedError(Exception):
    """A file of the lake is not what was written; the message names it."""

    exit_status = REFUSED


class CommitConflict(Exception):  # noqa: N818 - it ends no program
    """Another commit came first: look at the table anew."""


class LakePlace(NamedTuple):
    """Where a lake is: a folder, or s3://BUCKET/FOLDER, and the SQLAlchemy URL of the database with its catalog."""

    files: str
    catalog: str


class LakeSize(NamedTuple):
    """Predictions of the newest snapshot, and the bytes of their files."""

    rows: int
    bytes: int


class Lake:
    """An open lake; threads may share it. Without a catalog it has one snapshot, which some table has (`snapshot`)."""

    def __init__(self, catalog: SqlCatalog | None) -> None:
        self._catalog = catalog
        self.manifests: LRUCache[str, list[ManifestEntry]] = LRUCache(CACHED)
        self.footers: LRUCache[str, FileMetaData] = LRUCache(CACHED)
        self.totals: LRUCache[str, list[Total]] = LRUCache(COUNTED)
        self.lock = threading.Lock()

    @property
    def catalog(self) -> SqlCatalog:
        """Where the table is named."""
        assert self._catalog is not None  # noqa: S101 - whoever has a snapshot alone reads files alone
        return self._catalog

    @property
    def engine(self) -> Engine:
        """The database of the catalog, which has the keys, too."""
        return self.catalog.engine

    def load(self) -> Table:
        """The table as it is now."""
        with mapped_errors():
            return self.catalog.load_table(NAME)

    def size(self) -> "LakeSize":
        """How much there is, as the table's newest commit says."""
        newest = self.load().current_snapshot()
        told = {} if newest is None or newest.summary is None else newest.summary.additional_properties
        return LakeSize(*(int(told.get(name, 0)) for name in ("total-records", "total-files-size")))

    def evolve(self, columns: list[str]) -> Table:
        """The table, with these columns of features: those that it has not yet are added."""
        for attempt in range(TRIES):
            table = self.load()
            lacking = missing(table.schema(), columns)
            if not lacking:
                return table
            try:
                with mapped_errors(), table.update_schema() as update:
                    for name in lacking:
                        update.add_column((name,), type_of(name))
            except CommitConflict:
                wait(attempt)
                continue
            log.info("the lake has new columns", extra={"columns": lacking})
        raise LakeUnavailableError("the lake's schema is changed by others all the time")

    def close(self) -> None:
        """Close the catalog's connections."""
        self.engine.dispose()


def open_lake(place: LakePlace, features: Sequence[Feature] = ()) -> Lake:
    """Open a lake, and make it where there is none, with columns for these features of a product."""
    with mapped_errors():
        catalog = SqlCatalog("beacon", **_properties(place))
        if catalog.engine.dialect.name == "sqlite":
            event.listen(catalog.engine, "connect", sqlite_pragmas)
            catalog.engine.dispose()  # connections from before have not got them
        keys.create(catalog.engine)
        if not _is_there(catalog):
            _create(catalog)
    lake = Lake(catalog)
    if features:
        lake.evolve([column_of(kind_of(feature), feature.name) for feature in features])
    return lake


def wait(attempt: int) -> None:
    """Wait before another attempt, each time longer, and never for as long as the other committer does."""
    time.sleep(random.uniform(0.5, 1) * min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))  # noqa: S311 - no secret


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Raise what the catalog and the files raise as `LakeUnavailableError`, and a lost race as `CommitConflict`."""
    try:
        yield
    except CommitFailedException as error:
        raise CommitConflict(str(error)) from error
    except NoSuchTableError as error:
        raise LakeUnavailableError(f"the catalog has no table {NAME}: {message_of(error)}") from error
    except SQLAlchemyError as error:
        raise LakeUnavailableError(f"the lake's catalog does not answer: {message_of(error)}") from error
    except (OSError, pa.ArrowException) as error:
        raise LakeUnavailableError(f"the lake's files cannot be read or written: {message_of(error)}") from error


def _is_there(catalog: SqlCatalog) -> bool:
    try:
        catalog.load_table(NAME)
    except NoSuchTableError:
        return False
    return True


def _create(catalog: SqlCatalog) -> None:
    # Another process may be as quick.
    with suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace(NAMESPACE)
    with suppress(TableAlreadyExistsError):
        catalog.create_table(NAME, SCHEMA, partition_spec=BY_DAY, sort_order=BY_TIME, properties=PROPERTIES)


def _properties(place: LakePlace) -> dict[str, str]:
    url = make_url(place.catalog)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    elif url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    properties = {
        "uri": url.render_as_string(hide_password=False),
        "pool_pre_ping": "true",
        "warehouse": place.files,
        "py-io-impl": f"{SyncedFileIO.__module__}.{SyncedFileIO.__name__}",
    }
    if "://" in place.files:
        properties |= {
            "s3.region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        }
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            properties["s3.endpoint"] = endpoint
    return properties
