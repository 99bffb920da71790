"""Which files of the lake a question needs: by the days of their partitions, and the times of their rows."""

from collections.abc import Iterator
from typing import NamedTuple

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import IntegerType, PrimitiveType, TimestamptzType

from beacon_core.data.prediction_log.lake.files import DAY_MICROSECONDS
from beacon_core.data.prediction_log.lake.lake import Lake, LakeDamagedError, mapped_errors

EVER = (-(1 << 62), 1 << 62)


class Piece(NamedTuple):
    """A file, and when its first and last prediction were made, in microseconds since 1970."""

    file: DataFile
    first: int
    last: int


def pieces(lake: Lake, table: Table, first: int = EVER[0], last: int = EVER[1]) -> list[Piece]:
    """The files with predictions of [first, last], by their first one."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return []
    time_id = table.schema().find_field("time").field_id
    found = []
    for manifest in manifests_of(table, snapshot):
        if _may_have(manifest, first, last):
            for entry in entries_of(lake, table, manifest):
                file = entry.data_file
                begins = _number(TimestamptzType(), file.lower_bounds[time_id])
                ends = _number(TimestamptzType(), file.upper_bounds[time_id])
                if begins <= last and ends >= first:
                    found.append(Piece(file, begins, ends))
    return sorted(found, key=lambda piece: (piece.first, piece.file.file_path))


def manifests_of(table: Table, snapshot: Snapshot) -> list[ManifestFile]:
    """The manifests of a snapshot."""
    with mapped_errors():
        return snapshot.manifests(table.io)


def entries_of(lake: Lake, table: Table, manifest: ManifestFile) -> list[ManifestEntry]:
    """The files that a manifest names; one that was read is kept, as it never changes."""
    if manifest.content != ManifestContent.DATA:
        raise LakeDamagedError(
            f"{manifest.manifest_path}: another program deleted rows in a form that Beacon does not read"
        )
    with lake.lock:
        known = lake.manifests.get(manifest.manifest_path)
    if known is None:
        with mapped_errors():
            known = manifest.fetch_manifest_entry(table.io)
        with lake.lock:
            lake.manifests[manifest.manifest_path] = known
    return known


def all_files(lake: Lake, table: Table) -> Iterator[str]:
    """Every file that any snapshot of the table needs, and its metadata."""
    yield table.metadata_location
    for older in table.metadata.metadata_log:
        yield older.metadata_file
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in manifests_of(table, snapshot):
            yield manifest.manifest_path
            for entry in entries_of(lake, table, manifest):
                yield entry.data_file.file_path


def _may_have(manifest: ManifestFile, first: int, last: int) -> bool:
    """Whether the days of a manifest's files lie in [first, last]."""
    summary = manifest.partitions[0] if manifest.partitions else None
    if summary is None or summary.lower_bound is None or summary.upper_bound is None:
        return True
    begins = _number(IntegerType(), summary.lower_bound) * DAY_MICROSECONDS
    ends = (_number(IntegerType(), summary.upper_bound) + 1) * DAY_MICROSECONDS
    return begins <= last and ends >= first


def _number(kind: PrimitiveType, stored: bytes) -> int:
    found: object = from_bytes(kind, stored)
    assert isinstance(found, int)  # noqa: S101 - times and days are numbers
    return found
