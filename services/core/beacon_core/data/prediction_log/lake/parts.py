"""A block that several processes write at once: each prepares its part, and one commits all of them, or none.

`append` is for a block of one process. Here the parts of a block have no id in common. Each process looks up which of
its rows are there, and writes files with the others, which nobody sees before the commit. The commit is refused if
anybody else committed since the look, so what the processes saw still holds; then all of it is done again.
"""

import pickle
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
from pyiceberg.manifest import DataFile

from beacon_core.data.prediction_log.lake.append import absent_rows, add_keys, first_of_each
from beacon_core.data.prediction_log.lake.columns import feature_of
from beacon_core.data.prediction_log.lake.commits import commit
from beacon_core.data.prediction_log.lake.files import ORDER, delete_files, write_days
from beacon_core.data.prediction_log.lake.lake import CommitConflict, Lake


class PreparedPart(NamedTuple):
    """What a process has prepared: its files, how many rows they have, and how many rows came again."""

    files: bytes
    """Pickled by the process, which is one of ours."""
    rows: int
    repeated: int


def prepare(lake: Lake, given: pa.Table) -> PreparedPart:
    """Write those of the rows that the lake has not into files that no commit names; raises `LakeUnavailableError`."""
    rows = first_of_each(given.sort_by(ORDER))
    table = lake.evolve([name for name in rows.column_names if feature_of(name)])
    absent = absent_rows(lake, table, rows)
    files: list[DataFile] = write_days(table, absent) if len(absent) else []
    add_keys(lake, absent)
    return PreparedPart(pickle.dumps(files), len(absent), len(given) - len(absent))


def snapshot_of(lake: Lake) -> int | None:
    """The snapshot of the lake now, for `commit_parts`; None where it has never had a row."""
    return lake.load().metadata.current_snapshot_id


def commit_parts(lake: Lake, parts: Sequence[PreparedPart], seen: int | None) -> None:
    """Commit parts that were prepared after the lake's snapshot was `seen`.

    Raises `CommitConflict` where it is another by now: nothing was committed, the files are deleted, and the parts are
    to be prepared again. Raises `LakeUnavailableError` where it is not known: the same holds, but for the files.
    """
    files = [file for part in parts for file in pickle.loads(part.files)]  # noqa: S301 - see PreparedPart
    if not files:
        return
    table = lake.load()
    try:
        if table.metadata.current_snapshot_id != seen:
            raise CommitConflict("another commit came between")
        commit(table, added=files)
    except CommitConflict:
        delete_files(table, files)
        raise
