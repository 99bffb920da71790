"""The lake as one snapshot has it, in another process: without its catalog, whose address may hold a password.

Its metadata goes along, and not the place of a metadata file, of which only the newest are kept. Its data
files stay for an hour after it is superseded, as for any reader.
"""

from functools import lru_cache

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io import load_file_io
from pyiceberg.table import StaticTable, Table
from pyiceberg.table.metadata import TableMetadataUtil

from beacon_core.data.prediction_log.lake.lake import Lake

OF_FILES = ("py-io-impl", "s3.")
"""Beginnings of the properties that say how files are read; credentials of S3 are each process's own variables."""
KEPT = 4
"""Snapshots that a process keeps open: with what it has read of their files."""
Parts = tuple[str, str, tuple[tuple[str, str], ...]]


def parts_of(table: Table) -> Parts:
    """What another process opens the table's current snapshot by."""
    current = table.current_snapshot()
    alone = {
        "snapshots": [] if current is None else [current],
        "snapshot_log": [],
        "metadata_log": [],
        "refs": {name: ref for name, ref in table.metadata.refs.items() if name == "main"},
    }
    metadata = table.metadata.model_copy(update=alone).model_dump_json()
    properties = {name: text for name, text in table.io.properties.items() if name.startswith(OF_FILES)}
    return metadata, table.metadata_location, tuple(sorted(properties.items()))


@lru_cache(maxsize=KEPT)
def open_parts(metadata: str, location: str, properties: tuple[tuple[str, str], ...]) -> tuple[Lake, Table]:
    """The lake that has this snapshot alone, and the table."""
    found = TableMetadataUtil.parse_raw(metadata)
    files = load_file_io(dict(properties), location)
    return Lake(None), StaticTable(("beacon", "predictions"), found, location, files, NoopCatalog("snapshot"))
