"""What is to be removed from the lake, and how it goes: files are dropped whole, or written anew without it."""

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from beacon_core.data.prediction_log.lake import keys
from beacon_core.data.prediction_log.lake.columns import TEXT, TIME, names_of
from beacon_core.data.prediction_log.lake.commits import commit
from beacon_core.data.prediction_log.lake.files import DAY_MICROSECONDS, OpenFile, delete_files, write_file
from beacon_core.data.prediction_log.lake.lake import (
    TRIES,
    CommitConflict,
    Lake,
    LakeUnavailableError,
    mapped_errors,
    wait,
)
from beacon_core.data.prediction_log.lake.plan import EVER, Piece, pieces

NEEDED = ("id", "time")
"""What `Removals.keep` looks at."""


class Removals:
    """Rows to be removed: some by id and time, and all up to a place in the order of the log."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.until: tuple[int, str] | None = None

    def __bool__(self) -> bool:
        return bool(self.times) or self.until is not None

    def concerns(self, first: int, last: int) -> bool:
        """Whether rows of [first, last] may be among them."""
        expires = self.until is not None and first <= self.until[0]
        return expires or any(first <= moment <= last for moment in self.times.values())

    def takes_all(self, last: int) -> bool:
        """Whether all rows up to `last` are among them."""
        return self.until is not None and last < self.until[0]

    def keep(self, rows: pa.Table) -> pa.Table:
        """The rows that stay."""
        stay = None
        if self.times:
            stay = pc.invert(pc.is_in(rows["id"], pa.array(list(self.times), TEXT)))
        if self.until is not None:
            moment, name = pa.scalar(self.until[0], pa.int64()).cast(TIME), pa.scalar(self.until[1], TEXT)
            later = pc.greater(rows["time"], moment)
            last = pc.and_(pc.equal(rows["time"], moment), pc.greater(rows["id"], name))
            stay = pc.or_(later, last) if stay is None else pc.and_(stay, pc.or_(later, last))
        return rows if stay is None else rows.filter(stay)


def commit_removal(lake: Lake, removal: Removals) -> None:
    """Remove the rows, in one commit. Safe to repeat: what is gone is not found again."""
    for attempt in range(TRIES):
        table = lake.load()
        dropped: list[DataFile] = []
        written: list[DataFile] = []
        try:
            for piece in pieces(lake, table, last=_last(removal)):
                if removal.concerns(piece.first, piece.last):
                    _remove_from(lake, table, piece, removal, dropped, written)
            if dropped:
                commit(table, added=written, removed=dropped)
        except CommitConflict:
            delete_files(table, written)
            wait(attempt)
            continue
        with mapped_errors():
            keys.forget(lake.engine, list(removal.times))
            if removal.until is not None:
                keys.expire(lake.engine, removal.until[0])
        return
    raise LakeUnavailableError("others commit to the lake all the time: nothing was removed, try again")


def _remove_from(
    lake: Lake, table: Table, piece: Piece, removal: Removals, dropped: list[DataFile], written: list[DataFile]
) -> None:
    if removal.takes_all(piece.last):
        dropped.append(piece.file)
        return
    with OpenFile(lake, table, piece.file.file_path) as file:
        left = {group.number: len(removal.keep(file.read([group.number], NEEDED))) for group in file.groups()}
        if sum(left.values()) == piece.file.record_count:
            return
        columns = names_of(table.schema())
        parts = (removal.keep(file.read([number], columns)) for number, rows in left.items() if rows)
        new = write_file(table, piece.first // DAY_MICROSECONDS, parts)
    dropped.append(piece.file)
    if new is not None:
        written.append(new)


def _last(removal: Removals) -> int:
    """No row after this moment is to be removed."""
    moments = list(removal.times.values())
    if removal.until is not None:
        moments.append(removal.until[0])
    return max(moments, default=EVER[1])
