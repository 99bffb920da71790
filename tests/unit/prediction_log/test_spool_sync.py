"""What of a spool has to be synced: every file that was written since, and the folder once a segment."""

import os
from pathlib import Path

import pytest

from beacon_core.spool import segments as spool
from beacon_core.spool.segments import SpoolWriter, Unsynced, path_of, sync_segments


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 10)


def numbers(unsynced: Unsynced, folder: Path) -> list[int]:
    """The segments of its files."""
    known = {path_of(folder, number).stat().st_ino: number for number in spool.segments(folder)}
    return [known[os.fstat(file).st_ino] for file in unsynced.files]


def test_full_segments_stay_open_until_they_are_synced(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, 1 << 20, is_synced=True)
    for _ in range(3):
        writer.append(b"0123456789\n")
    first = writer.take_unsynced()
    assert numbers(first, tmp_path) == [1, 2, 3]
    assert first.folder == tmp_path
    writer.append(b"0123456789\n")
    sync_segments(first)
    for file in first.full:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)
    second = writer.take_unsynced()
    assert numbers(second, tmp_path) == [3, 4], "the third was written to, and filled, since"
    assert second.folder == tmp_path
    sync_segments(second)
    assert writer.take_unsynced().folder is None
    writer.close()


def test_a_writer_that_nobody_syncs_keeps_one_file_open(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, 1 << 20)
    for _ in range(3):
        writer.append(b"0123456789\n")
    assert numbers(writer.take_unsynced(), tmp_path) == [3]
    writer.close()


def test_a_segment_is_left_where_its_pages_may_not_be_on_the_disk(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, 1 << 20, is_synced=True)
    writer.append(b"a\n")
    writer.begin_segment()
    writer.append(b"b\n")
    assert list(spool.segments(tmp_path)) == [1, 2]
    writer.close()
