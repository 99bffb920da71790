"""Upkeep of the lake: small files become large ones, old snapshots end, and files that no snapshot needs are deleted.

A shipper commits every few seconds, so a day's predictions lie in many files that overlap in time.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
from pyarrow.fs import FileSelector
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from beacon_core.data.prediction_log.lake.append import old_marks
from beacon_core.data.prediction_log.lake.columns import names_of
from beacon_core.data.prediction_log.lake.commits import commit
from beacon_core.data.prediction_log.lake.file_io import SyncedFileIO
from beacon_core.data.prediction_log.lake.files import DAY_MICROSECONDS, OpenFile, delete_files, write_file
from beacon_core.data.prediction_log.lake.lake import (
    TRIES,
    CommitConflict,
    Lake,
    LakeUnavailableError,
    mapped_errors,
    wait,
)
from beacon_core.data.prediction_log.lake.merge import in_order
from beacon_core.data.prediction_log.lake.plan import Piece, all_files, pieces

log = logging.getLogger(__name__)

FULL_ROWS = 1 << 20
"""Rows of a full file."""
KEPT = timedelta(hours=1)
"""So long a question may take: its snapshot stays, and so do its files."""
UNKNOWN_FOR = timedelta(hours=6)
"""A file that no snapshot needs may belong to a commit that is on its way, but not for so long."""


MARKS_KEPT = timedelta(days=30)
"""A spool that has shipped nothing for so long is taken for one that is gone."""


class Upkeep(NamedTuple):
    """What was done: files that were joined, what they became, and what was ended and deleted."""

    joined: int
    made: int
    snapshots: int
    deleted: int


def keep_up(lake: Lake, now: datetime, kept: timedelta = KEPT) -> Upkeep:
    """Join small files, end the snapshots that are older than `kept`, and delete what nobody needs."""
    joined, made = join_files(lake)
    _forget_marks(lake, now - MARKS_KEPT)
    snapshots, deleted = end_snapshots(lake, now, kept)
    return Upkeep(joined, made, snapshots, deleted)


def join_files(lake: Lake) -> tuple[int, int]:
    """Join the small files of each day; how many there were, and how many they became. Commits once a new file."""
    joined = made = 0
    for group in _small(pieces(lake, lake.load())):
        if _join(lake, group):
            joined, made = joined + len(group), made + 1
    return joined, made


def _small(found: list[Piece]) -> Iterator[list[Piece]]:
    """Files that together make one: of a day, neighbours in time, each less than half full."""
    group: list[Piece] = []
    rows = 0
    for piece in found:
        size = piece.file.record_count
        same_day = group and piece.first // DAY_MICROSECONDS == group[0].first // DAY_MICROSECONDS
        if size >= FULL_ROWS // 2 or rows + size > FULL_ROWS or not same_day:
            if len(group) > 1:
                yield group
            group, rows = [], 0
        if size < FULL_ROWS // 2:
            group.append(piece)
            rows += size
    if len(group) > 1:
        yield group


def _join(lake: Lake, group: list[Piece]) -> bool:
    """Write one file of several; False where others had removed one of them meanwhile."""
    table = lake.load()
    columns = names_of(table.schema())
    removed = [piece.file for piece in group]

    def open_file(piece: Piece) -> OpenFile:
        return OpenFile(lake, table, piece.file.file_path)

    def read(file: OpenFile, number: int) -> pa.Table:
        return file.read([number], columns)

    new = write_file(table, group[0].first // DAY_MICROSECONDS, in_order(group, open_file, read))
    assert new is not None  # noqa: S101 - files have rows
    for attempt in range(TRIES):
        try:
            commit(table, added=[new], removed=removed)
        except CommitConflict:
            wait(attempt)
            table = lake.load()
            if not _are_there(lake, table, removed):
                break
            continue
        return True
    delete_files(table, [new])
    return False


def _are_there(lake: Lake, table: Table, files: list[DataFile]) -> bool:
    there = {piece.file.file_path for piece in pieces(lake, table)}
    return all(file.file_path in there for file in files)


def end_snapshots(lake: Lake, now: datetime, kept: timedelta = KEPT) -> tuple[int, int]:
    """End the snapshots that are older than `kept`, but the newest, and delete the files that only they needed.

    Files that no commit ever named are deleted when they are old; they are of committers that were killed.
    """
    before = set(all_files(lake, lake.load()))
    ended = _end(lake, now - kept)
    table = lake.load()
    needed = set(all_files(lake, table))
    surplus = before - needed
    deleted = 0
    for path in surplus:
        with mapped_errors():
            if table.io.new_input(path).exists():
                table.io.delete(path)
                deleted += 1
    return ended, deleted + _sweep(table, needed, now - UNKNOWN_FOR)


def _forget_marks(lake: Lake, before: datetime) -> None:
    """Let the table's properties not grow with every pod that there ever was."""
    for attempt in range(TRIES):
        table = lake.load()
        old = old_marks(table, before.timestamp())
        if not old:
            return
        try:
            with mapped_errors(), table.transaction() as transaction:
                transaction.remove_properties(*old)
        except CommitConflict:
            wait(attempt)
            continue
        return


def _end(lake: Lake, before: datetime) -> int:
    for attempt in range(TRIES):
        table = lake.load()
        newest = table.current_snapshot()
        old = [one for one in table.snapshots() if newest is not None and one.snapshot_id != newest.snapshot_id]
        ids = [one.snapshot_id for one in old if one.timestamp_ms < before.timestamp() * 1000]
        if not ids:
            return 0
        try:
            with mapped_errors():
                table.maintenance.expire_snapshots().by_ids(ids).commit()
        except CommitConflict:
            wait(attempt)
            continue
        return len(ids)
    raise LakeUnavailableError("others commit to the lake all the time: no snapshot was ended, try again")


def _sweep(table: Table, needed: set[str], before: datetime) -> int:
    """Delete the old files below the table's folder that it does not need."""
    io = table.io
    assert isinstance(io, SyncedFileIO)  # noqa: S101 - the catalog's property says so
    with mapped_errors():
        scheme, host, path = io.parse_location(table.location(), io.properties)
        files = io.fs_by_scheme(scheme, host)
        names = {io.parse_location(name, io.properties)[2] for name in needed}
        deleted = 0
        for found in files.get_file_info(FileSelector(path, recursive=True, allow_not_found=True)):
            if found.is_file and found.path not in names and found.mtime < before:
                files.delete_file(found.path)
                deleted += 1
    return deleted
